"""Every item there is, by message; and the only code that changes where one stands.

Sharded by the last octet of the id (256 dicts): no insert ever rebuilds a dict of a million entries (measured 60 ms,
against 1 ms for a shard), and the audit copies one shard at a time. The items of one message hang on one another
(`sibling`), so a message with one recipient costs one entry and no container.

Impossible is raised where an item would go somewhere item.py's table does not allow, or is not known.
"""

from collections.abc import Iterator

from fastrelay.errors import Impossible
from fastrelay.schedule.item import ALLOWED, Item, Place

SHARDS = 256


class Table:
    """counts: items by Place. running: those with a runner or settlement. mark: the audit's present pass."""

    __slots__ = ("counts", "mark", "messages", "running", "shards")

    def __init__(self) -> None:
        self.shards: list[dict[bytes, Item]] = [{} for _ in range(SHARDS)]
        self.messages = 0
        self.counts = [0] * len(Place)
        self.running: dict[Item, None] = {}
        self.mark = 1

    def insert(self, item: Item) -> None:
        """A new item, still OUT. Impossible when its message has one at that domain already."""
        ident = item.ident
        shard = self.shards[ident[-1]]
        first = shard.get(ident)
        if first is None:
            self.messages += 1
        else:
            domain = item.domain
            one: Item | None = first
            while one is not None:  # no generator: a message to 1,000 domains comes here half a million times
                if one.domain == domain:
                    raise Impossible(f"{ident.hex()} is scheduled at {domain} already, {one.place.name}")
                one = one.sibling
            item.sibling = first
        shard[ident] = item
        self.counts[Place.OUT] += 1

    def place(self, item: Item, place: Place, at: object) -> None:
        """Change where `item` stands; its old container has forgotten it, or will pass it over."""
        was = item.place
        if not ALLOWED[was] >> place & 1:
            raise Impossible(f"{item.ident.hex()} at {item.domain} cannot go from {was.name} to {place.name}")
        counts = self.counts
        counts[was] -= 1
        counts[place] += 1
        item.place = place
        item.at = at
        item.mark = self.mark

    def run(self, item: Item) -> None:
        """RUNNING: somebody has it in hand, and ends it by `stop`."""
        self.place(item, Place.RUNNING, None)
        self.running[item] = None

    def stop(self, item: Item) -> None:
        """The one who had it in hand gives it back; the caller places it at once."""
        if item.place is not Place.RUNNING:
            raise Impossible(f"{item.ident.hex()} at {item.domain} was settled while {item.place.name}")
        del self.running[item]
        item.route = None

    def drop(self, item: Item) -> bool:
        """OUT for good. True when it was the last of its message."""
        self.place(item, Place.OUT, None)
        self.counts[Place.OUT] -= 1
        ident = item.ident
        shard = self.shards[ident[-1]]
        first = shard[ident]
        if first is item:
            if item.sibling is None:
                del shard[ident]
                self.messages -= 1
                return True
            shard[ident] = item.sibling
        else:
            before = first
            while before.sibling is not item:
                if before.sibling is None:
                    raise Impossible(f"{ident.hex()} has no item at {item.domain}")
                before = before.sibling
            before.sibling = item.sibling
        item.sibling = None
        return False

    def first(self, ident: bytes) -> Item | None:
        """Any item of that message; the others hang on it."""
        return self.shards[ident[-1]].get(ident)


def family(first: Item | None) -> Iterator[Item]:
    """The items of one message; the one in hand may be dropped meanwhile."""
    item = first
    while item is not None:
        after = item.sibling
        yield item
        item = after
