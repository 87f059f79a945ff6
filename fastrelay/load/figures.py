"""Latencies as a histogram that can be merged: exact counts in buckets less than 1 % wide, bounded whatever is counted.

The idea is HDR's: a bucket holds the microseconds that agree in their eight leading bits, so its edges are at most
1/128 (0.8 %) apart at every magnitude. A quantile is told as the upper edge of its bucket: never better than the truth,
at most PRECISION worse. The highest value is kept exactly. A list of samples would need 8 octets each and a
sort; this needs at most 3,968 counts, some 300 in practice.
"""

_BITS = 7  # bits kept behind the leading one: 128 buckets per doubling
_LARGEST = 1 << 37  # microseconds, 38 hours: what is longer counts as that
PRECISION = 1 / (1 << _BITS)
SHOWN = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))


class Latencies:
    """Durations in seconds, counted. `merge` adds another's; `to_wire` and `from_wire` carry one between processes."""

    __slots__ = ("_buckets", "count", "highest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, seconds: float) -> None:
        """Count one. Negative ones (two clocks that disagree) count as zero."""
        micros = int(seconds * 1e6) if seconds > 0 else 0
        shift = micros.bit_length() - _BITS - 1
        if shift > 0:
            if micros > _LARGEST:
                micros, shift = _LARGEST, 37 - _BITS
            micros = (shift << _BITS) + (micros >> shift)
        buckets = self._buckets
        buckets[micros] = buckets.get(micros, 0) + 1
        self.count += 1
        self.total += seconds
        if seconds > self.highest:
            self.highest = seconds

    def quantile(self, share: float) -> float:
        """Seconds that `share` of the values do not exceed (upper edge of their bucket); 0.0 of none."""
        wanted = share * self.count
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            if seen >= wanted:
                return min(_upper_edge(key) / 1e6, self.highest)
        return 0.0

    def merge(self, other: "Latencies") -> None:
        """Add what `other` counted."""
        for key, count in other._buckets.items():
            self._buckets[key] = self._buckets.get(key, 0) + count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    def summary(self) -> dict[str, float]:
        """Milliseconds: mean, p50, p90, p99, p999, max; and the count."""
        shown = {name: round(self.quantile(share) * 1000, 3) for name, share in SHOWN}
        mean = round(self.total / self.count * 1000, 3) if self.count else 0.0
        return {"count": self.count, "mean": mean, **shown, "max": round(self.highest * 1000, 3)}

    def to_wire(self) -> list[object]:
        """What JSON can carry."""
        return [self.total, self.highest, list(self._buckets.items())]

    @classmethod
    def from_wire(cls, wire: list[object]) -> "Latencies":
        """The inverse of `to_wire`."""
        made = cls()
        total, highest, pairs = wire
        assert isinstance(total, int | float) and isinstance(highest, int | float) and isinstance(pairs, list)
        made._buckets = dict(pairs)
        made.count = sum(made._buckets.values())
        made.total, made.highest = float(total), float(highest)
        return made


def _upper_edge(key: int) -> int:
    """The first microsecond that is no longer of the bucket."""
    shift = (key >> _BITS) - 1
    if shift <= 0:
        return key + 1
    return (key - (shift << _BITS) + 1) << shift
