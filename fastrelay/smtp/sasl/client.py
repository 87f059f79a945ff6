"""One exchange on the client's side: `first` is sent with AUTH (None: it has to wait for a challenge), then `answer` to
each challenge. `done` tells whether the server may say yes now: SCRAM's server has to prove that it knows the password
too, else it is not the one we have an account with.

Errors: PeerError for a challenge that is none of this mechanism, and for a server that asks for less than RFC 7677
allows or for more work than it is worth.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import TypeAlias

from fastrelay.errors import MisuseError, PeerError
from fastrelay.smtp import sasl
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.prep import Unprintable, saslprep
from fastrelay.smtp.sasl.scram import Keys

Derive: TypeAlias = Callable[[bytes, bytes, int], Keys]


class Secret:
    """A user and a password, prepared. What was derived of them last is kept: every connection to the same server asks
    for the same. mechanisms: those that may be used. derive: may wait; scram.derive, or the same in a thread.
    """

    __slots__ = ("_asked", "_derive", "_keys", "_password", "mechanisms", "user")

    def __init__(
        self,
        user: str,
        password: str,
        *,
        mechanisms: Sequence[str] = sasl.MECHANISMS,
        derive: Derive = scram.derive,
    ) -> None:
        try:
            self.user = saslprep(user)
            self._password = saslprep(password).encode()
        except Unprintable as error:
            raise MisuseError(f"user or password of {user!r} cannot be used: {error}") from None
        self.mechanisms = tuple(mechanisms)
        self._derive = derive
        self._asked: tuple[bytes, int] | None = None
        self._keys: Keys | None = None

    def __repr__(self) -> str:
        return f"Secret({self.user!r}, ***)"

    def password(self) -> bytes:
        """In the clear, for PLAIN and LOGIN."""
        return self._password

    def keys(self, salt: bytes, iterations: int) -> Keys:
        """For SCRAM. May wait, the first time."""
        if self._keys is None or self._asked != (salt, iterations):
            keys = self._derive(self._password, salt, iterations)
            self._asked, self._keys = (salt, iterations), keys
            return keys
        return self._keys


class Plain:
    """RFC 4616."""

    __slots__ = ("done", "first", "name")

    def __init__(self, secret: Secret) -> None:
        self.name = sasl.PLAIN
        self.first: bytes | None = b"\0%b\0%b" % (secret.user.encode(), secret.password())
        self.done = True

    def answer(self, challenge: bytes) -> bytes:
        """None is due: all was said."""
        raise PeerError("PLAIN was answered with a challenge")


class Login:
    """Two questions; whatever their words, the first asks for the user."""

    __slots__ = ("_left", "done", "first", "name")

    def __init__(self, secret: Secret) -> None:
        self.name = sasl.LOGIN
        self.first: bytes | None = None
        self.done = False
        self._left = [secret.password(), secret.user.encode()]

    def answer(self, challenge: bytes) -> bytes:
        """The user, then the password."""
        if not self._left:
            raise PeerError("LOGIN asks a third time")
        answer = self._left.pop()
        self.done = not self._left
        return answer


class Scram:
    """RFC 5802 without channel binding. nonce: our half of it."""

    __slots__ = ("_bare", "_expected", "_nonce", "_secret", "done", "first", "name")

    def __init__(self, secret: Secret, nonce: bytes = b"") -> None:
        self.name = sasl.SCRAM
        self._secret = secret
        self._nonce = nonce or scram.fresh_nonce()
        self._bare = b"n=%b,r=%b" % (scram.escaped(secret.user), self._nonce)
        self._expected = b""  # what the server's proof has to be
        self.first: bytes | None = b"n,," + self._bare
        self.done = False

    def answer(self, challenge: bytes) -> bytes:
        """Our proof, then nothing, once the server has proved itself. May wait for the derivation."""
        if self.done:
            raise PeerError("SCRAM goes on behind its end")
        try:
            if not self._expected:
                return self._final(challenge)
            if challenge.startswith(b"e="):
                raise ValueError("the server reports an error")
            signature = scram.unbase64(scram.attribute(challenge.partition(b",")[0], b"v"))
        except ValueError as error:
            raise PeerError(f"SCRAM: {error}") from None
        if not hmac.compare_digest(signature, self._expected):
            raise PeerError("SCRAM: the server does not know the password either: it is not the one we mean")
        self.done = True
        return b""

    def _final(self, challenge: bytes) -> bytes:
        parts = challenge.split(b",")
        if len(parts) < 3:
            raise ValueError("r=nonce,s=salt,i=iterations is due")
        nonce = scram.attribute(parts[0], b"r")
        if not scram.is_nonce(nonce) or not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ValueError("the server's nonce does not go on from ours")
        salt = scram.unbase64(scram.attribute(parts[1], b"s"))
        if not 1 <= len(salt) <= scram.MAX_SALT:
            raise ValueError("bad salt")
        iterations = scram.parse_iterations(scram.attribute(parts[2], b"i").decode("ascii", "replace"))
        keys = self._secret.keys(salt, iterations)
        without = b"c=biws,r=%b" % nonce  # "n,,"
        messages = b",".join((self._bare, challenge, without))
        self._expected = scram.digest(keys.server, messages)
        return b"%b,p=%b" % (without, b64encode(scram.proof(keys, messages)))


Exchange: TypeAlias = Plain | Login | Scram


def begin(secret: Secret, offered: Sequence[str]) -> Exchange | None:
    """The strongest mechanism that both sides know; None where there is none."""
    for name in sasl.MECHANISMS:
        if name in offered and name in secret.mechanisms:
            if name == sasl.SCRAM:
                return Scram(secret)
            return Plain(secret) if name == sasl.PLAIN else Login(secret)
    return None
