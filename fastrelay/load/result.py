"""What came of a load run: counts, latencies, errors by their words. Pure; merged over the processes."""

from typing import Any

from fastrelay.load.figures import PRECISION, Latencies

_MAX_ERRORS = 100  # different texts kept
_COUNTS = (
    "accepted", "refused", "failed", "visited", "missed", "warmed", "sessions", "recipients", "refused_recipients",
    "octets",
)  # fmt: skip
_LATENCIES = ("connect", "accept", "whole", "late")


class Result:
    """What one process did, or all.

    accepted: messages with a 250; refused: with another reply; failed: with none (`errors` has the words of both).
    visited: of a run that only connects, sessions that came to QUIT. missed: due by the rate, never offered because all
    sessions were busy to the end. warmed: accepted or visited in the warm-up, counted nowhere else. sessions:
    connections greeted and introduced. refused_recipients: of accepted messages.
    Latencies, seconds. connect: to the 220, from the instant it was due in an open loop, else from the first packet
    (a TLS handshake before it included). accept: final dot to its reply. whole: a message from the instant it was due
    (open loop) or begun to its reply, with the connection if one was opened for it; of a run that only connects, to the
    answer to QUIT. late: from due to begun, what the generator itself adds to an open loop.
    begun: monotonic, of the first message, warm-up or not. started, ended: of what is measured. cpu: seconds the
    generator computed from `started` to `ended`.
    """

    __slots__ = (*_COUNTS, *_LATENCIES, "begun", "busiest", "cpu", "ended", "errors", "pairs", "started", "stopped")

    def __init__(self) -> None:
        self.accepted = self.refused = self.failed = self.visited = self.missed = self.warmed = 0
        self.sessions = self.recipients = self.refused_recipients = self.octets = 0
        self.begun = self.started = self.ended = 0.0
        self.cpu = 0.0
        self.busiest = 0.0  # share of a processor that the busiest process used
        self.stopped = False  # by Ctrl-C, before the plan was carried out
        self.errors: dict[str, int] = {}
        self.pairs: list[str] = []
        self.connect = Latencies()
        self.accept = Latencies()
        self.whole = Latencies()
        self.late = Latencies()

    @property
    def done(self) -> int:
        """Messages, or sessions of a run that only connects, with an end, whichever."""
        return self.accepted + self.refused + self.failed + self.visited + self.warmed

    @property
    def good(self) -> bool:
        """Everything was offered in time and taken for everybody."""
        return not (self.refused or self.failed or self.refused_recipients or self.missed)

    def error(self, words: str) -> None:
        """Count one error by its words."""
        if words not in self.errors and len(self.errors) >= _MAX_ERRORS:
            words = "other"
        self.errors[words] = self.errors.get(words, 0) + 1

    def follow(self, warm: "Result") -> None:
        """Take over from the warm-up what may not be lost: what went wrong, and which messages were accepted."""
        self.warmed += warm.accepted + warm.visited
        self.refused += warm.refused
        self.failed += warm.failed
        self.refused_recipients += warm.refused_recipients
        self._errors_of(warm)
        self.pairs = warm.pairs + self.pairs

    def merge(self, other: "Result") -> None:
        """Add what another process did; the times span both."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.begun = min(self.begun or other.begun, other.begun)
        self.started = min(self.started or other.started, other.started)
        self.ended = max(self.ended, other.ended)
        self.cpu += other.cpu
        self.busiest = max(self.busiest, other.busiest)
        self.stopped = self.stopped or other.stopped
        self._errors_of(other)
        self.pairs += other.pairs
        for name in _LATENCIES:
            getattr(self, name).merge(getattr(other, name))

    def _errors_of(self, other: "Result") -> None:
        for words, count in other.errors.items():
            self.errors[words] = self.errors.get(words, 0) + count

    def statistics(self) -> dict[str, Any]:
        """What `fastrelay bench` prints; latencies in milliseconds, told at most `precision` too high."""
        seconds = max(self.ended - self.started, 1e-9)
        measured = self.accepted + self.visited
        shown: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS if name != "octets"}
        shown |= {
            "stopped": self.stopped,
            "seconds": round(seconds, 3),
            "sessions_per_second": round(self.sessions / seconds, 1),
            "messages_per_second": round(self.accepted / seconds, 1),
            "megabytes_per_second": round(self.octets / seconds / 1e6, 2),
            "generator_cpu_ms": round(self.cpu / measured * 1e3, 3) if measured else 0.0,
            "generator_busiest": round(self.busiest, 3),
            "precision": PRECISION,
        }
        shown |= {f"{name}_ms": getattr(self, name).summary() for name in _LATENCIES}
        shown["errors"] = dict(sorted(self.errors.items(), key=lambda item: -item[1]))
        return shown

    def to_wire(self) -> dict[str, Any]:
        """What JSON can carry."""
        wire = {name: getattr(self, name) for name in self.__slots__ if name not in _LATENCIES}
        return wire | {name: getattr(self, name).to_wire() for name in _LATENCIES}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Result":
        """The inverse of `to_wire`."""
        made = cls()
        for name, value in wire.items():
            setattr(made, name, Latencies.from_wire(value) if name in _LATENCIES else value)
        return made
