"""From a recipient domain to a Route, or to the Outcome that says why there is none.

The order: a `[[route]]` row; an address literal; MX (RFC 5321 5.1), by preference with equals shuffled; without MX the
domain's own addresses. The decision is made of pure parts (overrides, mx, sites, guard, failures); this file only asks
the resolver between them. It never raises for what DNS says: every failure is a Deferred or Failed of phase ROUTE.

A decision is kept until the first answer it rests on is due, one hour at most, and `route_cached` gives the same object
until then (measured 0.3 us): callers may compare by identity. Its shuffle is fixed for as long; who opens connections
spreads them over hosts of equal preference. Bounded: MAX_KEPT decisions, oldest first out.
"""

import random
from collections.abc import Callable, Sequence

from fastrelay.config import Config, site_settings
from fastrelay.mail.address import is_literal
from fastrelay.mail.outcome import Outcome
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.routing import failures, guard, mx, ourselves
from fastrelay.routing.answers import Answer, Exchange, Status, folded, is_host_name
from fastrelay.routing.mx import Arranged, Finding
from fastrelay.routing.ourselves import Ourselves
from fastrelay.routing.overrides import LOCALHOST, Override, Overrides
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.sites import Sites
from fastrelay.routing.walk import Asked, Walk
from fastrelay.runtime import clock

MAX_KEPT = 65536  # decisions, some 600 octets each
LONGEST = 3600.0  # seconds a decision is used without looking at DNS again
_FAMILIES = {"both": ("A", "AAAA"), "4": ("A",), "6": ("AAAA",)}


class _Trace:
    """What one decision asked and passed over, and until when it holds."""

    __slots__ = ("asked", "expires", "notes", "override", "secure")

    def __init__(self, now: float) -> None:
        self.asked: list[Asked] = []
        self.notes: list[str] = []
        self.override = ""
        self.expires = now + LONGEST
        self.secure = True


class Router:
    """One per worker. `own`, `chance` and `has_route` stand in tests for this machine, luck and the kernel's routes."""

    __slots__ = ("_chance", "_config", "_has_route", "_kept", "_now", "_overrides", "_own", "_resolver", "_sites")

    def __init__(
        self,
        config: Config,
        resolver: Resolver,
        now: Callable[[], float] = clock.now,
        *,
        own: Ourselves | None = None,
        chance: random.Random | None = None,
        has_route: Callable[[str], bool] = ourselves.has_route,
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._now = now
        self._own = ourselves.of(config) if own is None else own
        self._chance = chance or random.Random()
        self._has_route = has_route
        self._overrides = Overrides(config.routes)
        self._sites = Sites(config.sites)
        self._kept: dict[str, tuple[float, Route | Outcome]] = {}

    # -- the face -------------------------------------------------------------------------------------------------

    def renew(self, config: Config, resolver: Resolver) -> None:
        """A reload: every decision is made anew. One under way ends as it began, and is not kept."""
        self._config = config
        self._resolver = resolver
        self._own = ourselves.of(config)
        self._overrides = Overrides(config.routes)
        self._sites = Sites(config.sites)
        self._kept = {}

    def route_cached(self, domain: str, now: float) -> Route | Outcome | None:
        """The decision in force, None when `route` has to be asked. Never waits."""
        kept = self._kept.get(domain)
        return kept[1] if kept is not None and kept[0] > now else None

    def route(self, domain: str) -> Route | Outcome:
        """The decision for a case-folded domain (mail.address.domain_of); may wait for DNS, as long as the resolver."""
        trace, kept = _Trace(self._now()), self._kept
        result = self._decide(domain, trace)
        self._keep(kept, domain, trace.expires, result)
        return result

    def explain(self, domain: str) -> Walk:
        """The same decision made anew, with the way to it. May wait."""
        trace = _Trace(self._now())
        result = self._decide(domain, trace)
        return Walk(domain, result, trace.override, tuple(trace.asked), tuple(trace.notes))

    def forget(self, domain: str | None = None) -> None:
        """Decide anew next time: one domain, or all."""
        if domain is None:
            self._kept.clear()
        else:
            self._kept.pop(domain, None)

    def statistics(self) -> dict[str, int]:
        """Decisions kept, and the resolver's figures."""
        return {"routes": len(self._kept), **self._resolver.statistics()}

    def _keep(
        self, kept: dict[str, tuple[float, Route | Outcome]], domain: str, expires: float, result: Route | Outcome
    ) -> None:
        kept.pop(domain, None)  # so that insertion order is age
        if len(kept) >= MAX_KEPT:
            del kept[next(iter(kept))]
        kept[domain] = (expires, result)

    # -- the decision ---------------------------------------------------------------------------------------------

    def _decide(self, domain: str, trace: _Trace) -> Route | Outcome:
        override = self._overrides.find(domain)
        if override is not None:
            trace.override = override.pattern
            return self._by_override(domain, override, trace)
        if is_literal(domain):
            return self._by_literal(domain, trace)
        if not is_host_name(domain) or mx.literal_address(domain):
            return failures.bad_domain(domain)
        answer = self._ask([(domain, "MX")], trace)[0]
        if answer.failed:
            return failures.unanswered(domain, "MX", answer.reason)
        if answer.status is Status.NO_NAME:
            return failures.no_such_domain(domain)
        if not answer.found:
            return self._by_address(domain, trace)
        return self._by_mx(domain, answer, trace)

    def _by_mx(self, domain: str, answer: Answer, trace: _Trace) -> Route | Outcome:
        choice = mx.choose(answer.exchanges, self._own.is_name)
        trace.notes += choice.notes
        if choice.finding is not Finding.HOSTS:
            why = {Finding.NULL: failures.null_mx, Finding.LOOP: failures.loop, Finding.NOTHING: failures.unusable_mx}
            return why[choice.finding](domain)
        site = self._sites.name(domain, choice.best, [one.host for one in choice.exchanges])
        order = mx.shuffled(choice.exchanges, self._chance)
        verdict: Outcome | None = None
        for begin in range(0, min(len(order), mx.MAX_HOSTS * mx.MAX_ROUNDS), mx.MAX_HOSTS):
            some = order[begin : begin + mx.MAX_HOSTS]
            arranged, outcome = self._reach(domain, site, some, trace, failures.dead_hosts)
            if arranged.hosts:
                return self._route(domain, site, RouteKind.MX, arranged.hosts, trace)
            if arranged.loop:
                return outcome
            verdict = verdict if verdict is not None and _is_temporary(verdict) else outcome
        assert verdict is not None
        return verdict

    def _by_address(self, domain: str, trace: _Trace) -> Route | Outcome:
        """The implicit MX: the domain is its own host, preference 0 (RFC 5321 5.1)."""
        if self._own.is_name(domain):
            return failures.loop(domain)
        site = self._sites.name(domain, (domain,), (domain,))
        arranged, outcome = self._reach(domain, site, [Exchange(0, domain)], trace, failures.no_address)
        if arranged.hosts:
            return self._route(domain, site, RouteKind.IMPLICIT, arranged.hosts, trace)
        return outcome

    def _by_literal(self, domain: str, trace: _Trace) -> Route | Outcome:
        address = mx.literal_address(domain)
        if not address:
            return failures.bad_domain(domain)
        name = f"[{address}]"
        site = self._sites.name(name, (), (name,))
        arranged, outcome = self._reach(domain, site, [Exchange(0, address)], trace, failures.no_address)
        if not arranged.hosts:
            return outcome
        trace.secure = False
        return self._route(domain, site, RouteKind.LITERAL, (Host(name, (address,)),), trace)

    def _by_override(self, domain: str, override: Override, trace: _Trace) -> Route | Outcome:
        site = self._sites.named(domain) or override.site
        families = _FAMILIES[site_settings(self._config, site).ip]
        found = self._addresses([hop.name for hop in override.hops if not hop.addresses], families, trace)
        hosts = []
        for hop in override.hops:
            addresses = hop.addresses or mx.interleaved(found[hop.name], self._chance)
            if hop.addresses is LOCALHOST:
                addresses = tuple([address for address in addresses if ("AAAA" if ":" in address else "A") in families])
            if addresses:
                hosts.append(Host(hop.name, addresses, 0, hop.port, hop.lmtp))
        if not hosts:
            return failures.hop_unresolved(override.pattern, ", ".join(hop.name for hop in override.hops))
        self._chance.shuffle(hosts)
        trace.secure = False
        return Route(
            domain,
            site,
            RouteKind.STATIC,
            tuple(hosts),
            trace.expires,
            exempt=True,
            credentials=override.credentials,
        )

    def _reach(
        self,
        domain: str,
        site: str,
        order: Sequence[Exchange],
        trace: _Trace,
        nothing: Callable[[str], Outcome],
    ) -> tuple[Arranged, Outcome]:
        """Hosts in `order` with addresses to try, and the outcome that holds if there are none."""
        settings = site_settings(self._config, site)
        asked = len(trace.asked)
        names = [one.host for one in order]
        found = self._addresses(names, _FAMILIES[settings.ip], trace)
        arranged = mx.arrange(
            order,
            found,
            is_own_end=lambda address: self._own.is_end(address, settings.port),
            forbidden=lambda address: guard.forbidden(address, allow_private=settings.allow_private),
            has_route=self._has_route,
            chance=self._chance,
        )
        trace.notes += arranged.notes
        broken = next((one.answer for one in trace.asked[asked:] if one.answer.failed), None)
        if arranged.loop:
            return arranged, failures.loop(domain)
        if broken is not None:
            return arranged, failures.unanswered(broken.name, broken.rdtype, broken.reason)
        if any(found.values()):
            return arranged, failures.forbidden(domain, "; ".join(arranged.notes)[:300])
        return arranged, nothing(domain)

    def _route(self, domain: str, site: str, kind: RouteKind, hosts: tuple[Host, ...], trace: _Trace) -> Route:
        return Route(domain, site, kind, hosts, trace.expires, secure=trace.secure)

    # -- asking ---------------------------------------------------------------------------------------------------

    def _addresses(self, names: Sequence[str], families: Sequence[str], trace: _Trace) -> dict[str, tuple[str, ...]]:
        """Addresses by host name; one that is an address already is its own."""
        literals = {name: (name,) for name in names if mx.literal_address(name)}
        wanted = [name for name in dict.fromkeys(names) if name not in literals]
        answers = iter(self._ask([(name, family) for name in wanted for family in families], trace))
        found = {name: tuple(record for _ in families for record in next(answers).records) for name in wanted}
        return {**literals, **found}

    def _ask(self, questions: list[tuple[str, str]], trace: _Trace) -> list[Answer]:
        if not questions:
            return []
        began = self._now()
        held = [self._resolver.cached(folded(name), rdtype, began) for name, rdtype in questions]
        answers = self._resolver.query_all(questions)
        now = self._now()
        for before, answer in zip(held, answers, strict=True):
            trace.expires = min(trace.expires, answer.expires)
            trace.secure = trace.secure and answer.secure
            source = "stale" if answer.stale else "cache" if before is not None else "servers"
            trace.asked.append(Asked(answer, source, max(answer.expires - now, 0.0), now - began))
        return answers


def _is_temporary(outcome: Outcome) -> bool:
    return outcome.reply.code < 500
