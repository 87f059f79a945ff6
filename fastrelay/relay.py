"""Relay: the walk of one batch, from items that are ready for a site to outcomes that are settled.

    ready(lane)       runners of the lane are woken or started (schedule/runners.py)
    attempt(item)     route, connection, body, transaction; settle; the body leaves memory

What the schedule asks for besides (a route, an expiry, word to a sender) are errands.py's.

Promises
- Whatever happens to a task, a bug or a kill, the item it has in hand is settled or given back: none is left RUNNING.
- A lane waits only for itself: for its own route, connections and peers.
- Bounded: runners as schedule/runners.py says.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from fastrelay.config import Delivery
from fastrelay.delivery import tls_policy
from fastrelay.delivery.limits import SHORT_REST
from fastrelay.errands import Errands, Router, guarded
from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.outcome import Deferred, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply, reply
from fastrelay.mail.route import Demand, Route
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.runners import Runners
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.schedule.singly import Singly
from fastrelay.settlement.plan import was_held_back
from fastrelay.settlement.settle import Settle

DEMANDS = 65536  # as many as the router keeps decisions

_BUG = reply(451, "4.3.0", "Internal error of this relay, it will be tried again")
_UNREADABLE = Deferred(reply(451, "4.3.0", "The message can no longer be read"), Phase.QUEUE, Scope.SITE)
_STOPPED = Deferred(reply(451, "4.3.2", "This relay was stopped"), Phase.QUEUE, Scope.SITE)


class Message(Protocol):
    """A message as the spool gives it out."""

    @property
    def envelope(self) -> Envelope: ...
    @property
    def parts(self) -> Sequence[bytes]: ...
    @property
    def lent(self) -> int: ...


class Store(Protocol):
    """The spool, as far as bodies go (spool/store.py)."""

    def read(self, ident: bytes, /) -> Any: ...  # a Message
    def returned(self, message: Any, /) -> None: ...
    def release_body(self, ident: bytes, /) -> None: ...


class InHand(Protocol):
    """What a worker has in hand, for others to read (process/inhand.py)."""

    def begin(self, ident: bytes, /) -> int: ...
    def end(self, cell: int, ident: bytes, /) -> None: ...
    def alone(self, ident: bytes, /) -> None: ...


class Carrier(Protocol):
    """A runner's hands (delivery/carrier.py)."""

    @property
    def connection(self) -> object: ...
    @property
    def progress(self) -> float: ...
    @property
    def connect_seconds(self) -> float: ...
    @property
    def transmit_seconds(self) -> float: ...
    def ready(self, demand: Demand, route: Route, now: float) -> Outcome | None: ...
    def deliver(
        self,
        demand: Demand,
        route: Route,
        envelope: Envelope,
        indices: tuple[int, ...],
        parts: Sequence[bytes],
        now: float,
    ) -> Sequence[Outcome]: ...
    def so_far(self, indices: tuple[int, ...]) -> Sequence[Outcome | None]: ...
    def rest(self, now: float) -> None: ...
    def close(self) -> None: ...


class Relay:
    """One per worker; it and its errands answer the scheduler's questions. make_carrier: a new runner's hands.

    in_hand: names what goes to a peer now, for whoever finds the worker crashed. wary: idents that were in hand when
    one did; they are tried one at a time.
    """

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        router: Router,
        make_carrier: Callable[[], Carrier],
        settle: Settle,
        settings_of: Callable[[str], Delivery],
        *,
        in_hand: InHand,
        wary: Collection[bytes] = (),
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._in_hand = in_hand
        self._store = store
        self._scheduler = scheduler
        self._router = router
        self._settle = settle
        self._settings_of = settings_of
        self._now = now
        self._sending: set[Carrier] = set()  # in the hands of these an item is being delivered or settled
        attempt = Singly(wary, self.attempt, self._interrupted, in_hand.alone).attempt if wary else self.attempt
        self.runners = Runners(scheduler.next, attempt, make_carrier, self._sending.__contains__, settings_of, now=now)
        self._demands: dict[str, tuple[Route, Demand]] = {}
        self._renewed = False
        self._draining = False
        self._errands = errands = Errands(scheduler, router, settle, now)
        scheduler.attach(
            unrouted=errands.unrouted,
            ready=self.runners.ready,
            expired=errands.expired,
            put_off=self.put_off,
            late=errands.late,
        )

    # -- one attempt ------------------------------------------------------------------------------------------------

    def attempt(self, carrier: Carrier, item: Item) -> float:
        """Deliver and settle an item in hand. May wait. Returns seconds to rest when a limit held it back, else 0."""
        road: Carrier | None = carrier
        cell = -1
        try:
            outcomes: Sequence[Outcome]
            found = self._prepare(carrier, item)
            if isinstance(found, Outcome):
                outcomes = [found] * len(item.indices)
                road = carrier if found.phase is not Phase.ROUTE else None
            elif found is None:
                return 0.0
            else:
                route, demand = found
                message: Message = self._store.read(item.ident)
                try:
                    if self._draining:
                        self._settle.give_back(item, 0.0, attempted=False)
                        return 0.0
                    self._sending.add(carrier)
                    cell = self._in_hand.begin(item.ident)
                    now = self._now()
                    outcomes = carrier.deliver(demand, route, message.envelope, item.indices, message.parts, now)
                finally:
                    if message.lent:
                        self._store.returned(message)
        except SpoolDamaged as damage:
            if carrier not in self._sending:
                guarded(self._settle, item, self._settle.set_aside, item, damage)
                return 0.0
            outcomes = self._cut_short(carrier, item, _UNREADABLE)  # the next attempt finds it before it begins
        except MachineShort as short:
            words = Reply(short.code, short.enhanced, (short.text,))
            outcomes = self._cut_short(carrier, item, Deferred(words, Phase.QUEUE, Scope.SITE, retry_after=SHORT_REST))
        except tasks.TaskExit:
            if cell >= 0:
                self._in_hand.end(cell, item.ident)
            self._interrupted(carrier, item)
            self._sending.discard(carrier)
            raise
        except BaseException as error:
            tasks.on_crash("Relay.attempt", error)
            outcomes = [Deferred(_BUG, Phase.QUEUE, Scope.MESSAGE)] * len(item.indices)
        try:
            if cell >= 0:
                self._in_hand.end(cell, item.ident)
            guarded(self._settle, item, self._settle.settle, item, outcomes, road)
            self._release_body(item.ident)
        finally:
            self._sending.discard(carrier)
        last = outcomes[-1]
        return last.retry_after if isinstance(last, Deferred) and was_held_back(last) else 0.0

    def _cut_short(self, carrier: Carrier, item: Item, otherwise: Outcome) -> list[Outcome]:
        """A delivery did not come to its end, if it began: who has an outcome keeps it, the others get this one."""
        if carrier not in self._sending:
            return [otherwise] * len(item.indices)
        return [outcome or otherwise for outcome in carrier.so_far(item.indices)]

    def _prepare(self, carrier: Carrier, item: Item) -> tuple[Route, Demand] | Outcome | None:
        """A connection in the carrier's hands, before the body is read. None: the domain has moved to another site,
        and the item has gone there."""
        now = self._now()
        route = item.route
        assert route is not None
        if route.expires <= now or (self._renewed and self._router.route_cached(item.domain, now) is not route):
            found = self._router.route_cached(item.domain, now) or self._router.route(item.domain)
            if not isinstance(found, Route):
                return found
            if found.site != route.site:
                self._scheduler.reroute(item)
                return None
            route = item.route = found
        demand = self._demand(route)
        held_back = carrier.ready(demand, route, now)
        return (route, demand) if held_back is None else held_back

    def _demand(self, route: Route) -> Demand:
        """One object for as long as the route is one: the pool compares by identity first."""
        kept = self._demands.get(route.domain)
        if kept is not None and kept[0] is route:
            return kept[1]
        if len(self._demands) >= DEMANDS:
            self._demands.clear()
        demand = tls_policy.demand(route, self._settings_of(route.site))
        self._demands[route.domain] = (route, demand)
        return demand

    def _release_body(self, ident: bytes) -> None:
        """After the first attempt; where the message goes to several domains, after the last of those under way."""
        for item in self._scheduler.items(ident):
            if Place.ROUTING <= item.place <= Place.RUNNING:
                return
        self._store.release_body(ident)

    def _interrupted(self, carrier: Carrier, item: Item) -> None:
        """Killed during an attempt: who has an outcome keeps it, the others come again at once, uncounted."""
        if carrier in self._sending:
            outcomes = self._cut_short(carrier, item, _STOPPED)
            guarded(self._settle, item, self._settle.settle, item, outcomes, carrier)
        elif item.place is Place.RUNNING:
            self._settle.give_back(item, 0.0, attempted=False)

    def put_off(self, item: Item) -> None:
        """Its site is suspended: by the time it resumes the body can be read from disk. Never waits."""
        self._store.release_body(item.ident)

    # -- the house --------------------------------------------------------------------------------------------------

    def renew(self) -> None:
        """A reload: no route and no demand made before is used again, nor by what stands in a lane already."""
        self._demands.clear()
        self._renewed = True

    def tick(self, now: float) -> None:
        """Once a second. Never waits."""
        self.runners.tick(now)

    def cut(self) -> None:
        """End a drain now: what is under way is cut off, and given back. Never waits."""
        self._draining = True
        self.runners.cut()
        self._errands.cut()

    def drain(self, seconds: float) -> bool:
        """Nothing new is begun; what is under way may end within `seconds`, then is cut off. Waits. True: it ended."""
        self._draining = True
        self._errands.stop()
        until = self._now() + seconds
        clean = self.runners.drain(seconds)
        if not self._errands.wait_over(max(until - self._now(), 0.1)):
            self.cut()
            self._errands.wait_over(1.0)
            return False
        return clean

    def statistics(self) -> dict[str, int]:
        """Runners, and who waits for the router or for the end."""
        return {**self.runners.statistics(), **self._errands.statistics()}
