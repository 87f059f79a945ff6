"""What the name service said, as values: a question, its answer, and nothing of packets or sockets.

Every lookup ends in exactly one Answer, failures included: who asks looks at `status` and never catches. Names are
case-folded text without the trailing dot; octets that cannot stand in a host name are escaped with a backslash, so no
answer carries a control character. `secure` repeats the AD bit of the server asked (RFC 4035 3.2.3): it is worth as
much as the way to that server.
"""

import enum
from typing import NamedTuple

import msgspec

from fastrelay.mail.address import domain_of

MAX_NAME = 253  # characters of a name in text; 255 octets on the wire (RFC 1035 2.3.4)
MAX_LABEL = 63
MAX_CHAIN = 16  # links of a CNAME chain followed; longer ones and loops are failures


class Status(enum.Enum):
    """How a lookup ended. NO_DATA: the name exists, not with this type; FAILED: nobody could tell."""

    FOUND = "found"
    NO_DATA = "no data"
    NO_NAME = "no such name"
    FAILED = "failed"


class Question(NamedTuple):
    """What is asked; also the key of the cache. `name` case-folded, `rdtype` as written: "MX", "AAAA", "PTR"."""

    name: str
    rdtype: str


class Exchange(NamedTuple):
    """One MX record: lower preference is better; host "" is the root, which RFC 7505 uses to say "no mail"."""

    preference: int
    host: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One answer. records: presentation text per record; exchanges: the same for MX, parsed.

    ttl: seconds, the least of all records on the way. expires: monotonic seconds, set when it enters the cache.
    chain: the CNAME targets passed, in order; the last one owns the records. reason: why, for FAILED. stale: past its
    time, served because no server answers (RFC 8767).
    """

    name: str
    rdtype: str
    status: Status
    records: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    ttl: int = 0
    expires: float = 0.0
    chain: tuple[str, ...] = ()
    secure: bool = False
    reason: str = ""
    stale: bool = False

    @property
    def found(self) -> bool:
        """There are records."""
        return self.status is Status.FOUND

    @property
    def failed(self) -> bool:
        """Temporary: ask again later."""
        return self.status is Status.FAILED


def failure(question: Question, reason: str, chain: tuple[str, ...] = ()) -> Answer:
    """The answer of those who got none."""
    return Answer(question.name, question.rdtype, Status.FAILED, chain=chain, reason=reason)


_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")  # "_" is no host name, but stands in real MX


def is_host_name(name: str) -> bool:
    """May `name` (case-folded, no trailing dot) be asked for and connected to? Letters, digits, "-", "_" in labels."""
    if not name or len(name) > MAX_NAME or not _HOST_CHARACTERS.issuperset(name):
        return False
    return all(0 < len(label) <= MAX_LABEL for label in name.split("."))


def pattern(text: str) -> str:
    """A domain as the configuration writes it, or ".domain", in the form names are compared in: A-labels (RFC 5890)."""
    if text.isascii() or "@" in text:
        return folded(text)
    return "." + domain_of(text[1:]) if text.startswith(".") else domain_of(text)


def folded(name: str) -> str:
    """The form names are compared and cached in."""
    return name.lower().rstrip(".")
