"""How a load session gets in: TLS or not, and who it says it is. The AUTH dialogue is pure (RFC 4954).

A certificate is not verified: the target of a load run is one's own, and often has none that any authority signed.
"""

import enum
from base64 import b64encode
from dataclasses import dataclass

from fastrelay.errors import MisuseError, PeerError
from fastrelay.mail.reply import Reply


class Security(enum.Enum):
    """When TLS starts."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207
    IMPLICIT = "implicit"  # RFC 8314: from the first octet


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of the server."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


@dataclass(frozen=True, slots=True)
class Access:
    """What a session does before its first message."""

    security: Security = Security.NONE
    credentials: Credentials | None = None


OPEN = Access()  # in plain text, as nobody


def parse_credentials(text: str) -> Credentials:
    """ "user:password"; the password may hold colons."""
    user, colon, password = text.partition(":")
    if not colon or not user or "\0" in text:
        raise MisuseError("--auth: write it like user:password")
    return Credentials(user, password)


class Login:
    """One AUTH exchange: write `begin`, then what `answer` gives for each reply until it gives None: logged in.

    PLAIN where it is offered (RFC 4616, one round trip), else LOGIN. PeerError when the server offers neither or says
    no.
    """

    __slots__ = ("_left", "begin")

    def __init__(self, credentials: Credentials, offered: tuple[str, ...]) -> None:
        user, password = credentials.user.encode(), credentials.password.encode()
        if "PLAIN" in offered:
            self.begin = b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + password) + b"\r\n"
            self._left: list[bytes] = []
        elif "LOGIN" in offered:
            self.begin = b"AUTH LOGIN\r\n"
            self._left = [b64encode(user) + b"\r\n", b64encode(password) + b"\r\n"]
        else:
            raise PeerError(f"AUTH PLAIN and LOGIN are not offered, but {' '.join(offered) or 'no AUTH at all'}")

    def answer(self, reply: Reply) -> bytes | None:
        """What to write next; None when the server is satisfied."""
        if reply.code == 235 and not self._left:
            return None
        if reply.code != 334 or not self._left:
            raise PeerError(f"AUTH was answered with {reply}")
        return self._left.pop(0)
