"""admin/pulse.py: workers' seconds summed, and what rates they make; then `fastrelay top`'s page of it."""

import io
from typing import Any

from rich.console import Console

from fastrelay.admin.pulse import pulse, quantiles, rates
from fastrelay.cli.top_page import drawn


def worker(slot: int, *seconds: list[int], **more: Any) -> dict[str, Any]:
    return {
        "slot": slot,
        "seconds": list(seconds),
        "totals": dict.fromkeys(("received", "delivered", "deferred", "bounced", "sessions"), 5),
        "queued": 10 + slot,
        "oldest_seconds": 60.0 * slot,
        "connections": {"in": 1, "out": 2, "idle": 3},
        "commits": {"bounds": [0.001, 0.01], "counts": [90, 9, 1]},
        "sites": [{"site": "big", "ready": 3, "sending": 1, "window": 5, "rest_seconds": 0.0}],
        "delivered": {"big": 7},
        **more,
    }


def test_the_same_second_of_two_workers_is_one() -> None:
    told = pulse([worker(0, [98, 6, 0, 0, 0, 0], [99, 3, 0, 0, 0, 0]), worker(1, [98, 3, 1, 0, 0, 0])], 100.5)
    assert told["rates"]["received"] == {"now": 4.0, "minute": 6.0, "peak": 9.0}
    assert told["rates"]["delivered"]["peak"] == 1.0
    assert told["totals"]["received"] == 10 and told["queued"] == 21 and told["oldest_seconds"] == 60.0
    assert told["connections"] == {"in": 2, "out": 4, "idle": 6}
    assert [one["rates"]["received"]["now"] for one in told["workers"]] == [3.0, 1.0]
    assert told["sites"] == [
        {"site": "big", "ready": 6, "sending": 2, "window": 10, "rest_seconds": 0.0, "delivered": 14}
    ]


def test_the_present_second_and_those_before_the_minute_do_not_count() -> None:
    found = rates({100: [50, 0, 0, 0, 0], 99: [6, 0, 0, 0, 0], 40: [60, 0, 0, 0, 0], 39: [900, 0, 0, 0, 0]}, 100.9)
    assert found["received"] == {"now": 2.0, "minute": 1.1, "peak": 60.0}
    assert rates({}, 100.0)["received"] == {"now": 0.0, "minute": 0.0, "peak": 0.0}


def test_quantiles_are_bounds_of_buckets() -> None:
    one = {"bounds": [0.001, 0.01], "counts": [90, 9, 1]}
    assert quantiles([one]) == {"count": 100.0, "median": 0.001, "p99": 0.01}
    assert quantiles([one, one])["count"] == 200.0
    assert quantiles([{"bounds": [0.001], "counts": [0, 4]}])["median"] == 0.001, "beyond the last: at least that"
    assert quantiles([{"bounds": [0.001], "counts": []}]) == {"count": 0.0, "median": None, "p99": None}
    assert quantiles([]) == {"count": 0.0, "median": None, "p99": None}


def test_a_slot_without_an_answer_is_passed_over() -> None:
    told = pulse([{"slot": 1, "error": "no"}, worker(0)], 100.0)
    assert [one["slot"] for one in told["workers"]] == [0]


def test_the_page_has_all_of_it() -> None:
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(drawn({**pulse([worker(0, [99, 3, 0, 0, 0, 0]), worker(1)], 100.5), "incomplete": [2]}))
    text = console.export_text()
    for words in ("21 queued, oldest 1m", "slot-002 did not answer", "slot-001", "received", "big", "1 ms, p99 10 ms"):
        assert words in text, words


def test_on_80_columns_every_head_and_number_is_whole() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    busy = worker(0, [99, 3000, 3000, 3000, 0, 0], queued=1_000_000)
    busy["sites"][0]["site"] = "mx1.a-long-name.example.org,mx2.a-long-name.example.org,mx3.a-long-name.example.org"
    busy["sites"][0]["rest_seconds"] = 700.0
    console.print(drawn(pulse([busy], 100.5), 80))
    text = console.export_text()
    heads = ("RECEIVED/S", "DELIVERED/S", "DEFERRED/S", "COMMIT P99", "DELIVERED", "STATE")
    for words in (*heads, "1,000,000", "1,000.0", "10 ms", "at rest for 11m 40s", "slot-000"):
        assert words in text, words
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert busy["sites"][0]["site"] in "".join(line.partition(" ")[0] for line in text.splitlines()), "folded, not cut"
