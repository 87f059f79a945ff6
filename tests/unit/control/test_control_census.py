"""What is queued at a domain, counted in parts as it would be at once."""

import random

from fastrelay.control.census import SAMPLE, Census
from fastrelay.control.views import place_of
from fastrelay.mail.route import Route, RouteKind
from fastrelay.schedule.item import Item, Place

ROUTE = Route("a", "big", RouteKind.MX, (), 0.0)


def some(chance: random.Random, count: int) -> list[Item]:
    return [
        Item(
            chance.randbytes(16), "a", (0,), chance.randrange(9), chance.uniform(0, 99), chance.uniform(100, 200),
            chance.choice(list(Place)), chance.choice([None, ROUTE]),
        )
        for _ in range(count)
    ]  # fmt: skip


def test_parts_are_counted_as_the_whole_would_be(chance: random.Random) -> None:
    for _ in range(200):
        items = some(chance, chance.randrange(1, 12))
        census = Census()
        for start in range(0, len(items), 3):
            census.add(items[start : start + 3])
        waiting = [item for item in items if place_of(item) == "waiting"]
        waiting = waiting or [item for item in items if place_of(item) == "suspended"]
        held = [item.ident for item in items if item.place is Place.HELD]
        assert census.count == sum(census.places.values()) == len(items)
        assert census.soonest is min(waiting, key=lambda item: item.due, default=None)
        assert (census.oldest, census.oldest_held) == (min(item.ident for item in items), min(held, default=None))
        assert census.attempts == max(item.attempts for item in items)
        assert census.expires == min(item.expires for item in items)
        assert census.is_due == (len(held) < len(items))
        assert census.stopped == [item for item in items if place_of(item) == "suspended"]
        assert (census.first, census.route) == (items[0], next((one.route for one in items if one.route), None))


def test_few_of_many_are_kept(chance: random.Random) -> None:
    items = some(chance, 50 * SAMPLE)
    census = Census(items)
    assert census.count == len(items) and len(census.stopped) == SAMPLE
    empty = Census()
    assert (empty.count, empty.soonest, empty.oldest, empty.is_due, empty.places) == (0, None, None, False, {})
