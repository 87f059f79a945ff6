"""The neighbours the road is handed, as far as it needs them. Rooms are siblings: these are only their shapes."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from fastrelay.config import Rate
from fastrelay.errors import FastrelayError
from fastrelay.mail.outcome import Outcome, Phase
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import LimitKey


class Limit(msgspec.Struct, frozen=True, gc=False):
    """At most `count` held at once and at most `rate` begun; None for no such limit."""

    count: int | None
    rate: Rate | None


class Refusal(Protocol):
    """A refused take. why.value: "count", "rate", ...; retry_at: monotonic seconds, None when only a give helps."""

    @property
    def why(self) -> Any: ...
    @property
    def retry_at(self) -> float | None: ...


class Ledger(Protocol):
    """The machine-wide counts (process/ledger.py). `take` is true when granted, a Refusal else."""

    def take(self, wants: Sequence[tuple[LimitKey, Limit]], now: float, wait: bool = False) -> object: ...
    def give(self, keys: Iterable[LimitKey]) -> None: ...
    def wanted(self, key: LimitKey) -> bool: ...
    def wait_over(self, key: LimitKey) -> None: ...


class Layer(Protocol):
    """What TLS agreed on; ssl.SSLSocket is one."""

    def version(self) -> str | None: ...
    def cipher(self) -> tuple[str, str, int] | None: ...
    def getpeercert(self) -> Any: ...


class Stream(Protocol):
    """One connection (runtime/stream.py). Reads and writes may wait, and end in PeerError; nothing else does."""

    deadline: float

    @property
    def tls(self) -> Layer | None: ...
    @property
    def closed(self) -> bool: ...
    def expire_in(self, seconds: float, /) -> None: ...
    def expire_at(self, deadline: float, /) -> None: ...
    def read(self) -> bytes: ...
    def read_waiting_first(self) -> bytes: ...
    def write(self, data: bytes, /) -> None: ...
    def write_parts(self, parts: Sequence[bytes | memoryview], /) -> None: ...
    def write_nowait(self, data: bytes, /) -> bool: ...
    def start_tls(self, context: Any, /, *, server_side: bool, server_hostname: str | None = None) -> None: ...
    def is_quiet(self) -> bool: ...
    def local_address(self) -> str: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class Connect(Protocol):
    """runtime.stream.connect: an open connection, or PeerError, or MachineShort."""

    def __call__(self, address: str, port: int, *, source: str, seconds: float) -> Stream: ...


class Classify(Protocol):
    """settlement.classify.classify: what a reply, or its absence, means."""

    def __call__(
        self,
        phase: Phase,
        said: Reply | FastrelayError,
        host: str = "",
        address: str = "",
        *,
        uncertain: bool = False,
        every_host: bool = False,
    ) -> Outcome: ...


class Forbidden(Protocol):
    """routing.guard.forbidden: why mail must not go to an address, "" when it may."""

    def __call__(self, address: str, *, allow_private: bool = False) -> str: ...
