"""TLS contexts, both sides, with today's floor: TLS 1.2, no compression, OpenSSL's own cipher choice.

Opportunistic outbound TLS does not verify: an unverified channel beats plaintext and nothing claims more (RFC 7435).
"""

import ssl

from fastrelay.errors import ConfigError


def client_context(*, verify: bool, ca_file: str = "") -> ssl.SSLContext:
    """For connections we open. verify: chain and name are checked against the system's (or `ca_file`'s) authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """For a listener. certificate: PEM chain, leaf first; key: PEM, unencrypted. ConfigError names the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot load certificate {certificate} with key {key or certificate}: {error}; both must be PEM, belong "
            f"together and be readable by the configured user"
        ) from None
    return context
