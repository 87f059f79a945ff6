"""What became of accepted messages at the sink behind the server: how many arrived, how fast, none lost, none twice."""

from dataclasses import dataclass
from typing import Any

from fastrelay.load.figures import Latencies
from fastrelay.load.result import Result
from fastrelay.load.tally import Difference, Tally


@dataclass(frozen=True, slots=True)
class Delivery:
    """Recipients. lost: accepted, never arrived; twice: arrived more than once; unknown: arrived, never accepted (the
    reply was lost, or another generator is at work). per_second: over the time from the first message offered to the
    last arrival, warm-up included. end_to_end: from the instant a message was due, or offered, to its arrival.
    """

    arrived: int
    lost: int
    twice: int
    unknown: int
    seconds: float
    per_second: float
    end_to_end: Latencies

    @classmethod
    def of(cls, result: Result, tally: Tally, difference: Difference) -> "Delivery":
        """From what the generator and the sink counted."""
        seconds = max(tally.ended - result.begun, 0.0) if tally.messages else 0.0
        return cls(
            arrived=tally.recipients,
            lost=len(difference.lost),
            twice=len(difference.duplicated),
            unknown=len(difference.unknown),
            seconds=seconds,
            per_second=tally.recipients / seconds if seconds else 0.0,
            end_to_end=tally.latencies,
        )

    @property
    def good(self) -> bool:
        """Every accepted message arrived, once."""
        return not (self.lost or self.twice)

    def statistics(self) -> dict[str, Any]:
        """For `--json`; latencies in milliseconds."""
        return {
            "arrived": self.arrived,
            "lost": self.lost,
            "twice": self.twice,
            "unknown": self.unknown,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.per_second, 1),
            "end_to_end_ms": self.end_to_end.summary(),
        }
