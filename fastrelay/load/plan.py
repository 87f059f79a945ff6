"""What a load run is to do, as one value, and how its work is split over processes. Pure."""

import ipaddress
from dataclasses import dataclass, field, replace

from fastrelay.errors import MisuseError
from fastrelay.load.access import OPEN, Access
from fastrelay.load.mix import DOMAINS, Domains
from fastrelay.load.sizes import Fixed, Sizes


@dataclass(frozen=True, slots=True)
class Plan:
    """Closed loop: `sessions` at a time, each offers the next message when the last is answered. With `rate` (messages
    a second of the whole run) an open loop: see pace.py.

    messages: in all, or None for as many as fit into `seconds`. domains: (name, weight), recipients follow them.
    messages_per_session: after so many a connection is closed and the next opened; None: never. connect_only: a session
    is connect, EHLO, QUIT, and a "message" is one of those. warmup: share of the messages (where they are counted, else
    of the seconds) that is sent first and not measured. keep_pairs: remember what was accepted, pair by pair.
    first: number of the first message. offset, stride: of this process in the whole (open loop).
    """

    host: str
    port: int
    sessions: int = 50
    messages: int | None = 1000
    seconds: float | None = None
    rate: float | None = None
    sizes: Sizes = field(default_factory=lambda: Fixed(5000))
    recipients: int = 1
    domains: Domains = DOMAINS
    sender: str = "sender@load.invalid"
    hello: str = "load.invalid"
    messages_per_session: int | None = 1
    pipelining: bool = True
    connect_only: bool = False
    access: Access = OPEN
    warmup: float = 0.0
    keep_pairs: bool = False
    seed: int = 0
    run: str = ""
    first: int = 0
    offset: int = 0
    stride: int = 1

    def check(self, *, own_target: bool = False) -> None:
        """MisuseError for what cannot be, and for a target that is not this machine without `own_target`."""
        if self.messages is None and self.seconds is None:
            raise MisuseError("say how much: a number of messages or a duration")
        if not self.domains or any(weight <= 0 for _, weight in self.domains):
            raise MisuseError("every domain of the mix needs a weight above 0")
        if self.rate is not None and self.rate <= 0:
            raise MisuseError("a rate is above 0")
        if not 0 <= self.warmup < 1:
            raise MisuseError("a warm-up is less than the whole")
        if not own_target and not _is_loopback(self.host):
            raise MisuseError(f"{self.host} is not this machine; load for another takes --i-own-this-target")

    def split(self, processes: int) -> list["Plan"]:
        """The same work for several processes: sessions and messages shared out, numbers, seeds and turns apart."""
        processes = max(1, min(processes, self.sessions, self.messages or self.sessions))
        parts, first = [], self.first
        for n in range(processes):
            messages = None if self.messages is None else _share(self.messages, processes, n)
            part = replace(self, sessions=_share(self.sessions, processes, n), messages=messages, first=first)
            parts.append(replace(part, seed=self.seed * 1000 + n, offset=n, stride=processes))
            first += 10**9 // processes if messages is None else messages
        return parts


def _share(whole: int, parts: int, number: int) -> int:
    return whole // parts + (1 if number < whole % parts else 0)


def _is_loopback(host: str) -> bool:
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
