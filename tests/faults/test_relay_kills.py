"""Every message that got 250 arrives, whatever is killed with -9 meanwhile. The long runs are kill_run.py's own."""

import random
from pathlib import Path

import pytest

from tests.faults.fatal_house import Point
from tests.faults.kill_points import AT_START, MESSAGES, SEGMENT, UNDER_LOAD, at_points
from tests.faults.kill_run import campaign, run

LASTING = (Point.BATCH_UNSYNCED, Point.BATCH_SYNCED, Point.BEFORE_RECORDS, Point.FREED)  # for one worker of two


@pytest.mark.parametrize(("kinds", "seed"), [(("worker",), 12), (("master",), 13)], ids=["worker", "master"])
def test_killed_under_load_nothing_is_lost(tmp_path: Path, kinds: tuple[str, ...], seed: int) -> None:
    """Takes some ten seconds: a load long enough to be killed in, and deferred mail that has to come round again."""
    account = run(tmp_path, seed=seed, messages=2500, kills=2, kinds=kinds, pause=(0.2, 0.6))
    print(account)
    assert account.good, account


@pytest.mark.parametrize(
    ("points", "victim", "seed"),
    [(UNDER_LOAD + AT_START, "tree", 5), (LASTING, "worker", 6)],
    ids=["the house", "a worker"],
)
def test_killed_at_each_point_nothing_is_lost(
    tmp_path: Path, points: tuple[Point, ...], victim: str, seed: int
) -> None:
    """Takes some two seconds for each point: a life that ends there, and the next one's start."""
    killer = at_points(points, victim, random.Random(seed))
    messages = MESSAGES * (len(points) + 4)
    account = campaign(tmp_path, killer, seed=seed, messages=messages, segment_size=SEGMENT, sessions=10)
    print(account)
    assert account.good, account
    assert len(account.kills) == len(points) + sum(point in AT_START for point in points)
