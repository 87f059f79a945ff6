"""The neighbours settlement is handed, as far as it needs them. Rooms are siblings: these are only their shapes."""

from collections.abc import Sequence
from typing import Any, Protocol

from fastrelay.mail.envelope import Envelope
from fastrelay.mail.route import Route
from fastrelay.mail.state import State


class Item(Protocol):
    """What was attempted: recipients `indices` of one message at one domain. expires: monotonic seconds.

    route: the decision by which it was ready for a site; None when there was none, or when it expired while it waited.
    """

    ident: bytes
    domain: str
    indices: tuple[int, ...]
    attempts: int
    expires: float
    route: Route | None


class Store(Protocol):
    """The spool: what is known of a message, and where outcomes are written. `state` shows a record at
    once, also one under way with a notice; where that fails it is taken back before the error comes out."""

    def envelope(self, ident: bytes) -> Envelope | None: ...
    def state(self, ident: bytes) -> State: ...
    def record(self, ident: bytes, state: State) -> None: ...
    def head(self, ident: bytes, most: int) -> bytes: ...


class Scheduler(Protocol):
    """The schedule: every item settled here ends as one of the first two. lane: with the `window` of a site."""

    def again(self, item: Any, indices: tuple[int, ...], due: float, *, attempted: bool = True) -> None: ...
    def done(self, item: Any) -> None: ...
    def hold(self, ident: bytes) -> bool: ...
    def lane(self, site: str) -> Any: ...
    def suspend_lane(self, site: str, until: float, why: str) -> Any: ...


class Intake(Protocol):
    """The one way in: a bounce enters by it, in one batch with `records`."""

    def fresh_ident(self) -> bytes: ...
    def accept(
        self,
        envelope: Envelope,
        prefix: bytes,
        content: bytes,
        *,
        ident: bytes,
        records: Sequence[tuple[bytes, State]] = (),
    ) -> bytes: ...


class EventLog(Protocol):
    """One line per event."""

    def write(self, kind: str, /, **fields: Any) -> None: ...


class Clock(Protocol):
    """Both clocks."""

    def now(self) -> float: ...
    def wall(self) -> float: ...


class Connection(Protocol):
    """What the event line says of the connection that was used."""

    local_address: str
    tls_version: str
    tls_cipher: str


class Road(Protocol):
    """How the attempt went: the carrier that made it. connection: None when none is in hand any more. login: the name
    of the credentials it was to go out with, "" for none."""

    @property
    def connection(self) -> Any: ...
    @property
    def connect_seconds(self) -> float: ...
    @property
    def transmit_seconds(self) -> float: ...
    @property
    def converted(self) -> bool: ...
    @property
    def login(self) -> str: ...
