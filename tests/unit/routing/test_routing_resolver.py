"""routing/resolver.py: one flight for all, servers in turn, CNAMEs followed, stale answers; clock by hand."""

from collections import Counter
from collections.abc import Callable

import pytest

from fastrelay.config import Dns
from fastrelay.errors import MachineShort, PeerTimeout
from fastrelay.routing.answers import Answer, Question, Status, failure
from fastrelay.routing.resolver import STALE_PATIENCE, Resolver
from fastrelay.routing.servers import Server
from fastrelay.routing.wire import Reading, Verdict
from fastrelay.runtime import tasks

Script = Callable[[Server, Question], Reading]


class World:
    """A scripted name service and a clock."""

    def __init__(self, *servers: str) -> None:
        self.time = 1000.0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.patience: list[float] = []
        self.script: Script = lambda server, question: said(question, "198.41.0.4")
        self.servers = tuple(Server(one) for one in servers or ("192.0.2.1",))
        self.resolver = Resolver(Dns(timeout=4.0), self.servers, ask=self.ask, now=lambda: self.time)

    def ask(self, server: Server, question: Question, seconds: float) -> Reading:
        self.asked[server.address, question.name] += 1
        self.patience.append(seconds)
        tasks.run_loop_once()
        return self.script(server, question)


def said(question: Question, *records: str, ttl: int = 100, chain: tuple[str, ...] = (), follow: str = "") -> Reading:
    status = Status.FOUND if records else Status.NO_DATA
    answer = Answer(question.name, question.rdtype, status, records, ttl=ttl, chain=chain, secure=True)
    return Reading(Verdict.ANSWER, answer, follow)


def servfail(server: Server, question: Question) -> Reading:
    return Reading(Verdict.ANSWER, failure(question, "SERVFAIL"))


def silence(server: Server, question: Question) -> Reading:
    raise PeerTimeout("no reply in time")


def test_asked_once_then_cached() -> None:
    world = World()
    assert world.resolver.query("A.test.", "A").records == ("198.41.0.4",)
    assert world.resolver.query("a.test", "A").ttl == 100
    assert world.asked.total() == 1
    assert world.resolver.cached("a.test", "A", world.time + 99) is not None
    assert world.resolver.cached("a.test", "A", world.time + 100) is None
    assert (world.resolver.hits, world.resolver.misses) == (1, 1)


def test_all_who_wait_share_one_lookup() -> None:
    world = World()
    got: list[Answer] = []
    for _ in range(20):
        tasks.spawn(lambda: got.append(world.resolver.query("a.test", "A")))
    for _ in range(5):
        tasks.run_loop_once()
    assert len(got) == 20 and world.asked.total() == 1


def test_one_who_stops_waiting_takes_nobody_along() -> None:
    world = World()
    got: list[Answer] = []
    first = tasks.spawn(lambda: world.resolver.query("a.test", "A"))
    tasks.spawn(lambda: got.append(world.resolver.query("a.test", "A")))
    tasks.run_loop_once()
    tasks.kill(first)
    for _ in range(5):
        tasks.run_loop_once()
    assert len(got) == 1 and got[0].found


def test_questions_go_out_side_by_side() -> None:
    world = World()
    open_now: list[str] = []

    def script(server: Server, question: Question) -> Reading:
        assert len(open_now) == 2
        return said(question, "198.41.0.4")

    def ask(server: Server, question: Question, seconds: float) -> Reading:
        open_now.append(question.rdtype)
        tasks.run_loop_once()
        return script(server, question)

    resolver = Resolver(Dns(), world.servers, ask=ask, now=lambda: 0.0)
    assert [one.rdtype for one in resolver.query_all([("a.test", "A"), ("a.test", "AAAA")])] == ["A", "AAAA"]


def test_the_next_server_is_asked_after_servfail_or_silence() -> None:
    world = World("192.0.2.1", "192.0.2.2")
    world.script = lambda server, question: (
        servfail(server, question) if server.address == "192.0.2.1" else said(question, "198.41.0.4")
    )
    assert world.resolver.query("a.test", "A").found
    world.script = lambda server, question: (
        silence(server, question) if server.address == "192.0.2.1" else said(question, "198.41.0.4")
    )
    assert world.resolver.query("b.test", "A").found
    assert world.servers[0].failures == 1


def test_a_servfail_of_all_is_asked_once_each_and_named() -> None:
    world = World("192.0.2.1", "192.0.2.2")
    world.script = servfail
    answer = world.resolver.query("a.test", "A")
    assert answer.failed and answer.reason == "192.0.2.1:53: SERVFAIL; 192.0.2.2:53: SERVFAIL"
    assert world.asked.total() == 2
    assert world.resolver.query("a.test", "A").failed and world.asked.total() == 2


def test_silence_of_all_shares_the_time() -> None:
    world = World("192.0.2.1", "192.0.2.2")
    world.script = silence
    answer = world.resolver.query("a.test", "A")
    assert answer.failed and "no reply in time" in answer.reason
    assert world.patience == [1.0, 1.0, 1.0, 1.0]
    assert all(server.down_until > world.time for server in world.servers)


def test_stale_answers_serve_while_servers_fail_and_are_waited_for_less() -> None:
    world = World()
    world.resolver.query("a.test", "A")
    world.time += 200
    world.script = silence
    world.patience.clear()
    answer = world.resolver.query("a.test", "A")
    assert answer.stale and answer.found
    assert world.patience == [pytest.approx(STALE_PATIENCE)]
    assert world.resolver.stales == 1
    world.resolver.query("a.test", "A")
    assert len(world.patience) == 1 and world.resolver.stales == 2


def test_no_descriptor_is_a_failure_not_a_crash() -> None:
    def short(server: Server, question: Question) -> Reading:
        raise MachineShort("System resources exhausted", detail="EMFILE")

    world = World()
    world.script = short
    assert "EMFILE" in world.resolver.query("a.test", "A").reason
    assert world.servers[0].failures == 0


def test_an_open_chain_is_followed() -> None:
    def script(server: Server, question: Question) -> Reading:
        if question.name == "a.test":
            return said(question, ttl=50, chain=("b.test", "c.other"), follow="c.other")
        return said(question, "198.41.0.4", ttl=90, chain=("d.other",))

    world = World()
    world.script = script
    answer = world.resolver.query("a.test", "A")
    assert (answer.name, answer.chain, answer.ttl) == ("a.test", ("b.test", "c.other", "d.other"), 50)


def test_loops_over_several_answers_end() -> None:
    def script(server: Server, question: Question) -> Reading:
        after = {"a.test": "b.test", "b.test": "a.test"}[question.name]
        return said(question, chain=(after,), follow=after)

    world = World()
    world.script = script
    assert world.resolver.query("a.test", "A").reason == "CNAME loop"


def test_endless_chains_over_several_answers_end() -> None:
    def script(server: Server, question: Question) -> Reading:
        after = f"n{int(question.name[1:].partition('.')[0]) + 1}.test"
        return said(question, chain=(after,), follow=after)

    world = World()
    world.script = script
    assert world.resolver.query("n0.test", "A").reason == "CNAME chain too long"
    assert world.asked.total() == 17


def test_what_is_no_name_is_not_asked() -> None:
    world = World()
    for name in ("", "a..test", "x" * 64 + ".test", "a b.test", "a.test/", "ä.test"):
        assert world.resolver.query(name, "MX").status is Status.NO_NAME
    assert world.asked.total() == 0


def test_statistics() -> None:
    world = World()
    world.resolver.query("a.test", "A")
    assert world.resolver.statistics() == {
        "hits": 0,
        "misses": 1,
        "negatives": 0,
        "stales": 0,
        "entries": 1,
        "under_way": 0,
    }
    world.resolver.forget()
    assert world.resolver.statistics()["entries"] == 0
