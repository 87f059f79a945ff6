"""What every session of a door works with: the rules, the way in, the log and the counters; and the shapes of all that
reception is handed."""

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.reception.allowance import Buckets, Rates
from fastrelay.reception.bulletin import Bulletin
from fastrelay.reception.caller import Callers
from fastrelay.reception.logins import Logins
from fastrelay.reception.policy import Limit, Policy
from fastrelay.reception.stress import Temper
from fastrelay.reception.trace import DateLine


class Draft(Protocol):
    """Content on its way in, in memory or in a file."""

    def write(self, chunk: bytes, /) -> None:
        """May wait. MachineShort when it cannot be kept."""

    def discard(self) -> None:
        """Forget it. Harmless when it was committed or discarded before."""


class Intake(Protocol):
    """The one way into the house."""

    def check_room(self, size: int, /) -> None:
        """MachineShort when a message of `size` octets (0 = unknown) would not be taken now."""

    def draft(self, size_hint: int, /) -> Draft:
        """A place for content that does not come in one piece."""

    def fresh_ident(self) -> bytes:
        """A new id."""

    def accept(self, envelope: Envelope, prefix: bytes, content: Any, *, ident: bytes) -> object:
        """May wait. content: bytes, or a Draft of this intake. Returns when the message is on stable storage;
        MachineShort when it is not and will not be."""


class Ledger(Protocol):
    """Limits that hold on the whole machine. rates: of what is begun in a time."""

    @property
    def rates(self) -> Buckets: ...
    def take(self, keys: Sequence[tuple[LimitKey, Limit]], now: float, /) -> object:
        """True in a condition: all taken. False: none was, and `.key` is the one that is full."""

    def give(self, keys: Sequence[LimitKey], /) -> None:
        """Give them back."""

    def total(self, key: LimitKey, /) -> int:
        """How many are taken, on the whole machine."""


class EventLog(Protocol):
    """The event log (eventlog.py). short: new mail must wait for it."""

    @property
    def short(self) -> bool: ...
    def write(self, kind: str, /, **fields: Any) -> None: ...
    def say(self, level: str, text: str, /) -> None: ...


class Layer(Protocol):
    """What TLS agreed on; ssl.SSLSocket is one."""

    def version(self) -> str | None: ...
    def cipher(self) -> tuple[str, str, int] | None: ...
    def getpeercert(self, binary_form: Literal[True], /) -> bytes | None: ...
    @property
    def session_reused(self) -> bool | None: ...


class Certificates(Protocol):
    """What a listener shows in TLS (runtime/certificates.py). context: for the next handshake."""

    @property
    def context(self) -> ssl.SSLContext: ...
    def look(self, now: float, /) -> None:
        """Once a second: new files are loaded."""


class Stream(Protocol):
    """One connection (runtime/stream.py). `read`, `peek`, `write`, `start_tls` and `linger` may wait; all but the last
    end in PeerError. perish: ends the present wait with PeerTimeout."""

    peer: tuple[str, int]

    @property
    def tls(self) -> Layer | None: ...
    def expire_in(self, seconds: float, /) -> None: ...
    def expire_at(self, deadline: float, /) -> None: ...
    def read(self) -> bytes: ...
    def read_waiting_first(self) -> bytes: ...
    def peek(self) -> bytes: ...
    def skip(self, count: int, /) -> None: ...
    def write(self, data: bytes, /) -> None: ...
    def write_nowait(self, data: bytes, /) -> bool: ...
    def start_tls(self, context: ssl.SSLContext, /, *, server_side: bool) -> None: ...
    def is_quiet(self) -> bool: ...
    def perish(self) -> None: ...
    def linger(self, octets: int, seconds: float, /) -> None: ...
    def close(self) -> None: ...


class Desk:
    """tls: the certificates where the listener offers TLS. callers: where names of clients are found, if anywhere;
    claims: where it is found whether they are what they say in HELO.
    temper: how clients are treated now (stress.py). Counts used: sessions, in_active, received, received_bytes,
    rejected, accept_seconds, throttled, stress, tls_ok, tls_failed, logins_ok, logins_failed. logins: who may log in,
    where the listener offers that. judge(ident, prefix, content) hears of each accepted message, where the listener
    wants that; never waits. expanded(ident, envelope, names, wall) is told of the names in a message just committed
    that stood for others; may wait. buckets: where the listener's rates are counted; rates: None where it has none.
    bulletin: whom limits hold up."""

    __slots__ = (
        "bulletin",
        "callers",
        "claims",
        "counts",
        "dates",
        "expanded",
        "intake",
        "judge",
        "log",
        "logins",
        "policy",
        "rates",
        "temper",
        "tls",
    )

    def __init__(
        self,
        policy: Policy,
        intake: Intake,
        log: EventLog,
        counts: Counts,
        tls: Certificates | None = None,
        callers: Callers | None = None,
        logins: Logins | None = None,
        judge: Callable[[bytes, bytes, object], None] | None = None,
        expanded: Callable[[bytes, Envelope, Sequence[Recipient], float], object] | None = None,
        claims: Callers | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        self.policy = policy
        self.intake = intake
        self.log = log
        self.counts = counts
        self.tls = tls
        self.callers = callers
        self.logins = logins
        self.judge = judge
        self.expanded = expanded
        self.claims = claims
        self.bulletin = Bulletin(policy.name, log.say)
        self.rates: Rates | None = None
        if buckets is not None and policy.has_rates:
            self.rates = Rates(policy, buckets, self.bulletin, counts)
        self.temper: Temper = policy.calm
        self.dates = DateLine()
