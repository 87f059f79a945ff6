"""What a sink saw: counts, end-to-end latencies, and each (message, recipient) pair with how often it came.

One tally per process, merged at the end: plain integers on the way, no locks. Bounded: 65,536 domains by name (the rest
under "other"), and as many pairs as messages arrive while `keep_pairs` is on.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from fastrelay.load.figures import Latencies
from fastrelay.load.message import UNMEASURED

_MAX_DOMAINS = 65_536
_COUNTS = (
    "connections", "encrypted", "messages", "recipients", "octets", "deferred", "rejected", "disconnected", "throttled",
    "limited", "broken", "unmarked",
)  # fmt: skip


class Difference(NamedTuple):
    """Accepted pairs against arrived ones: all three empty when nothing was lost, doubled or invented."""

    lost: list[str]
    duplicated: dict[str, int]
    unknown: list[str]


class Tally:
    """Counts of one sink process.

    encrypted: connections that went over to TLS. throttled: connections turned away as one too many. limited: commands
    refused by another limit, and connections ended after the most messages. broken: connections that ended without
    QUIT. unmarked: messages without a mark (not from our generator).
    started, ended: monotonic seconds of the first and the last message. peak: most connections at once, of each process
    added up. Messages of a warm-up have no part in the latencies.
    """

    __slots__ = (
        *_COUNTS, "domains", "ended", "keep_pairs", "latencies", "open", "pairs", "peak", "started",
    )  # fmt: skip

    def __init__(self, *, keep_pairs: bool = False) -> None:
        self.connections = self.encrypted = self.messages = self.recipients = self.octets = 0
        self.deferred = self.rejected = self.disconnected = self.throttled = self.limited = 0
        self.broken = self.unmarked = 0
        self.open = self.peak = 0
        self.started = self.ended = 0.0
        self.domains: dict[str, int] = {}
        self.latencies = Latencies()
        self.keep_pairs = keep_pairs
        self.pairs: dict[str, int] = {}

    def arrived(self, at: float, size: int, recipients: list[bytes], ident: str, offered: float) -> None:
        """One message was taken for `recipients` (as they stood between the brackets); ident "" for an unmarked one."""
        self.messages += 1
        self.octets += size
        if not self.started:
            self.started = at
        self.ended = at
        if ident:
            if offered != UNMEASURED:
                self.latencies.add(at - offered)
        else:
            self.unmarked += 1
        domains = self.domains
        for recipient in recipients:
            self.recipients += 1
            address = recipient.decode("utf-8", "replace")
            domain = address.rpartition("@")[2].lower()
            if domain not in domains and len(domains) >= _MAX_DOMAINS:
                domain = "other"
            domains[domain] = domains.get(domain, 0) + 1
            if self.keep_pairs and ident:
                pair = f"{ident} {address}"
                self.pairs[pair] = self.pairs.get(pair, 0) + 1

    def merge(self, other: "Tally") -> None:
        """Add what another process saw."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.open += other.open
        self.peak += other.peak
        if other.started:
            self.started = min(self.started, other.started) if self.started else other.started
            self.ended = max(self.ended, other.ended)
        for domain, count in other.domains.items():
            self.domains[domain] = self.domains.get(domain, 0) + count
        for pair, count in other.pairs.items():
            self.pairs[pair] = self.pairs.get(pair, 0) + count
        self.latencies.merge(other.latencies)

    def difference(self, accepted: Iterable[str]) -> Difference:
        """Compare with the pairs ("IDENT ADDRESS") for which a 250 was given."""
        expected = set(accepted)
        return Difference(
            lost=sorted(expected - self.pairs.keys()),
            duplicated={pair: count for pair, count in sorted(self.pairs.items()) if count > 1},
            unknown=sorted(self.pairs.keys() - expected),
        )

    def statistics(self) -> dict[str, Any]:
        """What `fastrelay sink` prints: counts, seconds from first to last message, messages per second, latencies."""
        seconds = self.ended - self.started
        shown: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        shown |= {"open": self.open, "peak": self.peak, "seconds": round(seconds, 3)}
        shown["messages_per_second"] = round(self.messages / seconds, 1) if seconds > 0 else 0.0
        shown["end_to_end_ms"] = self.latencies.summary()
        shown["domains"] = dict(sorted(self.domains.items(), key=lambda item: (-item[1], item[0])))
        if self.keep_pairs:
            shown["unique"] = len(self.pairs)
            shown["duplicates"] = sum(self.pairs.values()) - len(self.pairs)
        return shown

    def to_wire(self) -> dict[str, Any]:
        """What JSON can carry."""
        wire: dict[str, Any] = {name: getattr(self, name) for name in (*_COUNTS, *_REST)}
        return wire | {"latencies": self.latencies.to_wire()}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Tally":
        """The inverse of `to_wire`."""
        made = cls()
        for name in (*_COUNTS, *_REST):
            setattr(made, name, wire[name])
        made.latencies = Latencies.from_wire(wire["latencies"])
        return made


_REST = ("open", "peak", "started", "ended", "domains", "keep_pairs", "pairs")
