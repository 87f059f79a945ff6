"""What a run through a relay came to: what it took, set against what arrived. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastrelay.load.result import Result
from fastrelay.load.tally import Tally


class Line(NamedTuple):
    """One recipient domain, in recipients. deferred: answers that put one off; lost: accepted, never arrived; twice:
    arrived more than once."""

    accepted: int
    delivered: int
    deferred: int
    lost: int
    twice: int


class Account:
    """domains: by name, in the order of `tallies`. queued: messages the relay still had at the end."""

    def __init__(self, result: Result, tallies: Mapping[str, Tally], queued: int) -> None:
        self.result = result
        self.queued = queued
        self.arrived = Tally(keep_pairs=True)
        for tally in tallies.values():
            self.arrived.merge(tally)
        difference = self.arrived.difference(result.pairs)
        accepted, lost = _by_domain(result.pairs), _by_domain(difference.lost)
        twice = _by_domain(difference.duplicated)
        self.unknown = len(difference.unknown)
        self.domains = {
            name: Line(accepted[name], tally.recipients, tally.deferred, lost[name], twice[name])
            for name, tally in tallies.items()
        }

    @property
    def total(self) -> Line:
        """The sums over all domains."""
        return Line(*(sum(column) for column in zip(*self.domains.values(), strict=True)))

    @property
    def good(self) -> bool:
        """Everything offered was taken, everything taken arrived, once."""
        result, total = self.result, self.total
        taken = not (result.refused or result.failed or result.refused_recipients) and result.accepted > 0
        return taken and not (total.lost or total.twice or self.queued or self.unknown)

    def statistics(self) -> dict[str, Any]:
        """For scripts; latencies in milliseconds: connect to the greeting, accept from the end of a message to its 250,
        delivery from the moment it was offered until its mail server had taken it."""
        result, total = self.result, self.total
        seconds = max(self.arrived.ended - result.started, 1e-9)
        return {
            "good": self.good,
            **total._asdict(),
            "refused": result.refused + result.failed + result.refused_recipients,
            "queued": self.queued,
            "seconds": round(seconds, 3),
            "sessions_per_second": result.statistics()["sessions_per_second"],
            "connect_ms": result.connect.summary(),
            "accept_ms": result.accept.summary(),
            "delivery_ms": self.arrived.latencies.summary(),
            "connections_out": self.arrived.connections,
            "domains": {name: line._asdict() for name, line in self.domains.items()},
        }


def _by_domain(pairs: Any) -> Counter[str]:
    """How many of the pairs ("IDENT ADDRESS") belong to each domain."""
    return Counter(pair.rpartition("@")[2] for pair in pairs)
