"""What the workers did in the last minute, summed second by second: the answer behind `fastrelay top`. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from fastrelay.admin.merge import Answer

COUNTED = ("received", "delivered", "deferred", "bounced", "sessions")  # as control/pulse.py has them
RECENT = 3  # seconds that are "now": a worker's second may be told a second late
MINUTE = 60


def pulse(answers: Iterable[Answer], wall: float) -> Answer:
    """Rates now, over the minute and at its peak; commits; workers and sites. wall: the present second."""
    told = [answer for answer in answers if "seconds" in answer]
    by_second: dict[int, list[int]] = {}
    workers = []
    for answer in told:
        for second, *counted in answer["seconds"]:
            sums = by_second.setdefault(second, [0] * len(COUNTED))
            for n, count in enumerate(counted):
                sums[n] += count
        own = {second: counted for second, *counted in answer["seconds"]}
        workers.append(
            {
                "slot": answer["slot"],
                "queued": answer["queued"],
                "oldest_seconds": answer["oldest_seconds"],
                "connections": answer["connections"],
                "rates": rates(own, wall),
                "commit": quantiles([answer["commits"]]),
            }
        )
    return {
        "rates": rates(by_second, wall),
        "totals": {name: sum(answer["totals"][name] for answer in told) for name in COUNTED},
        "queued": sum(answer["queued"] for answer in told),
        "oldest_seconds": max((answer["oldest_seconds"] for answer in told), default=0.0),
        "connections": {name: sum(answer["connections"][name] for answer in told) for name in ("in", "out", "idle")},
        "commit": quantiles([answer["commits"] for answer in told]),
        "workers": workers,
        "sites": _sites(told),
    }


def rates(by_second: dict[int, list[int]], wall: float) -> dict[str, dict[str, float]]:
    """Per second, by name: now, over the minute, and the best second of it. The present second is not over."""
    present = int(wall)
    over = {second: counted for second, counted in by_second.items() if present - MINUTE <= second < present}
    span = max(1, present - min(over, default=present))
    found = {}
    for n, name in enumerate(COUNTED):
        recent = sum(over.get(second, [0] * len(COUNTED))[n] for second in range(present - RECENT, present))
        found[name] = {
            "now": round(recent / RECENT, 1),
            "minute": round(sum(counted[n] for counted in over.values()) / span, 1),
            "peak": float(max((counted[n] for counted in over.values()), default=0)),
        }
    return found


def quantiles(commits: Sequence[Answer]) -> dict[str, float | None]:
    """Median and 99th of a hundred commits of the last minute: bounds of their buckets, None where there was none."""
    bounds: list[float] = next((one["bounds"] for one in commits), [])
    counts = [sum(column) for column in zip(*(one["counts"] for one in commits if one["counts"]), strict=True)]
    total = sum(counts)

    def at(share: float) -> float | None:
        seen = 0
        for bound, count in zip([*bounds, float("inf")], counts, strict=False):
            seen += count
            if total and seen >= share * total:
                return bound if bound != float("inf") else bounds[-1]
        return None

    return {"count": float(total), "median": at(0.5), "p99": at(0.99)}


def _sites(told: Sequence[Answer]) -> list[dict[str, Any]]:
    """By site, those with most mail first. delivered: since the start, where the site is configured by name."""
    rows: dict[str, dict[str, Any]] = {}
    for answer in told:
        for one in answer["sites"]:
            row = rows.setdefault(
                one["site"],
                {"site": one["site"], "ready": 0, "sending": 0, "window": 0, "rest_seconds": 0.0, "delivered": None},
            )
            for name in ("ready", "sending", "window"):
                row[name] += one[name]
            row["rest_seconds"] = max(row["rest_seconds"], one["rest_seconds"])
            if one["site"] in answer["delivered"]:
                row["delivered"] = (row["delivered"] or 0) + answer["delivered"][one["site"]]
    return sorted(rows.values(), key=lambda row: (-row["ready"] - row["sending"], row["site"]))
