"""Items of one domain that wait for the router, and after its answer until they have been dealt into their lane."""

from collections import deque

from fastrelay.schedule.item import Item, Place


class Queue:
    """One domain's items, in the order they came due. An item that left is passed over: its `at` is another."""

    __slots__ = ("domain", "items")

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.items: deque[Item] = deque()

    def pop(self) -> Item | None:
        """The first item that still stands here, its entry taken out; the caller places it at once."""
        items = self.items
        while items:
            item = items.popleft()
            if item.at is self and item.place is Place.ROUTING:
                return item
        return None


class Queues:
    """waiting: by domain, until the router answers. entering: answered, still being dealt out."""

    __slots__ = ("entering", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[str, Queue] = {}
        self.entering: dict[Queue, None] = {}

    def all(self) -> list[Queue]:
        """Those there are now."""
        return [*self.waiting.values(), *self.entering]
