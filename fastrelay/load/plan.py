"""What a load run is to do, as one value; how its work is split over processes; and what came of it. Pure."""

import ipaddress
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fastrelay.errors import MisuseError
from fastrelay.load.figures import Latencies

DOMAINS = (("load.invalid", 1.0),)
_MAILBOXES = 1000  # distinct local parts per domain
_MAX_ERRORS = 100  # different texts kept


@dataclass(frozen=True, slots=True)
class Plan:
    """A closed loop: `sessions` at a time, each offers the next message when the last is answered.

    messages: in all, or None for as many as fit into `seconds`. domains: (name, weight), recipients follow them.
    reuse: one connection for a session's messages; else one each. keep_pairs: remember what was accepted, pair by pair.
    first: number of the first message.
    """

    host: str
    port: int
    sessions: int = 50
    messages: int | None = 1000
    seconds: float | None = None
    size: int = 5000
    recipients: int = 1
    domains: tuple[tuple[str, float], ...] = DOMAINS
    sender: str = "sender@load.invalid"
    hello: str = "load.invalid"
    reuse: bool = False
    pipelining: bool = True
    keep_pairs: bool = False
    seed: int = 0
    run: str = ""
    first: int = 0

    def check(self, *, own_target: bool = False) -> None:
        """MisuseError for what cannot be, and for a target that is not this machine without `own_target`."""
        if self.messages is None and self.seconds is None:
            raise MisuseError("say how much: a number of messages or a duration")
        if not self.domains or any(weight <= 0 for _, weight in self.domains):
            raise MisuseError("every domain of the mix needs a weight above 0")
        if not own_target and not _is_loopback(self.host):
            raise MisuseError(f"{self.host} is not this machine; load for another takes --i-own-this-target")

    def split(self, processes: int) -> list["Plan"]:
        """The same work for several processes: sessions and messages shared out, numbers and seeds apart."""
        processes = max(1, min(processes, self.sessions))
        parts, first = [], self.first
        for n in range(processes):
            messages = None if self.messages is None else _share(self.messages, processes, n)
            part = replace(self, sessions=_share(self.sessions, processes, n), messages=messages, first=first)
            parts.append(replace(part, seed=self.seed * 1000 + n))
            first += 10**9 // processes if messages is None else messages
        return parts

    def addresses(self) -> Iterator[list[str]]:
        """The recipients of one message after the other, endlessly, by the weights; distinct within a message."""
        chance = random.Random(self.seed)
        names = [name for name, _ in self.domains]
        weights = [weight for _, weight in self.domains]
        number = self.first
        while True:
            chosen = chance.choices(names, weights, k=self.recipients)
            yield [f"user{(number + n) % max(_MAILBOXES, self.recipients)}@{name}" for n, name in enumerate(chosen)]
            number += self.recipients


def _share(whole: int, parts: int, number: int) -> int:
    return whole // parts + (1 if number < whole % parts else 0)


def _is_loopback(host: str) -> bool:
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Result:
    """What came of a run. accepted: messages with a 250; refused: with another reply; failed: with none (`errors` has
    the words of both). sessions: connections that were greeted. refused_recipients: of accepted messages."""

    __slots__ = (
        "accept", "accepted", "connect", "ended", "errors", "failed", "octets", "pairs", "recipients", "refused",
        "refused_recipients", "sessions", "started",
    )  # fmt: skip

    def __init__(self) -> None:
        self.accepted = self.refused = self.failed = self.sessions = 0
        self.recipients = self.refused_recipients = self.octets = 0
        self.started = self.ended = 0.0  # monotonic seconds
        self.errors: dict[str, int] = {}
        self.pairs: list[str] = []
        self.connect = Latencies()
        self.accept = Latencies()

    @property
    def done(self) -> int:
        """Messages with an end, whichever."""
        return self.accepted + self.refused + self.failed

    def error(self, words: str) -> None:
        """Count one error by its words."""
        if words not in self.errors and len(self.errors) >= _MAX_ERRORS:
            words = "other"
        self.errors[words] = self.errors.get(words, 0) + 1

    def merge(self, other: "Result") -> None:
        """Add what another process did; the times span both."""
        for name in ("accepted", "refused", "failed", "sessions", "recipients", "refused_recipients", "octets"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.started = min(self.started or other.started, other.started)
        self.ended = max(self.ended, other.ended)
        for words, count in other.errors.items():
            self.errors[words] = self.errors.get(words, 0) + count
        self.pairs += other.pairs
        self.connect.merge(other.connect)
        self.accept.merge(other.accept)

    def statistics(self) -> dict[str, Any]:
        """What `fastrelay bench` prints; latencies in milliseconds."""
        seconds = max(self.ended - self.started, 1e-9)
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "failed": self.failed,
            "recipients": self.recipients,
            "refused_recipients": self.refused_recipients,
            "sessions": self.sessions,
            "seconds": round(seconds, 3),
            "sessions_per_second": round(self.sessions / seconds, 1),
            "messages_per_second": round(self.accepted / seconds, 1),
            "megabytes_per_second": round(self.octets / seconds / 1e6, 2),
            "connect_ms": self.connect.summary(),
            "accept_ms": self.accept.summary(),
            "errors": dict(sorted(self.errors.items(), key=lambda item: -item[1])),
        }

    def to_wire(self) -> dict[str, Any]:
        """What JSON can carry."""
        wire = {name: getattr(self, name) for name in self.__slots__ if name not in ("connect", "accept")}
        return wire | {"connect": self.connect.to_wire(), "accept": self.accept.to_wire()}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Result":
        """The inverse of `to_wire`."""
        made = cls()
        for name, value in wire.items():
            setattr(made, name, Latencies.from_wire(value) if name in ("connect", "accept") else value)
        return made
