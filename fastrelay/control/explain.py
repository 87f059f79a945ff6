"""Everything that decides when mail to one domain goes out, on one slot: gathered for `fastrelay explain`.

Route and its DNS state, site, the limits in force and where each comes from, the ledger's count and rate, window and
lane, an operator's suspensions, what is queued and when it is looked at next; and one sentence (why.py).

Waits: for DNS at most DNS_PATIENCE, and in slices of 5 ms while it looks for the domain's mail. Changes nothing.
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Protocol

from fastrelay.config import Config, Delivery, Rate, site_settings
from fastrelay.control import why
from fastrelay.control.census import Census
from fastrelay.control.request import SLICE, TURN
from fastrelay.delivery.limits import key_of
from fastrelay.errors import PeerTimeout
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.ident import born, to_text
from fastrelay.mail.outcome import Failed, Outcome
from fastrelay.mail.route import LimitKey, Route
from fastrelay.mail.state import State, Waiting
from fastrelay.routing.walk import Walk
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.schedule.window import CLOSED

DNS_PATIENCE = 1.0  # seconds: half of what the admin process waits for an answer
LOOKED = 100_000  # places of a lane that are counted to find where a message stands: 6 ms
DOMAINS = 20  # domains of one message that are explained
LIMITS = (
    "connections",
    "connect_rate",
    "messages_per_connection",
    "connection_lifetime",
    "idle_timeout",
    "recipients_per_transaction",
    "tls",
)


class Router(Protocol):
    """Where to (routing/router.py)."""

    def route_cached(self, domain: str, now: float) -> Route | Outcome | None: ...
    def explain(self, domain: str) -> Walk: ...


class Ledger(Protocol):
    """Limits of the whole machine (process/ledger.py)."""

    def total(self, key: Any) -> int: ...
    def rate_seconds(self, key: Any, rate: Rate, now: float) -> float: ...


class Store(Protocol):
    """The spool (spool/store.py)."""

    def envelope(self, ident: bytes) -> Envelope | None: ...
    def state(self, ident: bytes) -> State: ...


class Explainer:
    """One per worker. config: the one in force. unconnected(site): items in hand that have no connection yet;
    in_line(site): how many of these wait for one. rests(address, port): until when it is tried last. ending: the worker
    delivers no more.
    """

    __slots__ = (
        "_config",
        "_ending",
        "_in_line",
        "_ledger",
        "_rest",
        "_rests",
        "_router",
        "_scheduler",
        "_store",
        "_unconnected",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        router: Router,
        store: Store,
        ledger: Ledger,
        config: Callable[[], Config],
        *,
        unconnected: Callable[[str], list[Item]] = lambda site: [],
        in_line: Callable[[str], int] = lambda site: 0,
        rests: Callable[[str, int], float] = lambda address, port: 0.0,
        ending: Callable[[], bool] = lambda: False,
        rest: Callable[[float], None] = tasks.sleep,
    ) -> None:
        self._scheduler = scheduler
        self._router = router
        self._store = store
        self._ledger = ledger
        self._config = config
        self._unconnected = unconnected
        self._in_line = in_line
        self._rests = rests
        self._ending = ending
        self._rest = rest

    def domain(self, domain: str) -> dict[str, Any]:
        """What decides over mail to `domain`. Waits."""
        (walk,) = self._walks([domain])
        return self._facts(domain, self._census(domain), None, walk)

    def message(self, ident: bytes) -> list[dict[str, Any]]:
        """The same for each domain one message still waits for; [] when it is not here. Waits."""
        items = self._scheduler.items(ident)[:DOMAINS]
        walks = self._walks([item.domain for item in items])
        return [
            self._facts(item.domain, Census([item]), ident, walk)
            for item, walk in zip(items, walks, strict=True)
            if item.place is not Place.OUT  # delivered while DNS was asked
        ]

    def _facts(self, domain: str, census: Census, ident: bytes | None, walk: Walk | None) -> dict[str, Any]:
        now = clock.now()
        found = self._router.route_cached(domain, now) or (walk.result if walk is not None else None)
        route = found if isinstance(found, Route) else None
        known = route or census.route
        site = known.site if known is not None else ""
        config = self._config()
        settings = site_settings(config, site)
        facts: dict[str, Any] = {
            "domain": domain,
            "site": site,
            "login": (known.credentials if known is not None else "") or settings.login,
            "route": self._route(route, settings.port, now),
            "outcome": _outcome(found),
            "dns": _asked(walk),
            "limits": _limits(config, site, settings),
            "ledger": self._used(site, settings, now) if site else None,
            "lane": self._lane(site, now),
            "suspensions": self._bars(domain, site, ident, census, now),
            "queued": self._queued(domain, census, ident, site, now),
            "ending": self._ending(),
            "held": self._held(census),
        }
        facts["why"] = why.sentence(facts)
        return facts

    def _held(self, census: Census) -> str:
        """Why it is on hold; of several messages the oldest tells."""
        held = census.oldest_held
        return self._store.state(held).held if held is not None and self._store.envelope(held) is not None else ""

    # -- where to ---------------------------------------------------------------------------------------------------

    def _walks(self, domains: list[str]) -> list[Walk | None]:
        """The ways to domains as DNS has them, mostly from the cache; None where it does not answer soon. All are asked
        side by side: the answer has the same time whatever their number."""
        found: dict[str, Walk] = {}
        left = len(domains)
        done = tasks.Parking()

        def ask(domain: str) -> None:
            nonlocal left
            try:
                found[domain] = self._router.explain(domain)
            except Exception as error:
                tasks.on_crash("Explainer.walk", error)
            finally:
                left -= 1
                if not left:
                    done.wake()

        for domain in domains:
            tasks.spawn(ask, domain)
        if left:
            with contextlib.suppress(PeerTimeout):
                done.wait(DNS_PATIENCE)
        return [found.get(domain) for domain in domains]

    def _route(self, route: Route | None, port: int, now: float) -> dict[str, Any] | None:
        """resting: seconds for which an address that failed a moment ago is tried last."""
        if route is None:
            return None
        hosts = []
        for one in route.hosts:
            pauses = {address: self._rests(address, one.port or port) - now for address in one.addresses}
            resting = {address: round(seconds, 1) for address, seconds in pauses.items() if seconds > 0.0}
            hosts.append(
                {
                    "name": one.name,
                    "port": one.port,
                    "addresses": one.addresses,
                    "preference": one.preference,
                    "resting": resting,
                }
            )
        return {"kind": route.kind.value, "hosts": hosts, "seconds_left": round(max(0.0, route.expires - now), 1)}

    # -- limits and lanes ---------------------------------------------------------------------------------------------

    def _used(self, site: str, settings: Delivery, now: float) -> dict[str, Any]:
        key: LimitKey = key_of(site)
        return {
            "connections": self._ledger.total(key),
            "rate_seconds": round(self._ledger.rate_seconds(key, settings.connect_rate, now), 3),
        }

    def _lane(self, site: str, now: float) -> dict[str, Any] | None:
        lane = self._scheduler.find_lane(site)
        if lane is None:
            return None
        window = lane.window
        working, waits = lane.runners - len(lane.parked), len(self._unconnected(site))
        in_line = self._in_line(site)
        closed = max(0.0, window.closed_at + CLOSED - now) if window.full else 0.0
        return {
            "ready": lane.ready,
            "working": working,
            "sending": max(0, working - waits),
            "connecting": max(0, waits - in_line),
            "in_line": in_line,
            "parked": len(lane.parked),
            "suspended_seconds": round(max(0.0, lane.suspended_until - now), 1),
            "why": lane.why,
            "window": {
                "size": window.size,
                "limit": window.limit,
                "failures": window.failures,
                "closed_seconds": round(closed, 1),
                "word": lane.word if closed else "",
            },
            "last": [{"seconds_ago": round(now - at, 1), "reply": text} for at, text in lane.last],
        }

    def _bars(self, domain: str, site: str, ident: bytes | None, census: Census, now: float) -> list[dict[str, Any]]:
        """Those before all mail to the domain, then those before some of it, as its first suspended messages show."""
        bars = self._scheduler.bars
        if bars is None:
            return []
        if ident is None:
            found = bars.find_by_name(domain, site)
            for item in census.stopped:
                one = bars.find(item.ident, domain, site)
                if one is not None and one not in found:
                    found.append(one)
        else:
            one = bars.find(ident, domain, site)
            found = [one] if one is not None else []
        return [
            {
                "kind": bar.kind,
                "name": bar.name,
                "seconds": round(bar.until - now, 1) if bar.until != float("inf") else None,
                "reason": bar.why,
            }
            for bar in found
        ]

    # -- its mail -----------------------------------------------------------------------------------------------------

    def _census(self, domain: str) -> Census:
        """Every item at a domain, counted in slices."""
        census = Census()
        began = clock.now()
        for some in self._scheduler.at_domain(domain):
            census.add(some)
            if clock.now() - began >= SLICE:
                self._rest(TURN)
                began = clock.now()
        return census

    def _queued(self, domain: str, census: Census, ident: bytes | None, site: str, now: float) -> dict[str, Any]:
        soonest, oldest = census.soonest, census.oldest
        next_seconds = 0.0 if census.is_due else None
        told: dict[str, Any] = {
            "items": census.count,
            "places": census.places,
            "unconnected": sum(
                item.domain == domain and ident in (None, item.ident) for item in self._unconnected(site)
            ),
            "attempts": census.attempts,
            "next_seconds": round(max(0.0, soonest.due - now), 1) if soonest is not None else next_seconds,
            "next_is_expiry": soonest is not None and soonest.due >= soonest.expires,
            "expires_seconds": round(census.expires - now, 1) if census.count else None,
            "oldest": to_text(oldest) if oldest is not None else "",
            "oldest_seconds": round(max(0.0, clock.wall() - born(oldest)), 1) if oldest is not None else 0.0,
            "last": self._last(soonest or census.first),
        }
        if census.count == 1 and census.first is not None and census.first.place is Place.READY:
            told["position"] = _position(census.first)
        return told

    def _last(self, item: Item | None) -> str:
        """The last reply one of its recipients got."""
        if item is None or self._store.envelope(item.ident) is None:
            return ""
        recipients = self._store.state(item.ident).recipients
        standing = (recipients[index] for index in item.indices if index < len(recipients))
        return next((one.reply for one in standing if isinstance(one, Waiting) and one.reply), "")


def _position(item: Item) -> int:
    """Where it stands in its lane, from 1; 0 when that is too far back to be counted."""
    lane: Lane = item.at
    number = 0
    for one in itertools.islice(lane.items, LOOKED):
        if one.at is lane and one.place is Place.READY:
            number += 1
            if one is item:
                return number
    return 0


def _outcome(found: Route | Outcome | None) -> str:
    if found is None or isinstance(found, Route):
        return ""
    return f"{'for good: ' if isinstance(found, Failed) else ''}{found.reply}"


def _asked(walk: Walk | None) -> list[dict[str, Any]] | None:
    """None: the name servers have not answered in time."""
    if walk is None:
        return None
    return [
        {
            "name": one.answer.name,
            "type": one.answer.rdtype,
            "status": one.answer.status.value,
            "source": one.source,
            "seconds_left": round(one.left, 1),
            "records": [f"{mx.preference} {mx.host or '.'}" for mx in sorted(one.answer.exchanges)]
            or list(one.answer.records),
            "reason": one.answer.reason,
        }
        for one in walk.asked
    ]


def _limits(config: Config, site: str, settings: Delivery) -> dict[str, Any]:
    """Each limit in force, and where it comes from. One written as it would be anyway counts as not written."""
    default, general = Delivery(), config.delivery
    row = any(one.name == site for one in config.sites)
    told = {}
    for name in LIMITS:
        value = getattr(settings, name)
        if row and value != getattr(general, name):
            source = f"[[site]] {site}"
        else:
            source = "default" if value == getattr(default, name) else "[delivery]"
        told[name] = {"value": _written(value), "from": source}
    return told


def _written(value: object) -> object:
    return f"{value.count:g}/{value.seconds:g}s" if isinstance(value, Rate) else value
