"""The resolver: any question, one Answer, never an error; cached, asked once for all who wait, bounded.

The servers are the system's or the configured ones, expected to be recursive: what they answer is cached and CNAMEs
they leave open are followed here (16 links at most, no loops). The search list of resolv.conf is never applied. Each
lookup is a task of its own, so that one who stops waiting takes nobody's answer along, and several questions go out
side by side; at most MAX_LOOKUPS are under way, the rest wait their turn.

A lookup takes at most `timeout` seconds over all servers and repeats; with a stale answer at hand 1.8 s (RFC 8767 5).
A server that says SERVFAIL or REFUSED is not asked again in the same lookup, the others are.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from fastrelay.config import Dns
from fastrelay.errors import MachineShort, PeerError
from fastrelay.routing import exchange
from fastrelay.routing.answers import MAX_CHAIN, Answer, Question, Status, failure, folded, is_host_name
from fastrelay.routing.cache import AnswerCache
from fastrelay.routing.servers import Server, from_resolv_conf, parse, plan
from fastrelay.routing.wire import Reading, Verdict
from fastrelay.runtime import clock, tasks

MAX_LOOKUPS = 500  # sockets under way per worker: 10 % of a usual descriptor limit, 5,000 domains/s at 100 ms each
STALE_PATIENCE = 1.8  # seconds waited for a fresh answer where a stale one would do (RFC 8767 5)

RESOLV_CONF = Path("/etc/resolv.conf")

Ask = Callable[[Server, Question, float], Reading]


class _Flight:
    """A lookup under way and those who wait for it."""

    __slots__ = ("answer", "waiters")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.waiters: list[tasks.Parking] = []


class Resolver:
    """hits, misses, negatives, stales: how questions ended, for the metric dns_cache_total."""

    __slots__ = (
        "_ask",
        "_cache",
        "_flights",
        "_now",
        "_permits",
        "_timeout",
        "hits",
        "misses",
        "negatives",
        "servers",
        "stales",
    )

    def __init__(
        self,
        settings: Dns,
        servers: Iterable[Server],
        *,
        ask: Ask = exchange.ask,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self.servers = tuple(servers)
        self._ask = ask
        self._now = now
        self._timeout = settings.timeout
        self._cache = AnswerCache(
            settings.cache_size,
            min_ttl=settings.min_ttl,
            max_ttl=settings.max_ttl,
            negative_ttl=settings.negative_ttl,
            stale=settings.stale,
        )
        self._flights: dict[Question, _Flight] = {}
        self._permits = tasks.Permits(MAX_LOOKUPS)
        self.hits = self.misses = self.negatives = self.stales = 0

    # -- asking ---------------------------------------------------------------------------------------------------

    def cached(self, name: str, rdtype: str, now: float) -> Answer | None:
        """What the cache holds in its time (stale answers in their extension included). Never waits, counts nothing."""
        return self._cache.fresh(Question(folded(name), rdtype), now)

    def query(self, name: str, rdtype: str) -> Answer:
        """The answer; may wait."""
        return self.query_all([(name, rdtype)])[0]

    def query_all(self, questions: Iterable[tuple[str, str]]) -> list[Answer]:
        """The answers in the order asked; the lookups they need run side by side. May wait."""
        begun = [self._begin(Question(folded(name), rdtype)) for name, rdtype in questions]
        return [one if isinstance(one, Answer) else self._wait(one) for one in begun]

    def _begin(self, question: Question) -> Answer | _Flight:
        answer = self._cache.fresh(question, self._now())
        if answer is not None:
            self._count(answer)
            return answer
        if not is_host_name(question.name):
            return Answer(question.name, question.rdtype, Status.NO_NAME, expires=self._now(), reason="not a name")
        flight = self._flights.get(question)
        if flight is None:
            self.misses += 1
            flight = self._flights[question] = _Flight()
            tasks.spawn(self._fly, question, flight)
        return flight

    def _wait(self, flight: _Flight) -> Answer:
        if flight.answer is None:
            place = tasks.Parking()
            flight.waiters.append(place)
            place.wait()
        assert flight.answer is not None
        return flight.answer

    def _count(self, answer: Answer) -> None:
        if answer.stale:
            self.stales += 1
        elif answer.found:
            self.hits += 1
        else:
            self.negatives += 1

    # -- looking up -----------------------------------------------------------------------------------------------

    def _fly(self, question: Question, flight: _Flight) -> None:
        answer = failure(question, "the lookup was stopped")
        try:
            with self._permits:
                answer = self._look_up(question)
        finally:
            answer = self._cache.keep(question, answer, self._now())
            self.stales += answer.stale
            del self._flights[question]
            flight.answer = answer
            for place in flight.waiters:
                place.wake()

    def _look_up(self, question: Question) -> Answer:
        """Ask, and follow the CNAMEs a server leaves open; one time budget for all."""
        began = self._now()
        patience = self._timeout
        if self._cache.usable(question, began) is not None:
            patience = min(patience, STALE_PATIENCE)
        deadline = began + patience
        reading = self._ask_servers(question, deadline)
        answer = reading.answer
        assert answer is not None
        while reading.follow:
            chain = answer.chain
            if not is_host_name(reading.follow):
                return failure(question, f"CNAME leads to {reading.follow!r}, which is no host name", chain)
            reading = self._ask_servers(Question(reading.follow, question.rdtype), deadline)
            step = reading.answer
            assert step is not None
            links = chain + step.chain
            if len(links) > MAX_CHAIN or len(set(links)) < len(links) or question.name in links:
                return failure(question, "CNAME loop" if len(links) <= MAX_CHAIN else "CNAME chain too long", links)
            answer = msgspec.structs.replace(
                step,
                name=question.name,
                chain=links,
                ttl=min(answer.ttl, step.ttl) if answer.ttl else step.ttl,
                secure=answer.secure and step.secure,
            )
        return answer

    def _ask_servers(self, question: Question, deadline: float) -> Reading:
        """The first server that knows; a failure naming each that did not."""
        reasons: list[str] = []
        refused: set[Server] = set()
        for server, seconds in plan(self.servers, self._now(), deadline - self._now()):
            left = deadline - self._now()
            if server in refused or left <= 0:
                continue
            try:
                reading = self._ask(server, question, min(seconds, left))
            except PeerError as error:
                server.missed(self._now())
                reasons.append(f"{server}: {error}")
                continue
            except MachineShort as error:
                return Reading(Verdict.ANSWER, failure(question, str(error)))
            server.answered()
            assert reading.answer is not None
            if not reading.answer.failed:
                return reading
            refused.add(server)
            reasons.append(f"{server}: {reading.answer.reason}")
        return Reading(Verdict.ANSWER, failure(question, "; ".join(dict.fromkeys(reasons)) or "no time left"))

    # -- for operators --------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Drop every cached answer."""
        self._cache.forget()

    def statistics(self) -> dict[str, int]:
        """Counts since the start, entries now, lookups under way."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "negatives": self.negatives,
            "stales": self.stales,
            "entries": len(self._cache),
            "under_way": len(self._flights),
        }


def configured(settings: Dns, *, system: Path = RESOLV_CONF) -> Resolver:
    """The resolver `[dns]` asks for: its nameservers, else the system's. ConfigError for what is no address."""
    if settings.nameservers:
        return Resolver(settings, [parse(text) for text in settings.nameservers])
    try:
        text = system.read_text(encoding="ascii", errors="replace")
    except OSError:
        text = ""  # without the file the name server is this machine's own, as for libc
    return Resolver(settings, from_resolv_conf(text))
