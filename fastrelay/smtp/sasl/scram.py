"""SCRAM-SHA-256: what is kept of a password, and the proofs both sides make of it (RFC 5802 3, RFC 7677).

A Verifier is all a server needs: whoever steals it cannot log in with it, only guess, at the price of one derivation a
guess. Written as RFC 5803 2 has it, which other servers read too:

    SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY       the last three in base64

Comparisons take the same time whatever differs.
"""

import binascii
import hashlib
import hmac
import os
from base64 import b64encode
from typing import NamedTuple

from fastrelay.smtp.sasl import SCRAM

MIN_ITERATIONS = 4096  # RFC 7677 4
MAX_ITERATIONS = 5_000_000  # 3 s: what is derived for a peer, or written in a file by hand, has a bound
SALT_OCTETS = 16
MAX_SALT = 256  # octets; no RFC figure
NONCE_OCTETS = 18  # 144 bits, 24 characters of base64
MAX_NONCE = 512  # octets; no RFC figure, ours have 24 and both together 48
KEY_OCTETS = 32


class Keys(NamedTuple):
    """What a password becomes: for the client's proof, and to check the server's."""

    client: bytes
    server: bytes

    def __repr__(self) -> str:
        return "Keys(***)"


class Verifier(NamedTuple):
    """What is kept of a password. stored: H(ClientKey)."""

    salt: bytes
    iterations: int
    stored: bytes
    server: bytes

    def __repr__(self) -> str:
        return f"Verifier({self.iterations} iterations)"

    def __str__(self) -> str:
        salt, stored, server = (_base64(octets) for octets in (self.salt, self.stored, self.server))
        return f"{SCRAM}${self.iterations}:{salt}${stored}:{server}"


def derive(password: bytes, salt: bytes, iterations: int) -> Keys:
    """PBKDF2: slow on purpose, without the interpreter's lock. Measured: 100,000 iterations 60 ms."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return Keys(digest(salted, b"Client Key"), digest(salted, b"Server Key"))


def make_verifier(password: bytes, iterations: int, salt: bytes = b"") -> Verifier:
    """For a prepared password; a fresh salt where none is given."""
    salt = salt or os.urandom(SALT_OCTETS)
    keys = derive(password, salt, iterations)
    return Verifier(salt, iterations, hashlib.sha256(keys.client).digest(), keys.server)


def parse_verifier(text: str) -> Verifier:
    """The Verifier a text stands for. ValueError says what is wrong."""
    scheme, *parts = text.split("$")
    if scheme != SCRAM or len(parts) != 2:
        raise ValueError(f"write a verifier as {SCRAM}$ITERATIONS:SALT$STOREDKEY:SERVERKEY")
    count, colon, salt_text = parts[0].partition(":")
    stored_text, also, server_text = parts[1].partition(":")
    if not colon or not also:
        raise ValueError("iterations and salt, stored key and server key are parted by a colon")
    iterations = parse_iterations(count)
    salt, stored, server = (unbase64(one) for one in (salt_text, stored_text, server_text))
    if not 1 <= len(salt) <= MAX_SALT:
        raise ValueError(f"a salt has 1 to {MAX_SALT} octets")
    if len(stored) != KEY_OCTETS or len(server) != KEY_OCTETS:
        raise ValueError(f"a key of {SCRAM} has {KEY_OCTETS} octets")
    return Verifier(salt, iterations, stored, server)


def parse_iterations(text: str) -> int:
    """A count within the bounds. ValueError else."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
    if not MIN_ITERATIONS <= number <= MAX_ITERATIONS:
        raise ValueError(f"iterations are {MIN_ITERATIONS} (RFC 7677) to {MAX_ITERATIONS}")
    return number


def matches(verifier: Verifier, keys: Keys) -> bool:
    """The password the keys were derived from is the one the verifier was made of."""
    return hmac.compare_digest(hashlib.sha256(keys.client).digest(), verifier.stored)


def proof(keys: Keys, messages: bytes) -> bytes:
    """The client's proof over all messages of the exchange."""
    stored = hashlib.sha256(keys.client).digest()
    return _xor(keys.client, digest(stored, messages))


def proves(verifier: Verifier, messages: bytes, given: bytes) -> bool:
    """A client that gives this proof knows the password."""
    if len(given) != KEY_OCTETS:
        return False
    client = _xor(given, digest(verifier.stored, messages))
    return hmac.compare_digest(hashlib.sha256(client).digest(), verifier.stored)


def digest(key: bytes, octets: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, octets, "sha256")


def fresh_nonce() -> bytes:
    """Printable, without a comma."""
    return b64encode(os.urandom(NONCE_OCTETS))


def attribute(part: bytes, name: bytes) -> bytes:
    """The value of `name=value`. ValueError when it is another attribute."""
    if not part.startswith(name + b"="):
        raise ValueError(f"{name.decode()}= is due")
    return part[len(name) + 1 :]


def unbase64(text: str | bytes) -> bytes:
    """Strict base64 (RFC 4648 3.3: no other character, padding right, no stray bits). ValueError else."""
    try:
        octets = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):  # ValueError: a str beyond ASCII
        raise ValueError("not base64") from None
    if b64encode(octets) != (text.encode("ascii") if isinstance(text, str) else text):
        raise ValueError("not base64")
    return octets


def escaped(name: str) -> bytes:
    """A name inside a message."""
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def unescaped(name: bytes) -> str:
    """The name of a message; ValueError for a "=" that is no escape, or what is not UTF-8."""
    head, *rest = name.split(b"=")
    out = [head]
    for part in rest:
        if part[:2] not in (b"2C", b"3D"):
            raise ValueError("a name holds = as =3D and , as =2C")
        out += (b"," if part[:2] == b"2C" else b"=", part[2:])
    return b"".join(out).decode()


def is_nonce(text: bytes) -> bool:
    """Printable ASCII but the comma, within bounds."""
    return 0 < len(text) <= MAX_NONCE and all(0x21 <= one <= 0x7E and one != 0x2C for one in text)


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode("ascii")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
