"""The places of one worker's items, and every move between them.

table.py says who there is; the timers, the queues by domain and the lanes by site are where they stand. A move takes an
item out of one and puts it into another in the same breath, so there is no moment between two places. What a move sets
off is asked of the neighbours (`Places` names them); none of it waits.

`now` and `due` are monotonic seconds.
"""

from collections.abc import Callable, Iterator

from fastrelay.errors import Impossible
from fastrelay.mail.route import Route
from fastrelay.runtime import tasks
from fastrelay.schedule.bars import Bar, Bars
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lane, Lanes, SiteSettings
from fastrelay.schedule.queue import Queue, Queues
from fastrelay.schedule.table import Table, family
from fastrelay.schedule.timers import Timers

BATCH = 512  # items moved between two looks at the clock; 1 us each
RESUME_SPREAD = 0.1  # items of a suspended lane come back over this share of the pause, at least 1 s
MOST_SPREAD = 60.0  # seconds: what waited before a bar comes within a minute of its end
RESCUE = 60.0  # seconds until an orphan is looked at again: its attempt may still be under way


def _nobody(what: object) -> None:
    raise Impossible(f"{what!r} is scheduled before the relay is there")


class Places:
    """unrouted(domain): start routing, and answer by `Scheduler.routed` or `.unroutable`; it may answer before it
    returns, and is asked again by each patrol. ready(lane): start or wake runners. expired(item): settle it.
    put_off(item): its site is suspended, its body may leave memory. late(item): it has waited so long that its sender
    is to be told; it stays where it is."""

    __slots__ = (
        "_chance",
        "_now",
        "bars",
        "expired",
        "lanes",
        "late",
        "put_off",
        "queues",
        "ready",
        "table",
        "timers",
        "unrouted",
    )

    def __init__(
        self,
        settings_of: Callable[[str], SiteSettings],
        notice_left: float,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._now = now
        self._chance = chance
        self.bars: Bars | None = None  # what an operator has suspended; None nearly always
        self.table = Table()
        self.timers = Timers(now(), notice_left)
        self.queues = Queues()
        self.lanes = Lanes(settings_of)
        self.unrouted: Callable[[str], None] = _nobody
        self.ready: Callable[[Lane], None] = _nobody
        self.expired: Callable[[Item], None] = _nobody
        self.put_off: Callable[[Item], None] = _nobody
        self.late: Callable[[Item], None] = _nobody

    # -- one item -------------------------------------------------------------------------------------------------

    def leave(self, item: Item) -> None:
        """Before an item is placed elsewhere out of turn: its container stops counting it."""
        place = item.place
        if place is Place.READY:
            item.at.left()
            item.route = None
        elif place is Place.WAITING or place is Place.HELD:
            self.timers.left()
            item.route = None

    def wait(self, item: Item, due: float, now: float) -> None:
        """To the router when due, else to the timers until due or expiry, whichever is first."""
        expires = item.expires
        if due <= now < expires:
            self.route(item)
        else:
            item.due = expires if now < expires < due else due
            self.table.place(item, Place.WAITING, None)
            self.timers.put(item)

    def hold(self, item: Item) -> None:
        """An operator's hold: the timers look at it for its expiry alone."""
        item.due = item.expires
        self.table.place(item, Place.HELD, None)
        self.timers.put(item)

    def route(self, item: Item) -> None:
        """Due: it waits for the route of its domain."""
        domain = item.domain
        queue = self.queues.waiting.get(domain)
        if queue is not None:
            self.table.place(item, Place.ROUTING, queue)
            queue.items.append(item)
        else:
            queue = self.queues.waiting[domain] = Queue(domain)
            self.table.place(item, Place.ROUTING, queue)
            queue.items.append(item)
            self.unrouted(domain)

    def wait_out(self, item: Item, lane: Lane, now: float) -> None:
        """A suspended lane's item: to the timers until the lane resumes, spread a little."""
        if item.expires <= now:
            self.expire(item)
        else:
            pause = lane.suspended_until - now
            self.put_off(item)
            self.wait(item, lane.suspended_until + self._chance() * max(1.0, pause * RESUME_SPREAD), now)

    def wait_before(self, bar: Bar, item: Item, route: Route | None, now: float) -> None:
        """An item before a bar: to the timers until the bar goes. It keeps its route: so `lifted` knows it."""
        if item.expires <= now:
            self.expire(item)
        else:
            self.put_off(item)
            spread = min(max(1.0, (bar.until - now) * RESUME_SPREAD), MOST_SPREAD)
            self.wait(item, bar.until + self._chance() * spread, now)
            item.route = route

    def expire(self, item: Item) -> None:
        """Nobody counts the item any more: hand it to settlement."""
        self.table.run(item)
        self.expired(item)

    def expire_out_of_turn(self, item: Item) -> None:
        """The same of one that still stands somewhere."""
        self.leave(item)
        self.expire(item)

    def rescue(self, item: Item) -> None:
        """It stands nowhere, which cannot be: to the timers, loudly."""
        tasks.on_crash(
            "Scheduler.patrol",
            Impossible(f"{item.ident.hex()} at {item.domain} is {item.place.name} but stands nowhere: rescheduled"),
        )
        counts = self.table.counts
        counts[item.place] -= 1
        counts[Place.OUT] += 1
        item.place = Place.OUT
        now = self._now()
        self.wait(item, now + RESCUE, now)

    # -- many at once ---------------------------------------------------------------------------------------------

    def come(self, items: list[Item], now: float) -> None:
        """The timers have let go of these."""
        for item in items:
            if item.expires <= now:
                self.expire(item)
            elif item.place is Place.HELD:
                self.timers.put(item)
            elif item.due > now:
                self.timers.put(item)
                self.late(item)
            else:
                item.route = None
                self.route(item)

    def enter(self, lane: Lane, queue: Queue, route: Route, now: float) -> None:
        """Up to BATCH items of a queue whose route is known enter their lane."""
        suspended = lane.suspended(now)
        bars = self.bars
        for _ in range(BATCH):
            item = queue.pop()
            if item is None:
                break
            if suspended:
                self.wait_out(item, lane, now)
            elif bars is not None and (bar := bars.find(item.ident, item.domain, route.site)) is not None:
                self.wait_before(bar, item, route, now)
            else:
                item.route = route
                self.table.place(item, Place.READY, lane)
                lane.push(item)
        if lane.ready and not suspended:
            self.ready(lane)

    def enter_slowly(self, lane: Lane, queue: Queue, route: Route) -> Iterator[None]:
        """The whole of a long queue, as a chore. The caller has named the queue in `queues.entering`."""
        while queue.items:
            self.enter(lane, queue, route, self._now())
            yield
        del self.queues.entering[queue]

    def barred(self) -> Iterator[None]:
        """Something was suspended: what is ready and stands before a bar waits in the timers, as a chore."""
        for lane in self.lanes.all():
            for count, item in enumerate([*lane.items]):
                bars = self.bars
                if bars is None:
                    return
                if lane.holds(item) and (bar := bars.find(item.ident, item.domain, lane.site)) is not None:
                    route = item.route
                    self.leave(item)
                    self.wait_before(bar, item, route, self._now())
                if count % BATCH == BATCH - 1:
                    yield
            if lane.ready:
                self.ready(lane)  # a runner may have given up before a long row of such items
            yield

    def lifted(self) -> Iterator[None]:
        """Something was resumed: what waited for that alone is due, as a chore. It was due when it met the bar."""
        for shard in self.table.shards:
            for count, first in enumerate([*shard.values()]):
                for item in family(first):
                    route = item.route
                    if item.place is Place.WAITING and route is not None and item.expires > self._now():
                        bars = self.bars
                        if bars is None or bars.find(item.ident, item.domain, route.site) is None:
                            self.leave(item)
                            self.route(item)
                if count % BATCH == BATCH - 1:
                    yield
            yield

    def empty(self, lane: Lane) -> Iterator[None]:
        """A lane that was suspended: what is ready in it waits in the timers, as a chore."""
        while lane.ready and lane.suspended(now := self._now()):
            for _ in range(BATCH):
                item = lane.pop()
                if item is None:
                    return
                self.leave(item)
                self.wait_out(item, lane, now)
            yield
        if lane.ready:
            self.ready(lane)
