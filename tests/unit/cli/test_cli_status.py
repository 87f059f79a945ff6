"""`fastrelay status`: the first line answers whether it is healthy."""

from typing import Any

import pytest

from fastrelay.cli.status import page

READY: dict[str, Any] = {
    "slot": 0, "pid": 7, "state": "ready", "fresh": True, "beat_age": 0.5, "messages": 3, "room": {"refused": ""},
    "schedule": {"orphans": 0, "waiting": 3}, "log": {"lost": 0}, "spool": {"quarantined": 0},
}  # fmt: skip


def first(*changes: dict[str, Any], **more: Any) -> str:
    workers = [{**READY, "slot": n, **changed} for n, changed in enumerate(changes)]
    return page({"workers": workers, "incomplete": [], **more})[0]


@pytest.mark.parametrize(
    ("changes", "more", "line"),
    [
        (({},), {}, "healthy: 1 worker ready"),
        (({}, {}), {"suspended": 2}, "healthy: 2 workers ready; 2 suspended, see fastrelay suspend"),
        (({}, {"state": "draining"}), {}, "healthy: 1 worker ready, 1 draining"),
        (({"state": "starting"},), {}, "trouble: no worker takes mail"),
        ((), {}, "trouble: no worker takes mail"),
        (({}, {"fresh": False, "beat_age": 75.0}), {}, "trouble: slot-001 has been silent for 1m 15s"),
        (({"room": {"refused": "disk\x1b full"}},), {"suspended": 1},
         "trouble: slot-000 refuses new mail: disk  full; 1 suspended, see fastrelay suspend"),
        (({"log": {"lost": 1200}},), {}, "trouble: slot-000: 1,200 lines of the event log lost"),
        (({},), {"incomplete": [4]}, "trouble: slot-004 is not wholly known"),
    ],
)  # fmt: skip
def test_the_first_line_says_whether_it_is_healthy(
    changes: tuple[dict[str, Any], ...], more: dict[str, Any], line: str
) -> None:
    assert first(*changes, **more) == line


def test_who_is_between_two_workers_is_told_below() -> None:
    why = [{"slot": 4, "error": "no worker has it"}]
    lines = page({"workers": [READY], "incomplete": [4, 5], "errors": why})
    assert lines[-2:] == [
        "slot-004: no worker has it (none of its mail is counted above)",
        "slot-005: its worker did not answer (none of its mail is counted above)",
    ]
