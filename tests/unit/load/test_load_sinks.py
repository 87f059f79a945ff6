"""Waiting for what was accepted: which looks at the sink end it. The sink is a script of what each look finds."""

import pytest

from fastrelay.load.sinks import Sinks
from fastrelay.load.tally import Tally

PAIRS = ["r-1 a@x", "r-2 a@x"]


class Scripted(Sinks):
    """Has got these messages after the first look, the second, ...; after the last it stays as it is."""

    def __init__(self, *looks: list[str]) -> None:
        self._looks = list(looks)
        self._now: list[str] = []

    def arrived(self) -> int:
        if self._looks:
            self._now = self._looks.pop(0)
        return len(self._now)

    def tally(self) -> Tally:
        tally = Tally(keep_pairs=True)
        for ident in self._now:
            tally.arrived(1.0, 100, [b"a@x"], ident, 0.5)
        return tally


def test_what_comes_late_is_waited_for() -> None:
    shown: list[int] = []
    tally, difference = Scripted([], ["r-1"], ["r-1"], ["r-1", "r-2"]).wait(PAIRS, 60.0, shown.append)
    assert difference == ([], {}, []) and tally.messages == 2 and shown == [0, 1, 1, 2]


def test_one_that_came_twice_is_not_taken_for_the_one_that_is_missing() -> None:
    _, difference = Scripted(["r-1", "r-1"], ["r-1", "r-1", "r-2"]).wait(PAIRS, 60.0, lambda count: None)
    assert difference == ([], {"r-1 a@x": 2}, [])


@pytest.mark.parametrize("looks", [([],), (["r-1"],), (["r-1", "r-1"],)])
def test_when_nothing_comes_any_more_the_rest_is_lost(looks: tuple[list[str], ...]) -> None:
    _, difference = Scripted(*looks).wait(PAIRS, 0.1, lambda count: None)
    assert difference.lost == ([PAIRS[1]] if looks[0] else PAIRS)


def test_nothing_to_wait_for() -> None:
    assert Scripted([]).wait([], 60.0, lambda count: None)[1] == ([], {}, [])
