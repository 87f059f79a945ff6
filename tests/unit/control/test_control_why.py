"""control/why.py: the first thing that holds mail back is what the sentence names."""

from typing import Any

import pytest

from fastrelay.control.why import sentence

LANE = {
    "ready": 900,
    "sending": 3,
    "parked": 0,
    "suspended_seconds": 0.0,
    "why": "",
    "last": [],
    "window": {"size": 5, "limit": 10, "failures": 0, "closed_seconds": 0.0, "word": ""},
}
QUEUED = {
    "items": 4,
    "places": {"ready": 4},
    "attempts": 1,
    "next_seconds": 240.0,
    "expires_seconds": 9.0,
    "last": "451 later",
}


def facts(*, window: dict[str, Any] | None = None, lane: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    queued = {**QUEUED, **more.pop("queued", {})}
    return {
        "domain": "a.test",
        "site": "big",
        "route": {"kind": "mx"},
        "outcome": "",
        "limits": {"connections": {"value": 10}, "connect_rate": {"value": "100/60s"}},
        "ledger": {"connections": 3, "rate_seconds": 0.0},
        "lane": {**LANE, **(lane or {}), "window": {**LANE["window"], **(window or {})}},  # type: ignore[dict-item]
        "suspensions": [],
        "queued": queued,
        **more,
    }


BAR = {"kind": "sender", "name": "", "seconds": None, "reason": "ticket 7"}
WAITING = {"places": {"waiting": 4}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (facts(queued={"items": 0, "places": {}}), "nothing is queued for a.test here"),
        (facts(queued={"places": {"held": 4}}, held="abuse"), "on hold: abuse; `fastrelay queue release`"),
        (facts(suspensions=[BAR]), "sender <> is suspended until it is resumed: ticket 7"),
        (
            facts(suspensions=[{**BAR, "name": "x", "seconds": 7200.0}]),
            "sender x is suspended for another 2 h: ticket 7",
        ),
        (facts(queued={"places": {"running": 1, "ready": 3}}), "being delivered this moment: 1 of 4 messages"),
        (facts(queued={"places": {"routing": 4}}), "the name servers have not answered"),
        (
            facts(route=None, outcome="451 4.4.3 no name server", queued=WAITING),
            "no way to a.test: 451 4.4.3 no name server; the next attempt is in 4 min",
        ),
        (
            facts(lane={"suspended_seconds": 62.0, "why": "it fails every time"}, queued=WAITING),
            "big gets a rest of another 62 s: it fails every time",
        ),
        (
            facts(ledger={"connections": 10, "rate_seconds": 5.0}),
            "all 10 connections of this machine to big are in use; 900 wait",
        ),
        (facts(ledger={"connections": 3, "rate_seconds": 2.5}), "may begin in 2.5 s (connect_rate 100/60s)"),
        (
            facts(window={"closed_seconds": 40.0, "word": "it says too many", "size": 2}),
            "it says too many; the window is 2",
        ),
        (facts(lane={"sending": 5}), "5 are being delivered, as many as the window of big allows"),
        (
            facts(queued={"items": 1, "places": {"ready": 1}, "position": 42}, lane={"sending": 5}),
            "it is number 42 of 900 in its lane",
        ),
        (facts(), "about to be delivered"),
        (facts(queued=WAITING), "its last attempt was put off: 451 later; the next attempt is in 4 min"),
        (
            facts(queued={**WAITING, "attempts": 0, "next_seconds": 0.0}),
            "waiting for its time; the next attempt is now",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_the_sentence(found: dict[str, Any], words: str) -> None:
    assert words in sentence(found)
