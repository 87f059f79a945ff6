"""`fastrelay explain`: an answer of the API as a person reads it."""

from typing import Any

from fastrelay.cli.explain import page

ONE: dict[str, Any] = {
    "slot": 1,
    "domain": "a.test",
    "site": "big",
    "login": "hub",
    "outcome": "",
    "why": "waiting because of one thing",
    "route": {
        "kind": "mx",
        "seconds_left": 60.0,
        "hosts": [
            {
                "name": "mx.a.test",
                "port": 0,
                "addresses": ["192.0.2.1", "192.0.2.2"],
                "preference": 10,
                "resting": {"192.0.2.2": 40.0},
            }
        ],
    },
    "dns": [
        {
            "name": "a.test",
            "type": "MX",
            "status": "found",
            "source": "cache",
            "seconds_left": 55.0,
            "records": ["10 mx.a.test"],
            "reason": "",
        }
    ],
    "limits": {
        "tls": {"value": "require", "from": "[delivery]"},
        "connections": {"value": 3, "from": "[[site]] big"},
        "connect_rate": {"value": "100/60s", "from": "default"},
        "idle_timeout": {"value": 60.0, "from": "default"},
    },
    "ledger": {"connections": 2, "rate_seconds": 1.25},
    "lane": {
        "ready": 9,
        "sending": 2,
        "parked": 0,
        "suspended_seconds": 0.0,
        "why": "",
        "window": {"size": 2, "limit": 2, "failures": 0, "closed_seconds": 40.0, "word": "w"},
        "last": [{"seconds_ago": 5.0, "reply": "451 no\x1b[2J"}],
    },
    "suspensions": [{"kind": "site", "name": "big", "seconds": None, "reason": "r"}],
    "queued": {
        "items": 9,
        "places": {"ready": 5, "waiting": 1, "running": 3},
        "unconnected": 1,
        "attempts": 2,
        "next_seconds": 30.0,
        "next_is_expiry": False,
        "expires_seconds": 1.0,
        "oldest": "",
        "oldest_seconds": 90.0,
        "last": "",
    },
}


def test_the_sentence_comes_first_and_facts_behind() -> None:
    lines = page({"explained": [ONE], "why": "waiting because of one thing", "incomplete": []})
    text = "\n".join(lines)
    assert lines[0] == "a.test: waiting because of one thing"
    for words in (
        "mx.a.test [192.0.2.1, 192.0.2.2 rests 40s]",
        "a.test MX: 10 mx.a.test (cache, fresh for 55s)",
        "limit      connections = 3 ([[site]] big), 2 in use on this machine",
        "connect_rate = 100/60s (default), the next may begin in 1.2 s",
        "idle_timeout = 1m (default)",
        "site big until resumed: r",
        'login      that of [[credentials]] "hub"',
        "closed to 2 for 40s",
        "451 no [2J",
    ):
        assert words in text, words
    assert "\x1b" not in text


def test_what_is_not_known_yet_is_said() -> None:
    bare = {**ONE, "route": None, "dns": None, "site": "", "ledger": None, "lane": None, "suspensions": []}
    text = "\n".join(page({"explained": [bare], "why": "w", "incomplete": []}))
    assert "not known yet" in text and "have not answered" in text
    assert page({"explained": [], "why": "nothing", "incomplete": []}) == ["nothing"]
