"""What is queued at one domain, counted a part at a time: half a million items leave no list behind, and no step that
grows with them holds the loop."""

from collections.abc import Iterable

from fastrelay.control import views
from fastrelay.mail.route import Route
from fastrelay.schedule.item import Item, Place

SAMPLE = 100  # suspended messages of a domain that are kept, to be looked into for what stops them: 1 ms


class Census:
    """`add` the items, then read. oldest: the id of the oldest message; stopped: the first that are suspended."""

    __slots__ = (
        "_suspended",
        "_waiting",
        "attempts",
        "count",
        "expires",
        "first",
        "is_due",
        "oldest",
        "oldest_held",
        "places",
        "route",
        "stopped",
    )

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.count = 0
        self.places: dict[str, int] = {}
        self.first: Item | None = None
        self.route: Route | None = None  # of the first that has one
        self.is_due = False  # some of it is not on hold
        self.oldest: bytes | None = None
        self.oldest_held: bytes | None = None
        self.attempts = 0
        self.expires = float("inf")
        self.stopped: list[Item] = []
        self._waiting: Item | None = None
        self._suspended: Item | None = None
        self.add(items)

    @property
    def soonest(self) -> Item | None:
        """Who waits for its next look; of those that are suspended only where all are."""
        return self._waiting or self._suspended

    def add(self, items: Iterable[Item]) -> None:
        """Count these."""
        places = self.places
        for item in items:
            self.count += 1
            name = views.place_of(item)
            places[name] = places.get(name, 0) + 1
            if self.first is None:
                self.first = item
            if item.route is not None and self.route is None:
                self.route = item.route
            if self.oldest is None or item.ident < self.oldest:
                self.oldest = item.ident
            if item.attempts > self.attempts:
                self.attempts = item.attempts
            if item.expires < self.expires:
                self.expires = item.expires
            if item.place is Place.HELD:
                if self.oldest_held is None or item.ident < self.oldest_held:
                    self.oldest_held = item.ident
                continue
            self.is_due = True
            if name == "waiting":
                if self._waiting is None or item.due < self._waiting.due:
                    self._waiting = item
            elif name == "suspended":
                if self._suspended is None or item.due < self._suspended.due:
                    self._suspended = item
                if len(self.stopped) < SAMPLE:
                    self.stopped.append(item)
