"""The neighbours of the front door as fakes, and a stream that plays a script: what tests of reception stand on."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fastrelay.config import Listener, Rate
from fastrelay.errors import MachineShort
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.process.buckets import BUSY, draw
from fastrelay.reception.caller import Callers
from fastrelay.reception.derivation import Derivation
from fastrelay.reception.desk import Desk, Layer
from fastrelay.reception.logins import Logins
from fastrelay.reception.policy import Policy
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.scram import Verifier

HOSTNAME = "relay.example"


@dataclass
class Taken:
    """A message the house said yes to."""

    envelope: Envelope
    prefix: bytes
    content: bytes
    ident: bytes

    @property
    def addresses(self) -> list[str]:
        return [one.address for one in self.envelope.recipients]


@dataclass
class FakeDraft:
    hint: int
    intake: "FakeIntake"
    parts: list[bytes] = field(default_factory=list)
    discarded: bool = False

    def write(self, chunk: bytes, /) -> None:
        if self.intake.full_at is not None and sum(map(len, self.parts)) + len(chunk) > self.intake.full_at:
            raise MachineShort("no space left")
        self.parts.append(chunk)

    def discard(self) -> None:
        self.discarded = True


class FakeIntake:
    """Takes everything. room, dot: raised by check_room, by accept. full_at: octets a draft has room for.
    before_accept: called with the message before it is taken, as the wait for the disk would be."""

    def __init__(self) -> None:
        self.messages: list[Taken] = []
        self.drafts: list[FakeDraft] = []
        self.asked: list[int] = []
        self.room: MachineShort | None = None
        self.dot: MachineShort | None = None
        self.full_at: int | None = None
        self.before_accept: Callable[[Taken], object] = lambda message: None
        self._serial = 0

    def check_room(self, size: int, /) -> None:
        self.asked.append(size)
        if self.room is not None:
            raise self.room

    def draft(self, size_hint: int, /) -> FakeDraft:
        self.drafts.append(FakeDraft(size_hint, self))
        return self.drafts[-1]

    def fresh_ident(self) -> bytes:
        self._serial += 1
        return self._serial.to_bytes(16, "big")

    def accept(self, envelope: Envelope, prefix: bytes, content: Any, *, ident: bytes) -> bytes:
        octets = content if isinstance(content, bytes) else b"".join(content.parts)
        message = Taken(envelope, prefix, octets, ident)
        self.before_accept(message)
        if self.dot is not None:
            raise self.dot
        self.messages.append(message)
        return ident


class No:
    """A refusal of the ledger."""

    def __init__(self, key: LimitKey, retry_at: float | None = None) -> None:
        self.key = key
        self.retry_at = retry_at

    def __bool__(self) -> bool:
        return False


class FakeBuckets:
    """Those of process/buckets.py, of one process and without its file. busy: so many are not had first."""

    def __init__(self) -> None:
        self.full_at: dict[LimitKey, float] = {}
        self.busy = 0

    def spend(self, key: LimitKey, rate: Rate, now: float, amount: float = 1.0, /) -> float:
        if self.busy:
            self.busy -= 1
            return BUSY
        seconds, self.full_at[key] = draw(rate, self.until(key), now, amount)
        return seconds

    def refund(self, key: LimitKey, rate: Rate, amount: float = 1.0, /) -> None:
        self.full_at[key] = self.until(key) - amount * rate.seconds / rate.count

    def due(self, key: LimitKey, rate: Rate, now: float, /) -> float:
        return draw(rate, self.until(key), now)[0]

    def until(self, key: LimitKey, /) -> float:
        return self.full_at.get(key, 0.0)

    def put(self, key: LimitKey, until: float, now: float, /) -> None:
        self.full_at[key] = until


class SpentBuckets(FakeBuckets):
    """Every one is empty, for another 6.5 seconds."""

    def spend(self, key: LimitKey, rate: Rate, now: float, amount: float = 1.0, /) -> float:
        return 6.5

    def due(self, key: LimitKey, rate: Rate, now: float, /) -> float:
        return 6.5


class FakeLedger:
    """Counts, and enforces, in one process. busy: so many takes are refused first, each to be asked again `later`."""

    def __init__(self) -> None:
        self.held: dict[LimitKey, int] = {}
        self.rates = FakeBuckets()
        self.busy = 0
        self.later = 0.01

    def take(self, keys: Sequence[tuple[LimitKey, Any]], now: float, /) -> object:
        if self.busy:
            self.busy -= 1
            return No(keys[0][0], now + self.later)
        for key, limit in keys:
            if limit.count is not None and self.held.get(key, 0) >= limit.count:
                return No(key)
        for key, _ in keys:
            self.held[key] = self.held.get(key, 0) + 1
        return True

    def give(self, keys: Sequence[LimitKey], /) -> None:
        for key in keys:
            self.held[key] -= 1

    def total(self, key: LimitKey, /) -> int:
        return self.held.get(key, 0)


class FakeLog:
    """Keeps events and lines."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.short = False

    def write(self, kind: str, /, **fields: Any) -> None:
        self.events.append({"type": kind, **fields})

    def say(self, level: str, text: str) -> None:
        self.lines.append(f"{level} {text}")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class FakeLayer:
    """What a handshake that took no octets agreed on. shown: the client's certificate. reused: an earlier session's."""

    def __init__(self, shown: bytes | None = None, reused: bool = False) -> None:
        self._shown = shown
        self._reused = reused

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256

    def getpeercert(self, binary_form: Literal[True], /) -> bytes | None:
        return self._shown

    @property
    def session_reused(self) -> bool:
        return self._reused


class FakeCertificates:
    """For streams that only play TLS."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def look(self, now: float, /) -> None:
        pass


class FakeUsers:
    """Those whose password is given; a stranger's decoy is derived in as many steps."""

    def __init__(self, **passwords: str) -> None:
        self.table = {name: scram.make_verifier(word.encode(), 4096, b"salt") for name, word in passwords.items()}

    def find(self, name: str, /) -> Verifier | None:
        return self.table.get(name)

    def decoy(self, name: str, /) -> Verifier:
        return Verifier(b"salt", 4096, bytes(32), bytes(32))

    def renew(self, path: str, iterations: int, /) -> None:
        pass


USERS = FakeUsers(user="pencil")


def logins_of(log: FakeLog, users: FakeUsers = USERS, **kinds: Any) -> Logins:
    """Logins of `users`, user with the password pencil if none are given; failures cost no time."""
    tables = (kinds.pop("failed", None) or FakeBuckets(), kinds.pop("known", None) or FakeBuckets())
    return Logins(users, log.say, *tables, **{"derivation": Derivation(), "pauses": (0.0, 0.0, 0.0), **kinds})


class ScriptStream:
    """Plays `chunks` to whoever reads, then the end of the stream; keeps what is written and when it was asked.

    A chunk may be an exception, raised by the read, or a function, called first (its value is then what is read).
    """

    def __init__(self, chunks: Sequence[Any], client: str = "127.0.0.1") -> None:
        self.peer = (client, 40000)
        self.tls: Layer | None = None
        self.shown: bytes | None = None  # the client's certificate
        self.handshake: Exception | None = None  # how it ends, if not well
        self.reused = False  # the handshake takes up an earlier session
        self.written = b""
        self.writes: list[bytes] = []
        self.at_read: list[bytes] = []  # what had been written in all at each read
        self.deadlines: list[tuple[str, float]] = []  # as set, "in" seconds or "at" an instant
        self.ended = False  # the reader has seen the end
        self.closed = False
        self.lingered: list[tuple[int, float]] = []
        self.perished = 0
        self._chunks = list(chunks)

    def read(self) -> bytes:
        self.at_read.append(self.written)
        if not self._chunks:
            self.ended = True
            return b""
        chunk = self._chunks.pop(0)
        if callable(chunk):
            chunk = chunk()
        if isinstance(chunk, Exception):
            raise chunk
        assert isinstance(chunk, bytes) and chunk
        return chunk

    read_waiting_first = read

    def peek(self) -> bytes:
        if not self._chunks:
            self.ended = True
            return b""
        chunk = self._chunks[0]
        if isinstance(chunk, Exception):
            raise chunk
        assert isinstance(chunk, bytes) and chunk
        return chunk

    def skip(self, count: int) -> None:
        while count > 0:
            chunk = self._chunks.pop(0)
            if count < len(chunk):
                self._chunks.insert(0, chunk[count:])
            count -= len(chunk)

    def write(self, octets: bytes) -> None:
        assert not self.closed
        self.writes.append(octets)
        self.written += octets

    def write_nowait(self, octets: bytes) -> bool:
        self.write(octets)
        return True

    def expire_in(self, seconds: float) -> None:
        self.deadlines.append(("in", seconds))

    def expire_at(self, deadline: float) -> None:
        self.deadlines.append(("at", deadline))

    def start_tls(self, context: object, /, *, server_side: bool) -> None:
        """The handshake takes no octets of the script: what is read next came through TLS."""
        assert server_side and context is FakeCertificates.context and self.tls is None
        if self.handshake is not None:
            raise self.handshake
        self.tls = FakeLayer(self.shown, self.reused)

    def is_quiet(self) -> bool:
        return not self._chunks

    def linger(self, octets: int, seconds: float) -> None:
        self.lingered.append((octets, seconds))
        self.closed = True

    def perish(self) -> None:
        self.perished += 1

    def close(self) -> None:
        self.closed = True


def desk_of(
    intake: FakeIntake,
    log: FakeLog | None = None,
    look_up: Callable[[str], str] | None = None,
    check_helo: Callable[[str, str], str] | None = None,
    buckets: FakeBuckets | None = None,
    **listener: Any,
) -> Desk:
    """A desk with a policy of these listener keys; errors cost a client no time."""
    policy = Policy(Listener(**listener), HOSTNAME, tarpit_seconds=0.0)
    callers = Callers(look_up) if look_up is not None else None
    certificates = FakeCertificates() if listener.get("tls", "none") != "none" else None
    log = log or FakeLog()
    logins = logins_of(log, failed=buckets) if listener.get("auth", "none") != "none" else None
    claims = Callers(check_helo) if check_helo is not None else None
    return Desk(
        policy, intake, log, Counts(), certificates, callers, logins, claims=claims, buckets=buckets or FakeBuckets()
    )
