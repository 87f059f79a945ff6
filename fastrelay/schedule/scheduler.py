"""Room 4's face: every open recipient of every message, in exactly one place, with exactly one next event.

What an item may do next is the table of item.py; places.py keeps the items and moves them, orders.py does what an
operator asks, chores.py works over many of them in slices, patrol.py proves that each stands somewhere.

Clocks: `due` and `expires` come in as wall seconds, as they are stored, and become monotonic seconds on the way in, by
the two clocks as they stand then: a jump of the wall clock moves nothing that already waits. `now` is monotonic.

Expiry holds in every place. WAITING and HELD items are looked at by the timers no later than they expire; READY ones
are checked when picked; the patrol finds those that sit in a lane or behind the router. An expired item is RUNNING, and
handed to `expired`, whose business it is to settle it.

Nothing here waits.
"""

import random
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from fastrelay.mail.route import Route, RouteKind
from fastrelay.runtime import clock as runtime_clock
from fastrelay.runtime import tasks
from fastrelay.schedule.bars import Bars
from fastrelay.schedule.chores import Chores
from fastrelay.schedule.item import Item, Place, shared_indices
from fastrelay.schedule.lane import Lane, SiteSettings
from fastrelay.schedule.orders import Orders
from fastrelay.schedule.patrol import Audit, Patrol
from fastrelay.schedule.places import BATCH, Places
from fastrelay.schedule.table import family

BARRED = 64  # items in a row that one call puts aside: 0.2 ms


class Clock(Protocol):
    """Both clocks; runtime.clock is one, tests have their own."""

    def now(self) -> float: ...
    def wall(self) -> float: ...


class Scheduler:
    """The schedule of one worker. settings_of: site name -> settings. notice_left: seconds a message has left when its
    sender is told that it is late, 0 = never.

    The relay, which needs a scheduler first, answers its questions (places.py) from `attach` on. hold, release, remove,
    retry, suspend_lane, resume_lane: see orders.py.
    """

    def __init__(
        self,
        settings_of: Callable[[str], SiteSettings],
        *,
        notice_left: float = 0.0,
        clock: Clock = runtime_clock,
        later: Callable[..., object] = tasks.later,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self._places = places = Places(settings_of, notice_left, clock.now, chance)
        self._chores = Chores(places.timers, places.come, later, clock.now)
        self._orders = orders = Orders(places, self._chores.add, clock.now, clock.wall)
        self._patrol = Patrol(places, clock.now)
        self.hold = orders.hold
        self.release = orders.release
        self.remove = orders.remove
        self.retry = orders.retry
        self.suspend_lane = orders.suspend_lane
        self.resume_lane = orders.resume_lane
        self.spare_until = 0.0  # monotonic: nothing added expires before; set after a jump of the wall clock

    def attach(
        self,
        *,
        unrouted: Callable[[str], None],
        ready: Callable[[Lane], None],
        expired: Callable[[Item], None],
        put_off: Callable[[Item], None],
        late: Callable[[Item], None],
    ) -> None:
        """From now on these answer the schedule's questions (places.py)."""
        places = self._places
        places.late = late
        places.unrouted, places.ready, places.expired, places.put_off = unrouted, ready, expired, put_off

    # -- the way in, routing, the pick ----------------------------------------------------------------------------

    def add(
        self,
        ident: bytes,
        domain: str,
        indices: tuple[int, ...],
        *,
        expires: float,
        due: float = 0.0,
        attempts: int = 0,
        held: bool = False,
        told: bool = False,
    ) -> None:
        """Schedule the open recipients of a new or recovered message at one domain; once for each domain of it.

        due, expires: wall seconds; due 0 = now. told: its sender knows that it is late, if it is.
        Impossible when the message already has an item at that domain.
        """
        now, wall = self.clock.now(), self.clock.wall()
        lasts = now + expires - wall
        if lasts < self.spare_until:
            lasts = self.spare_until
        item = Item(ident, sys.intern(domain), shared_indices(indices), attempts, now, lasts)
        places = self._places
        places.table.insert(item)
        if held:
            places.hold(item)
        elif due == 0.0:
            places.wait(item, now, now)
        else:
            places.wait(item, now + due - wall, now)
            if not told and item.place is Place.WAITING and lasts - places.timers.notice_left <= now < lasts:
                places.late(item)  # it became late while nobody was there

    def routed(self, domain: str, route: Route, now: float) -> None:
        """The router's answer: what waits for it enters the lane of `route.site`."""
        places = self._places
        queue = places.queues.waiting.pop(domain, None)
        if queue is None:
            return
        lane = places.lanes.of(route.site, now)
        if len(queue.items) <= BATCH:
            places.enter(lane, queue, route, now)
        else:
            places.queues.entering[queue] = None
            self._chores.add(places.enter_slowly(lane, queue, route))

    def unroutable(self, domain: str, now: float, most: int = BATCH) -> list[Item] | None:
        """Up to `most` of the items that wait for that route, RUNNING: settle each with the router's outcome.

        Call again, with a turn for others between, until it returns None: what arrives meanwhile waits with them. What
        stands before a bar is not among them: it waits, and nothing is decided of it. A long row of such makes an
        answer short, or empty.
        """
        places = self._places
        waiting, table, bars = places.queues.waiting, places.table, places.bars
        queue = waiting.get(domain)
        if queue is None:
            return None
        taken: list[Item] = []
        barred = 0
        while len(taken) < most and barred < BARRED:
            item = queue.pop()
            if item is None:
                if not taken:
                    del waiting[domain]
                    return None
                break
            if bars is not None and (bar := bars.find(item.ident, domain, "")) is not None:
                places.wait_before(bar, item, Route(domain, "", RouteKind.MX, (), 0.0), now)
                barred += 1
                continue
            table.run(item)
            taken.append(item)
        return taken

    def next(self, lane: Lane, now: float) -> Item | None:
        """The next item to deliver from `lane`, RUNNING; None when it has none, or is suspended. FIFO."""
        if lane.suspended(now):
            return None
        places = self._places
        bars = places.bars
        barred = 0
        while (item := lane.pop()) is not None:
            lane.ready -= 1
            places.table.run(item)
            if item.expires <= now:
                places.expired(item)
                continue
            if bars is None or (bar := bars.find(item.ident, item.domain, lane.site)) is None:
                return item
            route = item.route
            places.table.stop(item)
            places.wait_before(bar, item, route, now)
            barred += 1
            if barred >= BARRED:
                return None  # a chore is on its way through the lanes, and wakes runners where it has been
        return None

    # -- what settlement says of a RUNNING item -------------------------------------------------------------------

    def again(self, item: Item, indices: tuple[int, ...], due: float, *, attempted: bool = True) -> None:
        """The recipients `indices` are still open; their next look is at `due` (wall seconds).

        attempted=False: nobody tried (no connection was free, the task was ended), so it is not counted.
        """
        self._places.table.stop(item)
        item.indices = shared_indices(indices)
        if attempted:
            item.attempts += 1
        if self._orders.pending and self._orders.fulfilled(item):
            return
        now = self.clock.now()
        due += now - self.clock.wall()
        if item.expires <= now and due <= now:
            due = now + 1.0  # it was settled as expired and is still open: whoever says so must say when to look
        self._places.wait(item, due, now)

    def reroute(self, item: Item) -> None:
        """Its route has gone stale: back to the router, not an attempt."""
        self._places.table.stop(item)
        if not (self._orders.pending and self._orders.fulfilled(item)):
            self._places.route(item)

    def done(self, item: Item) -> None:
        """No recipient of it is open any more."""
        self._places.table.stop(item)
        self._orders.drop(item)

    def renew(self, notice_left: float) -> None:
        """A reload: the settings of sites have changed, and perhaps when senders are told."""
        self._places.timers.notice_left = notice_left
        self._places.lanes.renew()

    def bar(self, bars: Bars | None) -> None:
        """What is suspended from now on, None = nothing. What is ready steps back, and what may go comes, in slices; an
        attempt under way is finished first."""
        places = self._places
        before, places.bars = places.bars, bars
        if bars is not None:
            self._chores.add(places.barred())
        if before is not None:
            self._chores.add(places.lifted())

    @property
    def bars(self) -> Bars | None:
        """What is suspended now."""
        return self._places.bars

    def tick(self, now: float) -> None:
        """Timers fire, chores go on, the patrol walks: a slice of it here, the rest `later`."""
        if self._patrol.is_due(now):
            self._patrol.walking = True
            self._chores.add(self._patrol.walk())
        self._chores.tick()

    # -- looking on -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Messages."""
        return self._places.table.messages

    def items(self, ident: bytes) -> list[Item]:
        """Every item of a message: one per domain with open recipients."""
        return list(family(self._places.table.first(ident)))

    def lane(self, site: str) -> Lane:
        """The lane of a site, made when there is none."""
        return self._places.lanes.of(site, self.clock.now())

    def shard(self, number: int) -> list[Item]:
        """The first item of each message in one of table.SHARDS parts; the others hang on it (`sibling`)."""
        return [*self._places.table.shards[number].values()]

    def find_lane(self, site: str) -> Lane | None:
        """The lane of a site, if there is one."""
        return self._places.lanes.find(site)

    def at_domain(self, domain: str) -> Iterator[list[Item]]:
        """Every item at a domain, a shard of the table at a time (some 4,000 of a million items, 0.5 ms)."""
        name = sys.intern(domain)
        for shard in self._places.table.shards:
            yield [item for first in [*shard.values()] for item in family(first) if item.domain is name]

    def lanes(self) -> list[Lane]:
        """Those there are now."""
        return self._places.lanes.all()

    def due_wall(self, item: Item) -> float:
        """Wall seconds of an item's next look (WAITING), or of its expiry (HELD)."""
        return item.due - self.clock.now() + self.clock.wall()

    def audit(self) -> Audit:
        """Counts as they are now; orphans as the last patrol found them."""
        return self._patrol.audit()

    def walk(self) -> Audit:
        """A whole patrol at once (tests, stopping), then `audit`."""
        for _ in self._patrol.walk():
            pass
        return self.audit()

    def statistics(self) -> dict[str, int]:
        """Messages, items by place, lanes, timer entries."""
        return {
            "messages": len(self),
            "lanes": len(self._places.lanes),
            **self.audit()._asdict(),
            **self._places.timers.statistics(),
        }
