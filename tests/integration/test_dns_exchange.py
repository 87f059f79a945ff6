"""One question to one server over real sockets, with everything a server may do wrong."""

import os
import resource
from collections.abc import Iterator

import pytest

from fastrelay.config import Dns
from fastrelay.errors import PeerError
from fastrelay.load.name_server import NameServer
from fastrelay.routing import exchange, servers
from fastrelay.routing.answers import Question
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.servers import Server
from fastrelay.runtime import clock

pytestmark = pytest.mark.usefixtures("turning_wheel")
ZONE = """
example.test 300 MX 10 mx.example.test
mx.example.test 60 A 198.41.0.4
"""
MX = Question("example.test", "MX")


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as one:
        yield one


def ask(server: NameServer, seconds: float = 5.0) -> tuple[str, ...]:
    reading = exchange.ask(Server("127.0.0.1", server.port), MX, seconds)
    assert reading.answer is not None
    return reading.answer.records


def test_over_udp(server: NameServer) -> None:
    assert ask(server) == ("10 mx.example.test",)
    assert server.asked == {("example.test", "MX", "udp"): 1}


def test_truncated_goes_over_tcp(server: NameServer) -> None:
    server.fault("example.test", "truncate")
    assert ask(server) == ("10 mx.example.test",)
    assert server.asked["example.test", "MX", "tcp"] == 1


def test_sixty_mx_go_over_tcp_and_arrive(server: NameServer) -> None:
    for n in range(60):
        server.add("example.test", 300, "MX", f"{n} a-rather-long-name-of-a-host-{n}.example.test")
    assert len(ask(server)) == 61
    assert server.asked["example.test", "MX", "tcp"] == 1


def test_a_server_without_edns_is_asked_without(server: NameServer) -> None:
    server.fault("example.test", "no-edns")
    assert ask(server) == ("10 mx.example.test",)
    assert server.asked["example.test", "MX", "udp"] == 2


def test_a_lost_question_is_repeated(server: NameServer) -> None:
    server.fault("example.test", "silent", "1")
    assert ask(server) == ("10 mx.example.test",)


def test_lies_about_other_names_are_no_data(server: NameServer) -> None:
    server.fault("example.test", "lie")
    assert ask(server) == ()


@pytest.mark.parametrize("fault", ["wrong-id", "wrong-question", "garbage", "silent"])
def test_a_server_that_never_answers_our_question_is_a_peer_error(server: NameServer, fault: str) -> None:
    server.fault("*", fault)
    with pytest.raises(PeerError):
        ask(server, 0.3)


def test_a_closed_port_is_known_at_once(server: NameServer) -> None:
    server.close()
    with pytest.raises(PeerError, match="refused"):
        ask(server)


def test_the_resolver_passes_over_a_dead_server_and_keeps_the_answer(server: NameServer) -> None:
    with NameServer(ZONE) as silent:
        silent.fault("*", "silent")
        both = [servers.parse(f"127.0.0.1:{port}") for port in (silent.port, server.port)]
        resolver = Resolver(Dns(timeout=0.8), both)
        for name in ("example.test", "www.example.test", "mx.example.test"):
            assert not resolver.query(name, "MX").failed
        assert both[0].down_until > clock.now()
        before = silent.asked.total()
        assert not resolver.query("other.example.test", "MX").failed
        assert silent.asked.total() == before


def test_descriptors_above_1024_are_no_obstacle(server: NameServer) -> None:
    resolver = Resolver(Dns(), [servers.parse(f"127.0.0.1:{server.port}")])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        answers = resolver.query_all([(f"n{n}.example.test", "A") for n in range(100)])
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(answers) == 100 and not any(one.failed for one in answers)
