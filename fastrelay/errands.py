"""Errands: what the schedule asks for besides attempts: where to, the end of what has expired, word to who is late.

    unrouted(domain)  the route in force, at once; else a task asks the router
    expired(item)     a task settles it
    late(item)        a task tells its sender

Promises
- Whatever happens to a task, a bug or a kill, an item it has in hand is settled or given back (`guarded`).
- Bounded: ROUTERS tasks that route, EXPIRERS that expire and as many that tell; what is beyond waits in a queue of what
  the schedule has anyway.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from fastrelay.mail.outcome import Outcome
from fastrelay.mail.route import Route
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.settlement.settle import Settle

ROUTERS = 1000  # twice what the resolver asks at once (routing/resolver.py MAX_LOOKUPS)
EXPIRERS = 8  # each waits for one sync per notice: eight at once fill a batch without crowding out new mail
TURN = 64  # items settled in a row without waiting, before others get a turn: some 2 ms
PAUSE = 60.0  # seconds until an item is tried again that met a bug of ours


class Router(Protocol):
    """Where to (routing/router.py)."""

    def route_cached(self, domain: str, now: float) -> Route | Outcome | None: ...
    def route(self, domain: str) -> Route | Outcome: ...


def guarded(settle: Settle, item: Item, act: Callable[..., None], *args: object) -> None:
    """One verb of settlement; whatever goes wrong, the item does not stay in this task's hands."""
    try:
        act(*args)
    except BaseException as error:
        killed = isinstance(error, tasks.TaskExit)
        if item.place is Place.RUNNING:
            settle.give_back(item, 0.0 if killed else PAUSE, attempted=not killed)
        if killed:
            raise
        tasks.on_crash("Relay.settle", error)


class Errands:
    """One per worker. Its first three verbs answer the schedule and never wait."""

    __slots__ = (
        "_draining",
        "_expired",
        "_expirers",
        "_late",
        "_now",
        "_over",
        "_router",
        "_routers",
        "_routing",
        "_scheduler",
        "_settle",
        "_tasks",
        "_tellers",
        "_to_route",
    )

    def __init__(self, scheduler: Scheduler, router: Router, settle: Settle, now: Callable[[], float]) -> None:
        self._scheduler = scheduler
        self._router = router
        self._settle = settle
        self._now = now
        self._routing: set[str] = set()  # domains the router was asked for, or will be
        self._to_route: deque[str] = deque()  # of these, the ones that wait for a task
        self._routers = 0
        self._expired: deque[Item] = deque()
        self._expirers = 0
        self._late: dict[bytes, None] = {}  # messages whose senders are to be told
        self._tellers = 0
        self._tasks: set[tasks.Task] = set()
        self._draining = False
        self._over = tasks.Event()

    # -- where to ---------------------------------------------------------------------------------------------------

    def unrouted(self, domain: str) -> None:
        """Items of that domain wait for a route."""
        now = self._now()
        found = self._router.route_cached(domain, now)
        if type(found) is Route:
            self._scheduler.routed(domain, found, now)
        elif domain not in self._routing and not self._draining:
            self._routing.add(domain)
            self._to_route.append(domain)
            if self._routers < ROUTERS:
                self._routers += 1
                self._begin(self._route_domains)

    def _route_domains(self) -> None:
        try:
            while self._to_route and not self._draining:
                domain = self._to_route.popleft()
                try:
                    self._route_domain(domain)
                except Exception as error:
                    tasks.on_crash("Relay.route", error)  # its items wait for the next patrol to ask again
                finally:
                    self._routing.discard(domain)
        finally:
            self._routers -= 1

    def _route_domain(self, domain: str) -> None:
        found = self._router.route_cached(domain, self._now()) or self._router.route(domain)
        if isinstance(found, Route):
            self._scheduler.routed(domain, found, self._now())
            return
        count = 0
        while not self._draining and (items := self._scheduler.unroutable(domain, self._now(), 1)) is not None:
            for item in items:
                guarded(self._settle, item, self._settle.settle, item, [found] * len(item.indices))
            count += 1
            if not items or count % TURN == 0:  # none: a long row of suspended ones was put aside
                tasks.run_loop_once()

    # -- too late ---------------------------------------------------------------------------------------------------

    def expired(self, item: Item) -> None:
        """Its time has run out; it is RUNNING, in our hands."""
        self._expired.append(item)
        if self._expirers < EXPIRERS and not self._draining:
            self._expirers += 1
            self._begin(self._expire_items)

    def _expire_items(self) -> None:
        try:
            count = 0
            while self._expired and not self._draining:
                item = self._expired.popleft()
                guarded(self._settle, item, self._settle.expire, item)
                count += 1
                if count % TURN == 0:
                    tasks.run_loop_once()
        finally:
            self._expirers -= 1

    def late(self, item: Item) -> None:
        """Its sender is to be told that it waits; the item stays where it is."""
        self._late[item.ident] = None
        if self._tellers < EXPIRERS and not self._draining:
            self._tellers += 1
            self._begin(self._tell_late)

    def _tell_late(self) -> None:
        try:
            count = 0
            while self._late and not self._draining:
                ident = next(iter(self._late))
                del self._late[ident]
                try:
                    self._settle.tell_late(ident)
                except Exception as error:
                    tasks.on_crash("Relay.late", error)  # its next deferral tells
                count += 1
                if count % TURN == 0:
                    tasks.run_loop_once()
        finally:
            self._tellers -= 1

    # -- the tasks --------------------------------------------------------------------------------------------------

    def _begin(self, work: Callable[[], None]) -> None:
        self._tasks.add(tasks.spawn(self._run, work))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._tasks.discard(tasks.current())
            if self._draining and not self._tasks:
                self._over.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way may end."""
        self._draining = True

    def cut(self) -> None:
        """End what is under way now. Never waits."""
        self._draining = True
        for task in self._tasks:
            if task:
                tasks.kill(task)

    def wait_over(self, seconds: float) -> bool:
        """After `stop`: true when all have ended within `seconds`."""
        return not self._tasks or self._over.wait(seconds)

    def statistics(self) -> dict[str, int]:
        """Who waits for the router, and for the end."""
        return {"routing": len(self._routing), "expired": len(self._expired)}
