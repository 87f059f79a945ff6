"""schedule/timers.py: nothing comes early, nothing comes more than a second late, whatever the grain and the jumps."""

import random

from fastrelay.schedule.item import Item
from fastrelay.schedule.timers import FULL, Timers


def an_item(due: float) -> Item:
    return Item(b"x" * 16, "a.test", (0,), 0, due, due + 9e9)


def come(timers: Timers, now: float) -> list[Item]:
    out: list[Item] = []
    while (items := timers.pop(now)) is not None:
        out += items
    return out


def test_every_item_comes_between_its_time_and_one_second_later() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    start = chance.uniform(0, 1e6)
    timers = Timers(start)
    spans = (1, 60, 70, 3600, 4100, 90_000)
    for _ in range(20_000):
        timers.put(an_item(start + chance.uniform(0, chance.choice(spans))))
    now, seen = start, 0
    while seen < 20_000:
        now += 0.25 if now < start + 200 else 1.0
        for item in come(timers, now):
            assert item.due <= now and now - item.due <= 2.0
            seen += 1
    assert timers.live == 0 and timers.pop(now + 1e6) is None


def test_a_jump_over_days_brings_everything_at_once() -> None:
    timers = Timers(0.0)
    for due in range(0, 400_000, 777):
        timers.put(an_item(float(due)))
    assert len(come(timers, 400_001.0)) == len(range(0, 400_000, 777))
    assert timers.statistics() == {"live": 0, "stale": 0, "buckets": 0}


def test_what_is_due_already_comes_with_the_next_second() -> None:
    timers = Timers(100.0)
    assert timers.pop(200.5) is None
    timers.put(an_item(5.0))
    assert come(timers, 200.9) == [] and len(come(timers, 201.0)) == 1


def test_buckets_of_one_second_are_bounded() -> None:
    timers = Timers(0.0)
    for _ in range(FULL * 2 + 1):
        timers.put(an_item(3.5))
    sizes = []
    while (items := timers.pop(4.0)) is not None:
        sizes.append(len(items))
    assert sizes == [FULL, FULL, 1]


def test_one_who_left_is_passed_over_and_one_who_came_back_comes_once() -> None:
    timers = Timers(0.0)
    gone, back = an_item(50.0), an_item(50.0)
    for item in (gone, back):
        timers.put(item)
        item.at = None
        timers.left()
    timers.put(back)
    assert timers.statistics() == {"live": 1, "stale": 2, "buckets": 1}
    assert come(timers, 51.0) == [back]
    assert timers.statistics() == {"live": 0, "stale": 0, "buckets": 0}


def test_the_number_of_buckets_does_not_grow_with_the_spread() -> None:
    timers = Timers(0.0)
    for n in range(20_000):
        timers.put(an_item(n * 21.6))  # five days
    assert timers.statistics()["buckets"] < 64 + 64 + 432_000 / 4096 + 20_000 / FULL + 2


def test_a_sweep_drops_stale_entries_once_they_outnumber_the_live() -> None:
    timers = Timers(0.0)
    items = [an_item(90_000.0 + n) for n in range(10_000)]
    for item in items:
        timers.put(item)
    assert not timers.sweep()
    for item in items[100:]:
        item.at = None
        timers.left()
    while timers.sweep():
        pass
    assert timers.statistics()["stale"] == 0 and timers.live == 100
    assert len(come(timers, 200_000.0)) == 100
