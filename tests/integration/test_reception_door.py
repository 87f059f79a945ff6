"""The front door over real sockets: limits, balance, drain, deadlines by a clock turned by hand, TLS."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config import Listener, Rate
from fastrelay.errors import PeerClosed
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.reception import door as door_module
from fastrelay.reception.door import Door
from fastrelay.reception.policy import Policy
from fastrelay.runtime import clock, stream, tasks, tls
from fastrelay.runtime.certificates import Certificates
from fastrelay.runtime.stream import Stream
from fastrelay.smtp.terms import Terms
from tests.peers.certificates import Authority
from tests.peers.front_desk import HOSTNAME, FakeIntake, FakeLedger, FakeLog, Taken

EHLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"
BODY = b"Subject: x\r\n\r\nHello\r\n"
DOT = b".\r\n"


class Hand:
    """A monotonic clock turned by hand, and the wheel with it."""

    def __init__(self, wheel: clock.DeadlineWheel) -> None:
        self.value = 1000.0
        self.wheel = wheel

    def __call__(self) -> float:
        return self.value

    def turn(self, seconds: float) -> None:
        loop_turns()  # what was sent is read before the time passes
        self.value += seconds
        self.wheel.turn(self.value)
        loop_turns()


def loop_turns(count: int = 3) -> None:
    """So many turns in which sockets were looked at."""
    for _ in range(count):
        place = tasks.Parking()
        tasks.later(place.wake)
        place.wait()


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    wheel = clock.DeadlineWheel(at=1000.0)
    one = Hand(wheel)
    monkeypatch.setattr(stream, "wheel", wheel)
    monkeypatch.setattr(clock, "now", one)
    return one


class House:
    """A door with its neighbours, and clients of it."""

    def __init__(self, sock: socket.socket, *, certificates: Certificates | None = None, **more: Any) -> None:
        self.intake, self.ledger, self.log, self.counts = FakeIntake(), FakeLedger(), FakeLog(), Counts()
        self.asked: list[int] = []
        self.welcome = True
        self.memory = 0.0
        self.name = sock.getsockname()
        policy = Policy(Listener(**more), HOSTNAME, tarpit_seconds=0.0)
        self.door = Door(
            policy, [sock], self.intake, self.ledger, self.log, self.counts, tls=certificates, balance=self._balance,
            memory=lambda: self.memory,
        )  # fmt: skip
        self.door.open()

    def _balance(self, change: int) -> bool:
        self.asked.append(change)
        return self.welcome

    def connect(self) -> Stream:
        host, port = (f"unix:{self.name}", 0) if isinstance(self.name, str) else self.name[:2]
        return stream.connect(host, port, seconds=10_000.0)

    def client(self, *sent: bytes) -> Stream:
        """One that has said so much and heard all answers."""
        one = self.connect()
        heard(one)
        for chunk in sent:
            one.write(chunk)
            heard(one, chunk.count(b"\r\n"))
        return one


@pytest.fixture
def house() -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def build(sock: socket.socket | None = None, **more: Any) -> House:
        houses.append(House(sock or socket.create_server(("127.0.0.1", 0)), **more))
        return houses[-1]

    yield build
    for one in houses:
        one.door.drain(0.0)


def heard(client: Stream, replies: int = 1) -> list[str]:
    """So many replies; the lines of all."""
    octets = b""
    while True:
        lines = octets.decode().split("\r\n")
        if octets.endswith(b"\r\n") and sum(line[3:4] == " " for line in lines) >= replies:
            return lines[:-1]
        came = client.read()
        assert came, f"closed after {octets!r}"
        octets += came


def rest(client: Stream) -> str:
    """All that still comes, up to the end."""
    octets = b""
    while True:
        until(lambda: not client.is_quiet())
        if not (came := client.read()):
            return octets.decode()
        octets += came


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it never came true"
        tasks.run_loop_once()


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_client_over_its_limit_hears_421_and_a_place_comes_back(house: Callable[..., House]) -> None:
    here = house(relay_from=("192.0.2.0/24",), max_connections_per_client=2)
    first, second = here.client(EHLO), here.client()
    third = here.connect()
    assert rest(third) == "421 4.7.0 relay.example Too many connections from your address\r\n"
    assert here.counts.throttled == {"client": 1}
    first.close()
    until(lambda: here.ledger.held[LimitKey("client", ("127.0.0.1",))] == 1)
    here.client(EHLO).close()
    second.close()


def test_all_together_have_a_limit(house: Callable[..., House]) -> None:
    here = house(max_connections=1)
    first = here.client()
    assert rest(here.connect()) == "421 4.3.2 relay.example Too many connections, try again later\r\n"
    assert here.counts.throttled == {"connections": 1} and here.counts.sessions == 1
    first.close()
    until(lambda: here.door.sessions == 0)
    assert here.counts.in_active == 0 and set(here.ledger.held.values()) == {0}


def test_new_connections_by_the_clock(house: Callable[..., House]) -> None:
    here = house(connection_rate_per_client=Rate(2, 3600))
    for _ in range(2):
        here.client(EHLO).close()
    answer = "421 4.7.0 relay.example Too many new connections from your address, try again in 1800 seconds"
    for _ in range(3):
        assert rest(here.connect()) == f"{answer}\r\n"
    until(lambda: here.door.sessions == 0)
    assert here.counts.throttled == {"connection_rate": 3} and here.counts.sessions == 2
    assert set(here.ledger.held.values()) == {0}
    (event,) = here.log.of("Rejection")  # one for all of a minute
    assert event["reason"] == answer and event["peer_address"]["addr"] == "127.0.0.1"
    (line,) = here.log.lines
    assert line.endswith("127.0.0.1 is over connection_rate_per_client = 2/3600s")


def test_a_peer_that_speaks_for_others_is_not_counted_itself(house: Callable[..., House]) -> None:
    here = house(connection_rate_per_client=Rate(1, 3600), xclient_from=("127.0.0.0/8",))
    for _ in range(3):
        here.client(EHLO).close()
    first = here.client(b"XCLIENT ADDR=203.0.113.9\r\n", EHLO)
    second = here.client()
    second.write(b"XCLIENT ADDR=203.0.113.9\r\n")
    assert rest(second).splitlines()[1].startswith("421 4.7.0 relay.example Too many new connections")
    assert here.counts.throttled == {"connection_rate": 1}
    first.close()


def test_the_reserve_is_for_the_unlimited_alone(house: Callable[..., House]) -> None:
    reserve = {"max_connections": 3, "reserved_connections": 1}
    strict = house(**reserve, unlimited_from=("192.0.2.0/24",))
    clients = [strict.client() for _ in range(2)]
    assert rest(strict.connect()).startswith("421 4.3.2 ")
    favoured = house(**reserve, unlimited_from=("127.0.0.0/8",))
    clients += [favoured.client() for _ in range(3)]
    assert rest(favoured.connect()).startswith("421 4.3.2 ")
    for one in clients:
        one.close()


def test_a_ledger_that_is_busy_is_asked_again_for_a_while(house: Callable[..., House]) -> None:
    here = house()
    here.ledger.busy = 3
    here.client(EHLO).close()
    assert here.ledger.busy == 0 and not here.counts.throttled
    here.ledger.busy, here.ledger.later = 1, door_module.PATIENCE + 1.0
    assert rest(here.connect()).startswith("421 4.3.2 ")


# -- balance ----------------------------------------------------------------------------------------------------------


def test_balance_hears_of_each_session_and_its_no_leaves_connections_to_others(house: Callable[..., House]) -> None:
    here = house()
    assert here.asked == [0]
    first = here.client()
    assert here.asked == [0, 1]
    here.welcome = False
    second = here.client()
    assert not here.door.statistics()["accepting"]
    third = here.connect()  # waits in the backlog
    until(lambda: here.asked.count(0) >= 3)
    assert third.is_quiet() and here.door.sessions == 2
    here.welcome = True
    assert heard(third) == ["220 relay.example ESMTP ready"]
    for one in (first, second, third):
        one.close()
    until(lambda: here.door.sessions == 0)
    assert here.asked.count(1) == here.asked.count(-1) == 3


def test_pause_leaves_sessions_alone(house: Callable[..., House]) -> None:
    here = house()
    first = here.client(EHLO)
    here.door.pause()
    second = here.connect()
    first.write(b"NOOP\r\n")
    assert heard(first) == ["250 2.0.0 Ok"] and second.is_quiet()
    here.door.open()
    assert heard(second) == ["220 relay.example ESMTP ready"]


# -- the end ----------------------------------------------------------------------------------------------------------


def test_drain_tells_the_idle_and_lets_transactions_end(house: Callable[..., House]) -> None:
    here = house()
    fresh, idle, busy = here.client(), here.client(EHLO), here.client(EHLO, ENVELOPE)
    done: list[str] = []
    tasks.spawn(lambda: done.append(str(here.door.drain(20.0))))
    closing = "421 4.3.2 relay.example Closing, come back later\r\n"
    assert rest(fresh) == closing and rest(idle) == closing
    with pytest.raises(PeerClosed):
        here.connect()
    assert here.door.sessions == 1 and done == []
    busy.write(BODY + DOT)
    assert rest(busy).endswith("\r\n" + closing)
    until(lambda: done)
    assert len(here.intake.messages) == 1


def test_drain_cuts_who_does_not_end_and_forgets_what_has_no_dot(house: Callable[..., House]) -> None:
    here = house()
    busy = here.client(EHLO, ENVELOPE)
    busy.write(BODY)
    here.door.drain(0.0)
    assert rest(busy).startswith("421 4.3.2") and here.intake.messages == [] and here.door.sessions == 0


def test_a_drain_whose_patience_is_ended(house: Callable[..., House]) -> None:
    here = house()
    busy = here.client(EHLO, ENVELOPE)
    done: list[bool] = []
    tasks.spawn(lambda: done.append(here.door.drain(1000.0) is None))
    loop_turns()
    assert busy.is_quiet() and not done
    here.door.cut()
    assert rest(busy).startswith("421 4.3.2")
    until(lambda: done)


def test_a_session_that_never_ends_is_ended(house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "_LAST_WORDS", 0.01)
    here = house()
    here.intake.before_accept = lambda message: tasks.Event().wait()
    busy = here.client(EHLO, ENVELOPE)
    busy.write(BODY + DOT)
    loop_turns()
    here.door.drain(0.0)
    assert rest(busy) == "" and here.door.sessions == 0 and set(here.ledger.held.values()) == {0}


def test_drain_awaits_the_disk_for_a_message_whose_dot_has_come(house: Callable[..., House]) -> None:
    here = house()
    disk = tasks.Event()
    here.intake.before_accept = lambda message: disk.wait()
    busy = here.client(EHLO, ENVELOPE)
    busy.write(BODY + DOT)
    tasks.spawn(here.door.drain, 0.0)
    loop_turns()
    disk.set()
    assert rest(busy).startswith("250 2.0.0 Ok: queued as")
    until(lambda: here.door.sessions == 0)


def test_a_client_that_disconnects_in_content_leaves_nothing(house: Callable[..., House]) -> None:
    here = house()
    for leave in (Stream.close, Stream.reset):
        busy = here.client(EHLO, ENVELOPE)
        busy.write(BODY + b"x" * 70 + b"\r\n")
        leave(busy)
        until(lambda: here.door.sessions == 0)
    assert here.intake.messages == [] and set(here.ledger.held.values()) == {0}


def test_a_broken_house_is_loud_and_gives_every_place_back(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes: list[BaseException] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(error))
    here = house()

    def break_down(message: Taken) -> None:
        raise RuntimeError("no such row")

    here.intake.before_accept = break_down
    busy = here.client(EHLO, ENVELOPE)
    busy.write(BODY + DOT)
    assert rest(busy) == ""
    until(lambda: here.door.sessions == 0)
    assert [str(error) for error in crashes] == ["no such row"] and set(here.ledger.held.values()) == {0}


# -- stress -----------------------------------------------------------------------------------------------------------


def test_stress_shortens_commands_also_of_those_who_wait_and_ends_with_the_crowd(
    house: Callable[..., House], hand: Hand
) -> None:
    here = house(max_connections=10)
    busy = here.client(EHLO, ENVELOPE)
    others = [here.client(EHLO) for _ in range(6)]
    here.door.tick()
    assert not here.log.lines and here.counts.stress == 0
    others.append(here.client())
    here.door.tick()
    here.door.tick()
    assert len(here.log.lines) == 1 and here.log.lines[0].startswith(
        "warning listener 127.0.0.1:2525 under stress: 8 of 10 connections"
    )
    assert here.counts.stress == 1 and here.door.statistics()["stress"]
    late = here.client()
    hand.turn(12.0)
    for one in (*others, late):
        assert rest(one) == TIMEOUT
    until(lambda: here.door.sessions == 1)
    assert busy.is_quiet(), "a message on its way keeps its time"
    here.door.tick()
    assert len(here.log.lines) == 2 and "no more under stress: 1 of 10" in here.log.lines[1]
    assert here.counts.stress == 0
    busy.write(BODY + DOT)
    heard(busy)
    hand.turn(250.0)
    assert busy.is_quiet()


def test_under_stress_the_first_error_is_the_last(house: Callable[..., House]) -> None:
    here = house()
    before = here.client(EHLO)
    here.memory = 0.96
    here.door.tick()
    before.write(b"NOPE\r\n")
    assert rest(before) == "500 5.5.1 Command not recognised\r\n421 4.7.0 relay.example Too many errors, closing\r\n"
    after = here.client(EHLO)
    after.write(b"NOPE\r\n")
    assert rest(after).endswith("421 4.7.0 relay.example Too many errors, closing\r\n")
    here.memory = 0.8
    here.door.tick()
    calm = here.client(EHLO)
    calm.write(b"NOPE\r\n")
    assert heard(calm) == ["500 5.5.1 Command not recognised"]
    assert [line.split()[0] for line in here.log.lines] == ["warning", "info"]


# -- the last word ----------------------------------------------------------------------------------------------------


def blast(sock: socket.socket, octets: bytes) -> bytes:
    """Send all, then hear all, as a blocking client in a thread of its own. ConnectionError where a reset takes it."""
    sock.settimeout(20.0)

    def play() -> bytes:
        sock.sendall(octets)
        heard = b""
        while came := sock.recv(65536):
            heard += came
        return heard

    heard: bytes = tasks.in_thread_to_end(play)
    return heard


@pytest.mark.parametrize(
    ("octets", "last"),
    [
        (EHLO + b"RSET\r\n" * 40_000, b"554 5.5.0 "),
        (b"NOPE\r\n" * 40_000, b"421 4.7.0 "),
        (b"BDAT many LAST\r\n" + b"x" * 500_000, b"501 5.5.4 "),
        (b"QUIT\r\n" + b"x" * 300_000, b"221 2.0.0 "),
    ],
    ids=["ahead", "errors", "bdat", "quit"],
)
def test_a_client_that_keeps_sending_still_hears_why_it_ends(
    house: Callable[..., House], octets: bytes, last: bytes
) -> None:
    here = house()
    with socket.create_connection(here.name) as client:
        assert blast(client, octets).splitlines()[-1].startswith(last)
    until(lambda: here.door.sessions == 0)


def test_who_lingers_holds_a_place_and_delays_no_drain(house: Callable[..., House]) -> None:
    here = house()
    client = here.client()
    client.write(EHLO + b"NOOP\r\n")
    assert rest(client).startswith("554 5.5.0")
    loop_turns()
    assert here.door.sessions == 1 and here.ledger.held[LimitKey("listener", ("127.0.0.1:2525",))] == 1
    here.door.drain(1000.0)
    assert here.door.sessions == 0 and set(here.ledger.held.values()) == {0}


# -- deadlines --------------------------------------------------------------------------------------------------------

TIMEOUT = "421 4.4.2 relay.example Nothing came in time, closing\r\n"
PHASES: dict[str, tuple[list[bytes], float]] = {
    "banner": ([], 300.0),
    "ehlo": ([EHLO], 300.0),
    "mail": ([EHLO, ENVELOPE.split(b"RCPT")[0]], 300.0),
    "rcpt": ([EHLO, ENVELOPE.replace(b"DATA\r\n", b"")], 300.0),
    "content": ([EHLO, ENVELOPE], 180.0),
}


@pytest.mark.parametrize("phase", PHASES)
def test_silence_ends_each_phase_in_its_time(house: Callable[..., House], hand: Hand, phase: str) -> None:
    said, seconds = PHASES[phase]
    here = house()
    client = here.client(*said)
    hand.turn(seconds - 2.0)
    assert client.is_quiet()
    hand.turn(4.0)
    assert rest(client) == TIMEOUT
    until(lambda: here.door.sessions == 0)
    assert here.intake.messages == []


def test_a_command_in_drips_has_one_deadline(house: Callable[..., House], hand: Hand) -> None:
    here = house()
    client = here.client()
    for octet in b"EHLO cli":
        client.write(bytes((octet,)))
        hand.turn(37.0)
    assert client.is_quiet()
    hand.turn(10.0)
    assert rest(client) == TIMEOUT


def test_content_in_drips_ends_at_the_least_rate(house: Callable[..., House], hand: Hand) -> None:
    here = house(data_timeout=180.0, min_data_rate=500.0)
    client = here.client(EHLO, ENVELOPE)
    drips = 0
    while client.is_quiet() and drips < 1000:
        client.write(b"x")  # every 5 s: 0.2 octets a second
        hand.turn(5.0)
        drips += 1
    assert 34 <= drips <= 38  # 180 s, the grace; not 1000 drips
    assert rest(client) == TIMEOUT and here.intake.messages == []


def test_a_client_that_reads_no_replies_does_not_stay(house: Callable[..., House], hand: Hand) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it its least, some 4 KB
    here = house(listening)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect(here.name)
        client.settimeout(20.0)
        client.sendall(b"HELP\r\n" * 100)
        until(lambda: here.door.sessions == 1)
        hand.turn(298.0)
        assert here.door.sessions == 1
        hand.turn(4.0)
        until(lambda: here.door.sessions == 0)
        octets = 0
        while came := client.recv(65536):
            octets += len(came)
        assert octets < 100 * len(Terms(HOSTNAME).help)  # so it was a write that waited


# -- other ways in ----------------------------------------------------------------------------------------------------


def test_a_local_socket_may_relay(house: Callable[..., House], tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "in"))
    sock.listen()
    here = house(sock, relay_from=())
    client = here.client(EHLO, ENVELOPE)
    client.write(BODY + DOT)
    heard(client)
    (message,) = here.intake.messages
    assert message.envelope.client == "unix" and b"(local socket)" in message.prefix


def test_ipv6(house: Callable[..., House]) -> None:
    try:
        sock = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    here = house(sock)
    client = here.client(EHLO, ENVELOPE)
    client.write(BODY + DOT)
    heard(client)
    assert b"(unknown [IPv6:::1])" in here.intake.messages[0].prefix


def both_sides(authority: Authority) -> tuple[Certificates, ssl.SSLContext]:
    leaf = authority.issue("relay.example")
    return Certificates([(str(leaf.certificate), str(leaf.key))]), tls.client_context(verify=False)


def test_starttls_forgets_what_was_said_in_plaintext(house: Callable[..., House], authority: Authority) -> None:
    server, ours = both_sides(authority)
    here = house(certificates=server, tls="required")
    client = here.client()
    client.write(EHLO)
    assert "250 STARTTLS" in heard(client)
    client.write(b"MAIL FROM:<a@client.example>\r\n")
    assert heard(client) == ["530 5.7.0 STARTTLS first"]
    client.write(b"STARTTLS\r\n")
    assert heard(client) == ["220 2.0.0 Ready to start TLS"]
    client.start_tls(ours, server_side=False)
    client.write(b"MAIL FROM:<a@client.example>\r\n")
    assert heard(client) == ["503 5.5.1 EHLO first"]
    client.write(EHLO)
    assert not any("STARTTLS" in line for line in heard(client))
    client.write(ENVELOPE)
    heard(client, 3)
    client.write(BODY + DOT)
    heard(client)
    assert b"with ESMTPS id" in here.intake.messages[0].prefix
    assert here.log.of("Reception")[0]["tls_protocol_version"].startswith("TLSv1.")


def test_implicit_tls_and_a_failed_handshake(house: Callable[..., House], authority: Authority) -> None:
    server, ours = both_sides(authority)
    here = house(certificates=server, tls="implicit")
    client = here.connect()
    client.start_tls(ours, server_side=False)
    heard(client)
    client.write(EHLO)
    heard(client)
    plain = here.connect()
    plain.write(EHLO)
    until(lambda: here.log.of("Rejection"))
    assert here.log.of("Rejection")[0]["reason"].startswith("TLS handshake failed")
    until(lambda: here.door.sessions == 1)
