"""Connections by site: the idle ones, when a new one may be opened, who waits for one.

Which idle one will do, and which are to end, is decided in idle.py; the Pool acts on it.
Promises
- A connection is handed out only where it satisfies the Demand: same site, one of its hosts, at least its encryption.
- Every open connection, idle ones included, is counted in the machine-wide ledger from before its connect until after
  its close; a refusal is waited out in arrival order for at most limits.PATIENCE.
- Idle connections end by idle_timeout, by connection_lifetime, when another worker or a demand they do not satisfy
  needs their place, and beyond MAX_IDLE.
- A connect that fails goes on to the next place (hosts.py). Only when every host of the route refuses for good is that
  the site's word.
"""

from collections import deque
from collections.abc import Callable
from typing import cast

from fastrelay.config import Delivery
from fastrelay.delivery import hosts, limits
from fastrelay.delivery.connect import Dialer
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.faces import Ledger, Refusal
from fastrelay.delivery.hosts import Place
from fastrelay.delivery.idle import choose, idle_ends
from fastrelay.errors import PeerTimeout
from fastrelay.mail.outcome import Deferred, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import Demand, LimitKey, Route
from fastrelay.metrics import Counts
from fastrelay.runtime import clock, tasks

_PERMANENT = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO})  # where 5xx speaks of the host

MAX_IDLE = 2000  # per worker: descriptors and 15 KB each are better spent on mail than on silence


class Pool:
    """One per worker. settings_of: the delivery settings in force for a site by name."""

    def __init__(
        self,
        settings_of: Callable[[str], Delivery],
        ledger: Ledger,
        dialer: Dialer,
        counts: Counts | None = None,
        *,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self.settings_of = settings_of
        self.dialer = dialer
        self.counts = Counts() if counts is None else counts
        self.now = now
        self._ledger = ledger
        self._idle: dict[str, list[Connection]] = {}
        self._waiting: dict[str, deque[tasks.Parking]] = {}

    # -- leasing --------------------------------------------------------------------------------------------------

    def lease(
        self, demand: Demand, route: Route, now: float, *, tried: set[Place], fresh: bool = False
    ) -> Connection | Outcome:
        """A connection that satisfies `demand`, idle or new; or why there is none. May wait.

        tried: places that failed in this attempt, added to as more fail; while there are some, no idle connection will
        do. fresh: no idle one, they are suspected dead.
        """
        site = demand.site
        settings = self.settings_of(site)
        fresh = fresh or bool(tried)
        if not fresh and site not in self._waiting:
            idle = self._reuse(demand, now, settings)
            if idle is not None:
                return idle
        answer = self._admit(demand, settings, now, fresh)
        return self._open(demand, route, settings, tried) if answer is None else answer

    def _reuse(self, demand: Demand, now: float, settings: Delivery) -> Connection | None:
        idle = self._idle.get(demand.site)
        if not idle:
            return None
        choice = choose(idle, demand, now, settings)
        for worn in choice.close:
            idle.remove(worn)
            self._end_idle(worn)
        connection = choice.take
        if connection is None:
            return None
        if idle[-1] is connection:
            idle.pop()
        else:
            idle.remove(connection)
        connection.demand = demand
        self.counts.out_idle -= 1
        self.counts.out_active += 1
        return connection

    def _admit(self, demand: Demand, settings: Delivery, now: float, fresh: bool) -> Connection | Outcome | None:
        """Take a place in the ledger, waiting in line where need be: None when taken. An idle connection that comes
        free and satisfies is as good; one that does not is closed to make room."""
        site = demand.site
        wants = limits.wants(site, settings)
        line = self._waiting.get(site)
        if line is None:
            answer = self._ledger.take(wants, now)
            if answer:
                return None
            self.counts.throttled[cast(Refusal, answer).why.value] += 1
            line = self._waiting[site] = deque()
        place = tasks.Parking()
        line.append(place)
        latest = now + limits.PATIENCE
        try:
            while True:
                moment = self.now()
                seconds: float | None = latest - moment
                refusal: Refusal | None = None
                if line[0] is place:
                    if not fresh and (connection := self._reuse(demand, moment, settings)) is not None:
                        return connection
                    answer = self._ledger.take(wants, moment, wait=True)
                    if answer:
                        return None
                    refusal = cast(Refusal, answer)
                    if refusal.retry_at is None and (idle := self._idle.get(site)):
                        self._end_idle(idle.pop(0))  # it does not satisfy: its place will do
                        continue
                    seconds = limits.wait_for(refusal, moment, latest)
                if seconds is None or seconds <= 0.0:
                    return limits.refused(refusal, moment, site, settings)
                try:
                    place.wait(seconds)
                except PeerTimeout:
                    continue  # time to look again
        finally:
            line.remove(place)
            if line:
                line[0].wake()
            else:
                del self._waiting[site]
                self._ledger.wait_over(limits.key_of(site))

    def _open(self, demand: Demand, route: Route, settings: Delivery, tried: set[Place]) -> Connection | Outcome:
        """Walk the places until one is ready for mail. The ledger's count is ours; on success the connection's."""
        dialer = self.dialer
        outcome: Outcome | None = None
        refusing: set[str] = set()
        others = bool(tried)
        key = limits.key_of(demand.site)
        opened = False
        try:
            for place in hosts.in_order(demand.hosts, settings.port, dialer.health, self.now(), tried):
                result = dialer.open(place, demand, settings, exempt=route.exempt)
                if isinstance(result, Connection):
                    opened = True
                    self.counts.connections_opened += 1
                    self.counts.out_active += 1
                    return result
                if result.phase is Phase.QUEUE:
                    return limits.machine_short(result)  # the next place would fare no better
                if outcome is None or outcome.phase is Phase.CONNECT or result.phase is not Phase.CONNECT:
                    outcome = result  # the word of a host weighs more than that another could not be reached
                tried.add(place)
                if 500 <= result.reply.code < 600 and result.phase in _PERMANENT:
                    refusing.add(place.name)
                else:
                    others = True
        finally:
            if not opened:
                self._ledger.give((key,))
                self._wake(demand.site)
        if outcome is None:
            words = Reply(451, "4.4.4", (f"no address of {demand.site} is left to try",))
            return Deferred(words, Phase.CONNECT, Scope.HOST)
        if not others and refusing == {host.name for host in demand.hosts}:
            return dialer.classify(outcome.phase, outcome.reply, outcome.host, outcome.address, every_host=True)
        return outcome

    # -- giving back ----------------------------------------------------------------------------------------------

    def release(self, connection: Connection, now: float) -> None:
        """The connection is idle, others may take it; closed where another worker waits for its place."""
        site = connection.demand.site
        elsewhere = site not in self._waiting and self._ledger.wanted(connection.key)
        if elsewhere or not connection.is_ready or self.counts.out_idle >= MAX_IDLE:
            self.discard(connection)
            return
        connection.used = now
        connection.is_fresh = False
        self.counts.out_active -= 1
        self.counts.out_idle += 1
        idle = self._idle.get(site)
        if idle is None:
            idle = self._idle[site] = []
        idle.append(connection)
        if self._waiting:
            self._wake(site)

    def discard(self, connection: Connection) -> None:
        """Close a leased connection and give its place back. Never waits."""
        self.counts.out_active -= 1
        self._ended(connection)

    def _end_idle(self, connection: Connection) -> None:
        """Close a connection taken off the idle list."""
        self.counts.out_idle -= 1
        self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        try:
            connection.close()
        finally:
            self._ledger.give((connection.key,))
            self._wake(connection.demand.site)

    def has_waiters(self, site: str) -> bool:
        """Runners of this worker wait for a connection to the site."""
        return site in self._waiting

    def in_line(self, site: str) -> int:
        """How many of this worker wait for a connection to the site."""
        return len(self._waiting.get(site, ()))

    def is_wanted_elsewhere(self, connection: Connection) -> bool:
        """Another worker waits for this place."""
        return self._ledger.wanted(connection.key)

    def slot_freed(self, key: LimitKey) -> None:
        """The ledger rang for `key`: the first who waits for that site tries again."""
        self._wake(key.names[0])

    def _wake(self, site: str) -> None:
        line = self._waiting.get(site)
        if line:
            line[0].wake()

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second, never waits: close what has been idle or alive too long, or what another worker waits for."""
        for site, idle in list(self._idle.items()):
            for connection in idle_ends(idle, now, self.settings_of(site)):
                idle.remove(connection)
                self._end_idle(connection)
            while idle and self._ledger.wanted(idle[0].key):  # until each worker that waits has been answered
                self._end_idle(idle.pop(0))
            if not idle:
                del self._idle[site]

    def close_idle(self) -> None:
        """For a worker that stops: every idle connection says QUIT and goes. Never waits."""
        for idle in self._idle.values():
            while idle:
                self._end_idle(idle.pop())
        self._idle.clear()

    def statistics(self) -> dict[str, int]:
        """Connections and who waits for them."""
        return {
            "active": self.counts.out_active,
            "idle": self.counts.out_idle,
            "waiting": sum(map(len, self._waiting.values())),
            **self.dialer.health.statistics(),
        }
