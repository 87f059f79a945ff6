"""Room 4's face: every open recipient of every message, in exactly one place, with exactly one next event.

What an item may do next is the table of item.py; table.py keeps them, timers.py, queue.py and lane.py are the places
they stand in, patrol.py proves that they do.

Clocks: `due` and `expires` come in as wall seconds, as they are stored, and become monotonic seconds on the way in, by
the two clocks as they stand then: a jump of the wall clock moves nothing that already waits. `now` is monotonic.

Expiry holds in every place. WAITING and HELD items are looked at by the timers no later than they expire; READY ones
are checked when picked; the patrol finds those that sit in a lane or behind the router. An expired item is RUNNING, and
handed to `expired`, whose business it is to settle it.

Nothing here waits. `tick` works for at most SLICE seconds, then asks `later` for another turn.
"""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from fastrelay.errors import Impossible
from fastrelay.mail.route import Route
from fastrelay.runtime import clock as runtime_clock
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item, Place, shared_indices
from fastrelay.schedule.lane import Lane, Lanes, SiteSettings
from fastrelay.schedule.patrol import Audit, Finds, patrol
from fastrelay.schedule.queue import Queue, Queues
from fastrelay.schedule.table import Table, family
from fastrelay.schedule.timers import Timers

SLICE = 0.005  # seconds of work before others get a turn: the bound on what a tick adds to any session's latency
BATCH = 512  # items moved between two looks at the clock; 1 us each
PATROL_EVERY = 60.0  # seconds between two walks of the table: 0.6 us an item, 1 % of a core at a million
RESUME_SPREAD = 0.1  # items of a suspended lane come back over this share of the pause, at least 1 s
RESCUE = 60.0  # seconds until an orphan is looked at again: its attempt may still be under way


class Clock(Protocol):
    """Both clocks; runtime.clock is one, tests have their own."""

    def now(self) -> float: ...
    def wall(self) -> float: ...


def _nobody(what: object) -> None:
    raise Impossible(f"{what!r} is scheduled before the relay is there")


class Scheduler:
    """The schedule of one worker.

    settings_of: site name -> settings. unrouted(domain): start routing, then call `routed` or `unroutable`; it may do
    so before it returns, and is asked again by each patrol. ready(lane): start or wake runners, which call `next`.
    expired(item): settle it. All four are attributes: the relay, which needs a scheduler first, takes them over.
    """

    def __init__(
        self,
        settings_of: Callable[[str], SiteSettings],
        *,
        unrouted: Callable[[str], None] = _nobody,
        ready: Callable[[Lane], None] = _nobody,
        expired: Callable[[Item], None] = _nobody,
        put_off: Callable[[Item], None] = _nobody,
        clock: Clock = runtime_clock,
        later: Callable[..., object] = tasks.later,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        now = clock.now()
        self.unrouted = unrouted
        self.ready = ready
        self.expired = expired
        self.put_off = put_off
        self._later = later
        self._chance = chance
        self._table = Table()
        self._timers = Timers(now)
        self._queues = Queues()
        self._lanes = Lanes(settings_of)
        self._holds: set[bytes] = set()  # messages to hold, and to remove, when their attempts under way have ended
        self._removals: set[bytes] = set()
        self._chores: deque[Iterator[None]] = deque()
        self._slicing = False
        self._patrol_at = now + PATROL_EVERY
        self._patrolling = False
        self._orphans = 0
        self.spare_until = 0.0  # monotonic: nothing added expires before; set after a jump of the wall clock

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
    ) -> None:
        """Schedule the open recipients of a new or recovered message at one domain; once for each domain of it.

        due, expires: wall seconds; due 0 = now. Impossible when the message already has an item at that domain.
        """
        now, wall = self.clock.now(), self.clock.wall()
        lasts = now + expires - wall
        if lasts < self.spare_until:
            lasts = self.spare_until
        item = Item(ident, sys.intern(domain), shared_indices(indices), attempts, now, lasts)
        self._table.insert(item)
        if held:
            self._hold(item)
        else:
            self._wait(item, now if due == 0.0 else now + due - wall, now)

    def routed(self, domain: str, route: Route, now: float) -> None:
        """The router's answer: what waits for it enters the lane of `route.site`."""
        queue = self._queues.waiting.pop(domain, None)
        if queue is None:
            return
        lane = self._lanes.of(route.site, now)
        if len(queue.items) <= BATCH:
            self._enter(lane, queue, route, now)
        else:
            self._queues.entering[queue] = None
            self._chore(self._enter_slowly(lane, queue, route))

    def unroutable(self, domain: str, now: float, most: int = BATCH) -> list[Item]:
        """Up to `most` of the items that wait for that route, RUNNING: settle each with the router's outcome.

        Call again until it returns nothing: what arrives meanwhile waits with them.
        """
        queue = self._queues.waiting.get(domain)
        if queue is None:
            return []
        taken: list[Item] = []
        while len(taken) < most and (item := queue.pop()) is not None:
            self._table.run(item)
            taken.append(item)
        if not taken:
            del self._queues.waiting[domain]
        return taken

    def next(self, lane: Lane, now: float) -> Item | None:
        """The next item to deliver from `lane`, RUNNING; None when it has none, or is suspended. FIFO."""
        if lane.suspended(now):
            return None
        while (item := lane.pop()) is not None:
            lane.ready -= 1
            self._table.run(item)
            if item.expires > now:
                return item
            self.expired(item)
        return None

    # -- what settlement says of a RUNNING item -------------------------------------------------------------------

    def again(self, item: Item, indices: tuple[int, ...], due: float, *, attempted: bool = True) -> None:
        """The recipients `indices` are still open; their next look is at `due` (wall seconds).

        attempted=False: nobody tried (no connection was free, the task was ended), so it is not counted.
        """
        self._table.stop(item)
        item.indices = shared_indices(indices)
        if attempted:
            item.attempts += 1
        if self._wished(item):
            return
        now = self.clock.now()
        due += now - self.clock.wall()
        if item.expires <= now and due <= now:
            due = now + 1.0  # it was settled as expired and is still open: whoever says so must say when to look
        self._wait(item, due, now)

    def reroute(self, item: Item) -> None:
        """Its route has gone stale: back to the router, not an attempt."""
        self._table.stop(item)
        if not self._wished(item):
            self._route(item)

    def done(self, item: Item) -> None:
        """No recipient of it is open any more."""
        self._table.stop(item)
        self._drop(item)

    # -- operator verbs -------------------------------------------------------------------------------------------

    def hold(self, ident: bytes) -> bool:
        """No next attempt until `release`; expiry holds. One under way is finished first. False: unknown id."""
        first = self._table.first(ident)
        for item in family(first):
            if item.place is Place.RUNNING:
                self._holds.add(ident)
            elif item.place is not Place.HELD:
                self._leave(item)
                self._hold(item)
        return first is not None

    def release(self, ident: bytes, due: float = 0.0) -> bool:
        """End a hold; the next attempt is at `due` (wall seconds, 0 = now). False: unknown id."""
        self._holds.discard(ident)
        first = self._table.first(ident)
        now = self.clock.now()
        for item in family(first):
            if item.place is Place.HELD:
                self._leave(item)
                self._wait(item, now if due == 0.0 else now + due - self.clock.wall(), now)
        return first is not None

    def remove(self, ident: bytes) -> bool:
        """Forget the message; an attempt under way is finished first. Its record is the caller's. False: unknown id."""
        first = self._table.first(ident)
        for item in family(first):
            if item.place is Place.RUNNING:
                self._removals.add(ident)
            else:
                self._leave(item)
                self._drop(item)
        return first is not None

    def retry(self, ident: bytes) -> bool:
        """What waits for its time is due now; held messages stay held. False: unknown id."""
        first = self._table.first(ident)
        now = self.clock.now()
        for item in family(first):
            if item.place is Place.WAITING and item.expires > now:
                self._leave(item)
                self._route(item)
        return first is not None

    def suspend_lane(self, site: str, until: float, why: str) -> Lane:
        """No delivery to `site` before `until` (monotonic). What is ready waits for that time: not an attempt."""
        lane = self.lane(site)
        lane.suspended_until = until
        lane.why = why
        if lane.ready:
            self._chore(self._empty(lane))
        return lane

    def resume_lane(self, site: str) -> None:
        """End a suspension now. What was put off comes at the time it was put off to, or by `retry`."""
        lane = self._lanes.find(site)
        if lane is not None:
            lane.suspended_until = 0.0
            lane.why = ""
            if lane.ready:
                self.ready(lane)

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Timers fire, chores go on, the patrol walks: at most SLICE seconds, then the rest `later`."""
        if now >= self._patrol_at and not self._patrolling:
            self._patrolling = True
            self._chores.append(self._patrol())
        if not self._slicing:
            self._slice()

    def _slice(self) -> None:
        now = self.clock.now()
        end = now + SLICE
        self._slicing = False
        chores = self._chores
        more = True
        while more:
            items = self._timers.pop(now)
            if items:
                self._come(items, now)
            more = items is not None
            if chores:
                chore = chores.popleft()
                if next(chore, chores) is not chores:
                    chores.append(chore)
                more = True
            if self._timers.sweep():
                more = True
            if more and self.clock.now() >= end:
                self._slicing = True
                self._later(self._slice)
                return

    def _come(self, items: list[Item], now: float) -> None:
        for item in items:
            if item.expires <= now:
                self._expire(item)
            elif item.due > now or item.place is Place.HELD:
                self._timers.put(item)
            else:
                self._route(item)

    def _chore(self, chore: Iterator[None]) -> None:
        self._chores.append(chore)
        if not self._slicing:
            self._slicing = True
            self._later(self._slice)

    def _enter(self, lane: Lane, queue: Queue, route: Route, now: float) -> None:
        suspended = lane.suspended(now)
        for _ in range(BATCH):
            item = queue.pop()
            if item is None:
                break
            if suspended:
                self._wait_out(item, lane, now)
            else:
                item.route = route
                self._table.place(item, Place.READY, lane)
                lane.push(item)
        if lane.ready and not suspended:
            self.ready(lane)

    def _enter_slowly(self, lane: Lane, queue: Queue, route: Route) -> Iterator[None]:
        while queue.items:
            self._enter(lane, queue, route, self.clock.now())
            yield
        del self._queues.entering[queue]

    def _empty(self, lane: Lane) -> Iterator[None]:
        while lane.ready and lane.suspended(now := self.clock.now()):
            for _ in range(BATCH):
                item = lane.pop()
                if item is None:
                    return
                self._leave(item)
                self._wait_out(item, lane, now)
            yield
        if lane.ready:
            self.ready(lane)

    # -- moves ----------------------------------------------------------------------------------------------------

    def _leave(self, item: Item) -> None:
        """Before an item is placed elsewhere out of turn: its container stops counting it."""
        place = item.place
        if place is Place.READY:
            item.at.left()
            item.route = None
        elif place is Place.WAITING or place is Place.HELD:
            self._timers.left()

    def _wait(self, item: Item, due: float, now: float) -> None:
        """To the router when due, else to the timers until due or expiry, whichever is first."""
        expires = item.expires
        if due <= now < expires:
            self._route(item)
        else:
            item.due = expires if now < expires < due else due
            self._table.place(item, Place.WAITING, None)
            self._timers.put(item)

    def _wait_out(self, item: Item, lane: Lane, now: float) -> None:
        """A suspended lane's item: to the timers until the lane resumes, spread a little."""
        if item.expires <= now:
            self._expire(item)
        else:
            pause = lane.suspended_until - now
            self.put_off(item)
            self._wait(item, lane.suspended_until + self._chance() * max(1.0, pause * RESUME_SPREAD), now)

    def _hold(self, item: Item) -> None:
        item.due = item.expires
        self._table.place(item, Place.HELD, None)
        self._timers.put(item)

    def _route(self, item: Item) -> None:
        domain = item.domain
        queue = self._queues.waiting.get(domain)
        if queue is not None:
            self._table.place(item, Place.ROUTING, queue)
            queue.items.append(item)
        else:
            queue = self._queues.waiting[domain] = Queue(domain)
            self._table.place(item, Place.ROUTING, queue)
            queue.items.append(item)
            self.unrouted(domain)

    def _expire(self, item: Item) -> None:
        """Nobody counts the item any more: hand it to settlement."""
        self._table.run(item)
        self.expired(item)

    def _drop(self, item: Item) -> None:
        if self._table.drop(item):
            self._holds.discard(item.ident)
            self._removals.discard(item.ident)

    def _wished(self, item: Item) -> bool:
        """Carry out what an operator asked for while the item was RUNNING; true when it did."""
        ident = item.ident
        if self._removals and ident in self._removals:
            self._drop(item)
            return True
        if self._holds and ident in self._holds:
            self._hold(item)
            return True
        return False

    # -- looking on -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Messages."""
        return self._table.messages

    def items(self, ident: bytes) -> list[Item]:
        """Every item of a message: one per domain with open recipients."""
        return list(family(self._table.first(ident)))

    def lane(self, site: str) -> Lane:
        """The lane of a site, made when there is none."""
        return self._lanes.of(site, self.clock.now())

    def lanes(self) -> list[Lane]:
        """Those there are now."""
        return self._lanes.all()

    def due_wall(self, item: Item) -> float:
        """Wall seconds of an item's next look (WAITING), or of its expiry (HELD)."""
        return item.due - self.clock.now() + self.clock.wall()

    def audit(self) -> Audit:
        """Counts as they are now; orphans as the last patrol found them."""
        _, waiting, routing, ready, running, held = self._table.counts
        return Audit(waiting, routing, ready, running, held, self._orphans)

    def walk(self) -> Audit:
        """A whole patrol at once (tests, stopping), then `audit`."""
        for _ in self._patrol():
            pass
        return self.audit()

    def statistics(self) -> dict[str, int]:
        """Messages, items by place, lanes, timer entries."""
        return {
            "messages": len(self),
            "lanes": len(self._lanes),
            **self.audit()._asdict(),
            **self._timers.statistics(),
        }

    # -- the patrol's finds ---------------------------------------------------------------------------------------

    def _patrol(self) -> Iterator[None]:
        finds = Finds(self._rescue, self._expire_out_of_turn, self._ask_again, self.ready, self._patrolled)
        return patrol(self._table, self._timers, self._queues, self._lanes, self.clock.now, finds)

    def _rescue(self, item: Item) -> None:
        tasks.on_crash(
            "Scheduler.patrol",
            Impossible(f"{item.ident.hex()} at {item.domain} is {item.place.name} but stands nowhere: rescheduled"),
        )
        counts = self._table.counts
        counts[item.place] -= 1
        counts[Place.OUT] += 1
        item.place = Place.OUT
        now = self.clock.now()
        self._wait(item, now + RESCUE, now)

    def _expire_out_of_turn(self, item: Item) -> None:
        self._leave(item)
        self._expire(item)

    def _ask_again(self, queue: Queue) -> None:
        self.unrouted(queue.domain)

    def _patrolled(self, orphans: int) -> None:
        self._orphans = orphans
        self._patrolling = False
        self._patrol_at = self.clock.now() + PATROL_EVERY
