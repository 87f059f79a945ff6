"""From rounds to medians and ratios. Pure.

A figure is named by its path in a Round: "cpu_ms", "latencies.accept.p99", "more.loaded_s". A ratio is the median of
the ratios of rounds with the same number, which stood in the same minutes: on a shared machine a run drifts, pairs
hardly do.
"""

import statistics

import msgspec

from bench.measure import Round
from bench.scenario import Scenario

_NOT_FIGURES = frozenset({"relay", "scenario", "number"})


class Spread(msgspec.Struct, frozen=True):
    """Of one figure over the rounds."""

    median: float
    lowest: float
    highest: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One relay in one scenario. times: other relay -> figure -> this one's over the other's.

    beside: the same against the scenario that this one names as its baseline, for the same relay.
    """

    relay: str
    scenario: str
    rounds: int
    figures: dict[str, Spread]
    times: dict[str, dict[str, float]] = {}
    beside: dict[str, float] = {}


def figures_of(one: Round) -> dict[str, float]:
    """Every figure of a round by its path."""
    found: dict[str, float] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}", inner)
        elif isinstance(value, int | float):
            found[prefix] = float(value)

    for name, value in msgspec.to_builtins(one).items():
        if name not in _NOT_FIGURES:
            walk(name, value)
    return found


def summarise(rounds: list[Round], scenarios: list[Scenario]) -> list[Summary]:
    """One Summary for each (scenario, relay), in the order met."""
    grouped: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for one in rounds:
        grouped.setdefault((one.scenario, one.relay), {})[one.number] = figures_of(one)
    beside = {scenario.name: scenario.beside for scenario in scenarios}
    found = []
    for (scenario, relay), mine in grouped.items():
        paths = dict.fromkeys(path for figures in mine.values() for path in figures)
        base = grouped.get((beside.get(scenario, ""), relay))
        found.append(
            Summary(
                relay=relay,
                scenario=scenario,
                rounds=len(mine),
                figures={
                    path: _spread([figures[path] for figures in mine.values() if path in figures]) for path in paths
                },
                times={
                    other: ratios(mine, theirs)
                    for (where, other), theirs in grouped.items()
                    if where == scenario and other != relay
                },
                beside=ratios(mine, base) if base else {},
            )
        )
    return found


def ratios(mine: dict[int, dict[str, float]], theirs: dict[int, dict[str, float]]) -> dict[str, float]:
    """figure -> median of mine over theirs in rounds of the same number; figures both have, zero on neither side."""
    pairs: dict[str, list[float]] = {}
    for number, figures in mine.items():
        other = theirs.get(number, {})
        for path, value in figures.items():
            if value and other.get(path):
                pairs.setdefault(path, []).append(value / other[path])
    return {path: statistics.median(values) for path, values in pairs.items()}


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
