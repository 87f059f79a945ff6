"""TLS contexts, both sides, with today's floor: TLS 1.2, no compression, OpenSSL's own cipher choice.

Outbound the chain is checked here, the name by delivery/certificate.py, for it may be any of several. Where policy does
not ask for a good certificate, a bad one beats plaintext and nothing claims more (RFC 7435).
"""

import os
import ssl
from collections.abc import Iterable

from fastrelay.errors import ConfigError


def client_context(*, verify: bool, ca_file: str = "", check_name: bool = True) -> ssl.SSLContext:
    """For connections we open. verify: chain and name are checked against the system's (or `ca_file`'s) authorities;
    without check_name the chain alone. ConfigError names a file that holds none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.check_hostname = check_name
    if not ca_file:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot load certificate authorities from {ca_file}: {error}; it must be PEM and readable by the "
            f"configured user"
        ) from None
    return context


def verifying_contexts(ca_files: Iterable[str]) -> dict[str, ssl.SSLContext]:
    """Those that check the chain alone, by file of authorities; "" = the system's, and none where it has none: every
    certificate would be found bad at the price of a handshake."""
    files = [file for file in set(ca_files) if file or _system_has_authorities()]
    return {file: client_context(verify=True, ca_file=file, check_name=False) for file in files}


def _system_has_authorities() -> bool:
    """A file, or a directory with something in it, where OpenSSL looks (SSL_CERT_FILE, SSL_CERT_DIR)."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return True
    try:
        return bool(paths.capath) and bool(os.listdir(paths.capath))
    except OSError:
        return False


def server_context(certificate: str, key: str, client_ca: str = "") -> ssl.SSLContext:
    """A context for the server's side: TLS 1.2 at least, forward secrecy alone (the library's choice of ciphers), no
    compression, no renegotiation, tickets. client_ca: clients are asked for a certificate that those authorities vouch
    for; the handshake of one that brings another fails. ConfigError names the file and what is wrong with it."""
    file_text(certificate, "certificate")
    if key:
        file_text(key, "key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # who resumes gets the next one then; each costs 70 us, the handshake without them 600
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"key {key or certificate} does not belong to certificate {certificate}") from None
        raise ConfigError(
            f"certificate {certificate} and key {key or certificate}: not both PEM: {error.reason or error}"
        ) from None
    except _Encrypted:
        raise ConfigError(
            f"key {key or certificate}: is encrypted, and nobody is there to type a password; decrypt it with "
            f"`openssl pkey`, and keep others from reading it"
        ) from None
    except OSError as error:
        raise _unreadable("certificate", certificate, error) from None
    if client_ca:
        file_text(client_ca, "client_ca")
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ConfigError(f"client_ca {client_ca}: no PEM certificates: {error.reason or error}") from None
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # a client's own certificate may stand there
    return context


_PLAINLY = {
    "UNEXPECTED_EOF_WHILE_READING": "the peer closed the connection",
    "NO_SHARED_CIPHER": "no cipher in common",
    "UNSUPPORTED_PROTOCOL": "the peer has no TLS version that we take",
    "WRONG_VERSION_NUMBER": "what came is not TLS",
    "HTTP_REQUEST": "what came is HTTP",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer takes no TLS version that we have",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know who issued our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer finds our certificate expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept our certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer finds nothing in common",
}


def said_plainly(error: ssl.SSLError) -> str:
    """Why a handshake failed, in words, with OpenSSL's own behind them."""
    reason = error.reason or str(error)
    words = _PLAINLY.get(reason)
    return f"{words} ({reason})" if words else reason


class _Encrypted(Exception):
    """OpenSSL asks for a password."""


def _no_password() -> str:
    raise _Encrypted


def file_text(file: str, kind: str) -> str:
    """Read by ourselves, for OpenSSL does not say which of its files is missing."""
    try:
        with open(file, encoding="latin-1") as opened:
            return opened.read()
    except OSError as error:
        raise _unreadable(kind, file, error) from None


def _unreadable(kind: str, file: str, error: OSError) -> ConfigError:
    hint = ""
    if isinstance(error, PermissionError):
        hint = "; workers read it as server.user: let that user's group read it"
    return ConfigError(f"{kind} {file}: {(error.strerror or str(error)).lower()}{hint}")
