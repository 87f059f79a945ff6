"""One exchange on the server's side. `step` takes what the client said and tells what comes next:

    Challenge   send these octets and give the answer to `step`
    Lookup      SCRAM: give the verifier of that user to `know`, which goes on
    Claim       a user and a password: does it belong to the user?
    Proof       SCRAM is over: the user has, or has not, proved to know the password

Whether a user exists, and whether he may try at all, is not decided here. Malformed ends the exchange: it is no guess
at a password, and says what was wrong.
"""

import hmac
from base64 import b64encode
from typing import NamedTuple, TypeAlias

from fastrelay.smtp import sasl
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.prep import Unprintable, saslprep
from fastrelay.smtp.sasl.scram import Verifier


class Malformed(ValueError):
    """The message is none of this mechanism."""


class Challenge(NamedTuple):
    """Octets for the client."""

    octets: bytes


class Lookup(NamedTuple):
    """Whose verifier is wanted."""

    user: str


class Claim(NamedTuple):
    """Who the client says it is, and the password it gives; both prepared."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Claim({self.user!r}, ***)"


class Proof(NamedTuple):
    """Who the client says it is, and whether that is proved."""

    user: str
    proved: bool


Step: TypeAlias = Challenge | Lookup | Claim | Proof


class Plain:
    """RFC 4616: everything in one message."""

    __slots__ = ()

    name = sasl.PLAIN

    def step(self, message: bytes) -> Step:
        """The client's message; an empty one asks for our (empty) challenge only where it came with AUTH."""
        parts = message.split(b"\0")
        if len(parts) != 3:
            raise Malformed("PLAIN is identity NUL user NUL password")
        identity, user, password = parts
        name = _name(user)
        if identity and _name(identity) != name:
            raise Malformed("nobody may act for another here")
        return Claim(name, _password(password))


class Login:
    """Two questions, in words every client knows (draft-murchison-sasl-login)."""

    __slots__ = ("_user",)

    name = sasl.LOGIN

    def __init__(self) -> None:
        self._user = ""

    def step(self, message: bytes) -> Step:
        """The user name, then the password."""
        if not self._user:
            self._user = _name(message)
            return Challenge(b"Password:")
        return Claim(self._user, _password(message))


class Scram:
    """RFC 5802 without channel binding. nonce: our half of it."""

    __slots__ = ("_bare", "_first", "_header", "_nonce", "_own", "_proved", "_user", "_verifier")

    name = sasl.SCRAM

    def __init__(self, nonce: bytes = b"") -> None:
        self._own = nonce or scram.fresh_nonce()
        self._header = b""  # the client's, which says that nothing is bound to the channel
        self._bare = b""
        self._nonce = b""  # the client's, then both
        self._first = b""
        self._user = ""
        self._verifier: Verifier | None = None
        self._proved = False

    def step(self, message: bytes) -> Step:
        """client-first, client-final, and the empty answer to ours."""
        try:
            if self._proved:
                if message:
                    raise Malformed("nothing is due but an empty line")
                return Proof(self._user, True)
            return self._final_message(message) if self._verifier is not None else self._first_message(message)
        except Malformed:
            raise
        except ValueError as error:  # also what is not UTF-8
            raise Malformed(f"SCRAM: {error}" if error.__class__ is ValueError else "SCRAM: bad message") from None

    def _first_message(self, message: bytes) -> Step:
        parts = message.split(b",")
        if len(parts) < 4:
            raise Malformed("SCRAM begins with n,,n=user,r=nonce")
        flag, identity = parts[0], parts[1]
        if flag.startswith(b"p="):
            raise Malformed("SCRAM: channel binding is not offered")
        if flag not in (b"n", b"y"):
            raise Malformed("SCRAM begins with n,,n=user,r=nonce")
        user = _name(scram.unescaped(scram.attribute(parts[2], b"n")).encode())
        if identity and _name(scram.unescaped(scram.attribute(identity, b"a")).encode()) != user:
            raise Malformed("nobody may act for another here")
        nonce = scram.attribute(parts[3], b"r")
        if not scram.is_nonce(nonce):
            raise Malformed("SCRAM: bad nonce")
        self._header = b"%b,%b," % (flag, identity)
        self._bare = message[len(self._header) :]
        self._nonce = nonce
        self._user = user
        return Lookup(user)

    def know(self, verifier: Verifier) -> Step:
        """The verifier of the user asked for."""
        self._verifier = verifier
        self._nonce += self._own
        salt = b64encode(verifier.salt)
        self._first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, verifier.iterations)
        return Challenge(self._first)

    def _final_message(self, message: bytes) -> Step:
        verifier = self._verifier
        assert verifier is not None
        without, comma, last = message.rpartition(b",")
        parts = without.split(b",")
        if not comma or len(parts) < 2:
            raise Malformed("SCRAM ends with c=binding,r=nonce,p=proof")
        given = scram.unbase64(scram.attribute(last, b"p"))
        if scram.unbase64(scram.attribute(parts[0], b"c")) != self._header:
            raise Malformed("SCRAM: another header than at first")
        if not hmac.compare_digest(scram.attribute(parts[1], b"r"), self._nonce):
            raise Malformed("SCRAM: another nonce than ours")
        messages = b",".join((self._bare, self._first, without))
        if not scram.proves(verifier, messages, given):
            return Proof(self._user, False)
        self._proved = True
        return Challenge(b"v=" + b64encode(scram.digest(verifier.server, messages)))


Exchange: TypeAlias = Plain | Login | Scram


def begin(mechanism: str) -> tuple[Exchange, bytes]:
    """The exchange of a mechanism by its name, and our challenge where the client sends no response with AUTH."""
    if mechanism == sasl.LOGIN:
        return Login(), b"Username:"
    return (Plain() if mechanism == sasl.PLAIN else Scram()), b""


def _name(octets: bytes) -> str:
    if len(octets) > sasl.MAX_NAME:
        raise Malformed(f"a user name has at most {sasl.MAX_NAME} octets")
    return _prepared(octets, "user name")


def _password(octets: bytes) -> bytes:
    if len(octets) > sasl.MAX_PASSWORD:
        raise Malformed(f"a password has at most {sasl.MAX_PASSWORD} octets")
    return _prepared(octets, "password").encode()


def _prepared(octets: bytes, what: str) -> str:
    try:
        return saslprep(octets.decode())
    except UnicodeDecodeError:
        raise Malformed(f"a {what} is UTF-8") from None
    except Unprintable:
        raise Malformed(f"a {what} must not be empty or hold such characters") from None
