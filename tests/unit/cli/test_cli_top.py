"""The screen of `fastrelay top`: what fits, what ends it, and a relay that is away for a while."""

import os
import sys
import termios
from typing import Any

import pytest
from rich.console import Console

from fastrelay.cli import top
from fastrelay.cli.top_page import COUNTED, drawn
from fastrelay.errors import MachineShort, PeerClosed


def told(workers: int, sites: int) -> dict[str, Any]:
    """The answer of a busy relay."""
    rate = {"now": 12345.6, "minute": 1.0, "peak": 9999.0}
    rates = dict.fromkeys(COUNTED, rate)
    commit = {"count": 1.0, "median": 0.0025, "p99": 0.025}
    connections = {"in": 10_000, "out": 2000, "idle": 3000}
    worker = {"queued": 1_000_000, "oldest_seconds": 430_000.0, "connections": connections, "rates": rates}
    site = {"ready": 100_000, "sending": 10, "window": 20, "rest_seconds": 700.0, "delivered": None}
    return {
        "rates": rates, "totals": dict.fromkeys(rates, 1_000_000), "queued": 9_000_000, "oldest_seconds": 430_000.0,
        "connections": connections, "commit": commit,
        "workers": [{**worker, "slot": n, "commit": commit} for n in range(workers)],
        "sites": [{**site, "site": f"mx{n}.example,mx-with-a-long-name.provider.example"} for n in range(sites)],
    }  # fmt: skip


def screen(width: int, height: int, workers: int = 3, sites: int = 3, **more: str) -> list[str]:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=width, record=True, file=nowhere)
        console.print(drawn(told(workers, sites), width, height, **more))
        return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(60, 21), (70, 21), (79, 24), (80, 24), (109, 30), (110, 30), (200, 60)])
def test_heads_and_names_of_workers_are_whole_at_any_width(width: int, height: int) -> None:
    lines = screen(width, height, keys="q ends it")
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and len(lines) <= height
    for words in ("DELIVERED/S", "DEFERRED/S", "QUEUED", "OLDEST", "COMMIT", "slot-002", "12,345.6", "4d 23h", "STATE"):
        assert words in text, words
    assert [line.startswith("slot-") for line in lines].count(True) == 3, "none goes on in a second line"
    for line in lines:
        assert "\N{HORIZONTAL ELLIPSIS}" not in line or line.startswith("mx"), "only a site's name is ever cut"
    assert text.count("at rest for 11m 40s") == 3 and "p99 25 ms" in text
    assert lines[-1].strip() == "q ends it"


@pytest.mark.parametrize(("workers", "sites"), [(1, 0), (1, 40), (16, 1), (16, 40), (64, 15)])
def test_a_low_screen_says_how_many_more_there_are(workers: int, sites: int) -> None:
    for height in (22, 24, 40, 100):
        lines = screen(120, height, workers, sites)
        assert len(lines) <= height
        for count, first, what in ((workers, "slot-", "worker"), (sites, "mx", "site")):
            shown = [line.startswith(first) for line in lines].count(True)
            more = [line for line in lines if line.startswith("and ") and f"more {what}" in line]
            assert (count - shown > 0) == bool(more) and (not more or more[0].split()[1] == str(count - shown))
            assert shown >= min(count, 3)


def test_a_relay_that_is_away_leaves_its_last_words_and_why() -> None:
    class Away:
        def __init__(self, *answers: Any) -> None:
            self.answers = list(answers)

        def get(self, path: str) -> Any:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    api: Any = Away(MachineShort("it hung up"), PeerClosed("no relay of ours"), {"queued": 2})
    for words in ("it hung up", "no relay of ours"):
        answer, note = top._asked(api, {"queued": 1})
        assert answer == {"queued": 1} and words in note
    assert top._asked(api, {"queued": 1}) == ({"queued": 2}, "")
    assert "it hung up" in "\n".join(screen(80, 24, note="it hung up"))


def test_q_ends_it_without_enter_and_the_terminal_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        with open(theirs, closefd=False) as typed, monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", typed)
            with top.one_key() as ended:
                assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO)
                assert not ended(0.0)
                os.write(ours, b"xq")
                assert ended(20.0)
            assert termios.tcgetattr(theirs) == before
            with pytest.raises(KeyboardInterrupt), top.one_key():
                raise KeyboardInterrupt
            assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_a_terminal_to_type_on_it_waits() -> None:
    with top.one_key() as ended:
        assert not ended(0.0)
