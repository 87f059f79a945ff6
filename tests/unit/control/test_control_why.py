"""control/why.py: the first thing that holds mail back is what the sentence names."""

from typing import Any

import pytest

from fastrelay.control.why import sentence

LANE = {
    "ready": 900,
    "working": 3,
    "sending": 3,
    "connecting": 0,
    "in_line": 0,
    "parked": 0,
    "suspended_seconds": 0.0,
    "why": "",
    "last": [],
    "window": {"size": 5, "limit": 10, "failures": 0, "closed_seconds": 0.0, "word": ""},
}
QUEUED = {
    "items": 4,
    "places": {"ready": 4},
    "unconnected": 0,
    "attempts": 1,
    "next_seconds": 240.0,
    "next_is_expiry": False,
    "expires_seconds": 400_000.0,
    "last": "451 later",
}


def facts(*, window: dict[str, Any] | None = None, lane: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    queued = {**QUEUED, **more.pop("queued", {})}
    return {
        "domain": "a.test",
        "site": "big",
        "login": "",
        "route": {"kind": "mx"},
        "outcome": "",
        "limits": {"connections": {"value": 10}, "connect_rate": {"value": "100/60s"}},
        "ledger": {"connections": 3, "rate_seconds": 0.0},
        "lane": {**LANE, **(lane or {}), "window": {**LANE["window"], **(window or {})}},  # type: ignore[dict-item]
        "suspensions": [],
        "held": "",
        "ending": False,
        "queued": queued,
        **more,
    }


BAR = {"kind": "sender", "name": "", "seconds": None, "reason": "ticket 7"}
SITE = {**BAR, "kind": "site", "name": "big"}
WAITING = {"places": {"waiting": 4}}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (facts(queued={"items": 0, "places": {}}), "nothing is queued for a.test here"),
        (
            facts(login="hub", queued={**WAITING, "last": "535 5.7.8 no"}),
            'put off: 535 5.7.8 no (login of [[credentials]] "hub"); the next attempt',
        ),
        (facts(login="hub", queued=WAITING), "put off: 451 later; the next attempt"),
        (
            facts(login="hub", lane={"suspended_seconds": 40.0, "why": "it fails every time; last: 535 5.7.8 no"}),
            'it fails every time; last: 535 5.7.8 no (login of [[credentials]] "hub")',
        ),
        (facts(queued={"places": {"held": 4}}, held="abuse"), "on hold: abuse; `fastrelay queue release`"),
        (
            facts(suspensions=[BAR], queued={"places": {"suspended": 4}}),
            "sender <> is suspended until it is resumed: ticket 7",
        ),
        (
            facts(suspensions=[{**BAR, "name": "x", "seconds": 7200.0}], queued={"items": 1, "places": {"ready": 1}}),
            "sender x is suspended for another 2 h: ticket 7",
        ),
        (
            facts(queued={"places": {"running": 1, "ready": 3}}, ledger={"connections": 10, "rate_seconds": 0.0}),
            "being delivered this moment: 1 of 4 messages; of the others: waiting because all 10 connections",
        ),
        (facts(queued={"items": 1, "places": {"running": 1}}, suspensions=[BAR]), "being delivered this moment"),
        (
            facts(queued={"items": 1, "places": {"running": 1}, "unconnected": 1}, lane={"connecting": 1}),
            "waiting because the connection to big is being made this moment",
        ),
        (
            facts(
                queued={"items": 1, "places": {"running": 1}, "unconnected": 1},
                lane={"in_line": 1},
                ledger={"connections": 0, "rate_seconds": 12.0},
            ),
            "waiting because the next connection to big may begin in 12.0 s (connect_rate 100/60s)",
        ),
        (
            facts(queued={"places": {"held": 1, "suspended": 3}}, suspensions=[BAR]),
            "waiting because sender <> is suspended until",
        ),
        (
            facts(queued={"places": {"waiting": 1, "suspended": 3}}, suspensions=[BAR]),
            "put off: 451 later; the next attempt is in 4 min; 3 of its 4 messages are suspended or on hold",
        ),
        (
            facts(queued={"places": {"waiting": 1, "suspended": 3}}, suspensions=[{**BAR, "kind": "site"}]),
            "waiting because site <> is suspended",
        ),
        (facts(queued={"expires_seconds": 3600.0}, suspensions=[SITE]), "ticket 7; it expires in 60 min"),
        (
            facts(queued={"expires_seconds": 3600.0}, suspensions=[{**SITE, "seconds": 7200.0}]),
            "for another 2 h: ticket 7; it expires in 60 min",
        ),
        (facts(queued={"places": {"held": 4}, "expires_seconds": 60.0}), "ends that; it expires in 60 s"),
        (facts(ending=True), "this worker is ending"),
        (facts(queued={**WAITING, "next_is_expiry": True}), "no attempt is left before it expires in 4 min"),
        (facts(queued={**WAITING, "expires_seconds": 300.0}), "attempt is in 4 min; it expires in 5 min"),
        (
            facts(lane={"suspended_seconds": 62.0, "why": "it fails every time"}, queued=WAITING),
            "its last attempt was put off: 451 later; the next attempt is in 4 min",
        ),
        (facts(queued={"places": {"routing": 4}}), "the name servers have not answered"),
        (
            facts(route=None, outcome="451 4.4.3 no name server", queued=WAITING),
            "no way to a.test: 451 4.4.3 no name server; the next attempt is in 4 min",
        ),
        (
            facts(
                lane={"suspended_seconds": 62.0, "why": "it fails every time"}, queued={**WAITING, "next_seconds": 64.0}
            ),
            "big gets a rest of another 62 s: it fails every time; the next attempt is in 64 s",
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
        (facts(lane={"working": 5}), "5 are being delivered, as many as the window of big allows"),
        (
            facts(queued={"items": 1, "places": {"ready": 1}, "position": 42}, lane={"working": 5}),
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
