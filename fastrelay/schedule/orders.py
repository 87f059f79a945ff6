"""An operator's orders: hold, release, remove and retry a message, suspend and resume a site.

Records are the caller's (control/verbs.py); here only what stands in the schedule moves. An order never interrupts an
attempt: where one is under way, the order is kept and carried out when its item comes back (`fulfilled`).
"""

from collections.abc import Callable, Collection, Iterator

from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.places import Places
from fastrelay.schedule.table import family


class Orders:
    """pending: messages to hold or to remove when their attempts under way have ended: looked at before `fulfilled`,
    since there hardly ever are any. add_chore: work in slices. None of the verbs waits."""

    __slots__ = ("_add_chore", "_holds", "_now", "_places", "_removals", "_wall", "pending")

    def __init__(
        self,
        places: Places,
        add_chore: Callable[[Iterator[None]], None],
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._places = places
        self._add_chore = add_chore
        self._now = now
        self._wall = wall
        self._holds: set[bytes] = set()
        self._removals: set[bytes] = set()
        self.pending = False

    def hold(self, ident: bytes) -> bool:
        """No next attempt until `release`; expiry holds. One under way is finished first. False: unknown id."""
        places = self._places
        first = places.table.first(ident)
        for item in family(first):
            if item.place is Place.RUNNING:
                self._holds.add(ident)
                self.pending = True
            elif item.place is not Place.HELD:
                places.leave(item)
                places.hold(item)
        return first is not None

    def release(self, ident: bytes, due: float = 0.0) -> bool:
        """End a hold; the next attempt is at `due` (wall seconds, 0 = now). False: unknown id."""
        places = self._places
        self._holds.discard(ident)
        first = places.table.first(ident)
        now = self._now()
        for item in family(first):
            if item.place is Place.HELD:
                places.leave(item)
                places.wait(item, now if due == 0.0 else now + due - self._wall(), now)
        return first is not None

    def remove(self, ident: bytes) -> bool:
        """Forget the message; an attempt under way is finished first. Its record is the caller's. False: unknown id."""
        places = self._places
        first = places.table.first(ident)
        for item in family(first):
            if item.place is Place.RUNNING:
                self._removals.add(ident)
                self.pending = True
            else:
                places.leave(item)
                self.drop(item)
        return first is not None

    def retry(self, ident: bytes, indices: Collection[int] = ()) -> bool:
        """What waits for its time is due now; held messages stay held. indices: only where one of these recipients is
        meant, () = everywhere. False: unknown id."""
        places = self._places
        first = places.table.first(ident)
        now = self._now()
        for item in family(first):
            meant = not indices or any(index in indices for index in item.indices)
            if meant and item.place is Place.WAITING and item.expires > now:
                places.leave(item)
                places.route(item)
        return first is not None

    def suspend_lane(self, site: str, until: float, why: str) -> Lane:
        """No delivery to `site` before `until` (monotonic). What is ready waits for that time: not an attempt."""
        lane = self._places.lanes.of(site, self._now())
        lane.suspended_until = until
        lane.why = why
        if lane.ready:
            self._add_chore(self._places.empty(lane))
        return lane

    def resume_lane(self, site: str) -> None:
        """End a suspension now. What was put off comes at the time it was put off to, or by `retry`."""
        lane = self._places.lanes.find(site)
        if lane is not None:
            lane.suspended_until = 0.0
            lane.why = ""
            if lane.ready:
                self._places.ready(lane)

    # -- what had to wait for an attempt ----------------------------------------------------------------------------

    def fulfilled(self, item: Item) -> bool:
        """Carry out what was asked for while the item was RUNNING; true when something was."""
        ident = item.ident
        if ident in self._removals:
            self.drop(item)
            return True
        if ident in self._holds:
            self._places.hold(item)
            return True
        return False

    def drop(self, item: Item) -> None:
        """OUT for good. The last item of a message takes its orders along."""
        if self._places.table.drop(item) and self.pending:
            self._holds.discard(item.ident)
            self._removals.discard(item.ident)
            self.pending = bool(self._holds or self._removals)
