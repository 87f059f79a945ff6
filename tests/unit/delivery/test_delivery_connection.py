"""connection.py: the dialogue on a stream that plays a host: writes, deadlines, trouble by phase, the end."""

from collections.abc import Sequence
from typing import Any

import pytest

from fastrelay.delivery import connection as module
from fastrelay.delivery import limits
from fastrelay.delivery.connection import Connection, Trouble
from fastrelay.delivery.hosts import Place
from fastrelay.errors import MachineShort, PeerClosed, PeerError, PeerTimeout, SpoolDamaged
from fastrelay.mail.outcome import Phase
from fastrelay.mail.route import Demand, TlsLevel
from fastrelay.runtime import clock
from fastrelay.smtp.client import Client, State
from fastrelay.smtp.phases import CLIENT_SECONDS
from tests.unit.road_ends import HELLO, PARTS, Layer, Link, host
from tests.unit.rooms import HandClock

TO = ["user0@example", "user1@example"]
ONE_BY_ONE = ("8BITMIME",)


def greeted(ceiling: float = 0.0, **script: Any) -> tuple[Connection, Link]:
    """A connection that is ready for mail, and the host's end of it."""
    link = Link(script, HandClock())
    connection = Connection(
        link,
        Client(HELLO),
        Place("mx1.example", "192.0.2.1", 25),
        Demand("example", (host(1),)),
        limits.key_of("example"),
        opened=1000.0,
        tls=TlsLevel.OPPORTUNISTIC,
        reply_ceiling=ceiling,
    )
    connection.converse(b"")
    link.waits.clear()
    link.writes.clear()
    return connection, link


def transact(connection: Connection, parts: Any = PARTS, **more: Any) -> Trouble | None:
    return connection.transact("a@sender.example", TO, parts, size=sum(map(len, parts)), **more)


# -- one transaction --------------------------------------------------------------------------------------------------


def test_two_writes_where_the_host_pipelines() -> None:
    connection, link = greeted(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 100000"))
    assert transact(connection, eightbit=True, smtputf8=True) is None
    size = sum(map(len, PARTS))
    envelope = (
        f"MAIL FROM:<a@sender.example> SIZE={size} BODY=8BITMIME SMTPUTF8\r\n"
        "RCPT TO:<user0@example>\r\nRCPT TO:<user1@example>\r\nDATA\r\n"
    )
    assert link.writes == [envelope.encode(), *PARTS, b".\r\n"], "the parts in one call"
    assert [verdict and verdict[0] for verdict in connection.client.verdicts] == [Phase.DOT] * 2
    assert connection.messages == 1 and connection.is_ready and link.deadline == clock.NEVER


def test_one_command_a_reply_where_it_does_not() -> None:
    connection, link = greeted(extensions=ONE_BY_ONE)
    assert transact(connection) is None and transact(connection) is None
    assert connection.messages == 2
    assert len(link.writes) == 2 * (4 + 3)


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_each_reply_has_the_time_of_its_phase() -> None:
    connection, link = greeted(extensions=ONE_BY_ONE)
    transact(connection)
    phases = [Phase.MAIL, Phase.RCPT, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.CONTENT, Phase.DOT]
    assert link.waits[0] == CLIENT_SECONDS[Phase.MAIL]
    wanted = {CLIENT_SECONDS[phase] for phase in phases}
    assert set(link.waits) <= wanted | {CLIENT_SECONDS[Phase.MAIL]} and CLIENT_SECONDS[Phase.DOT] in link.waits


@pytest.mark.parametrize(
    ("ceiling", "mail", "content", "dot"),
    [
        pytest.param(0.0, 300.0, 180.0, 600.0, id="none"),
        pytest.param(20.0, 20.0, 20.0, 20.0, id="below all"),
        pytest.param(200.0, 200.0, 180.0, 200.0, id="a ceiling is no floor"),
        pytest.param(900.0, 300.0, 180.0, 600.0, id="above all"),
    ],
)
def test_a_ceiling_shortens_waits_and_lengthens_none(ceiling: float, mail: float, content: float, dot: float) -> None:
    connection, link = greeted(ceiling)
    transact(connection)
    assert (link.waits[0], link.waits[-2]) == (mail, dot) and content in link.waits
    assert set(link.waits) <= {mail, content, dot, min(120.0, ceiling or 120.0)}


def test_a_part_of_a_reply_buys_no_time() -> None:
    connection, link = greeted(mail=b"250-2.1.0 slowly\r\n", extensions=ONE_BY_ONE)
    assert isinstance((trouble := transact(connection)) and trouble.error, PeerTimeout)
    assert link.waits == [CLIENT_SECONDS[Phase.MAIL]]


def test_content_has_a_deadline_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    connection, link = greeted()
    before = len(link.waits)
    assert transact(connection, (b"Received: x\r\n", b"S: y\r\n\r\n" + b"z" * 30 + b"\r\n")) is None
    blocks = link.writes[1:]
    assert max(map(len, blocks)) == 10 and b"".join(blocks).endswith(b"z\r\n.\r\n")
    assert link.waits[before:].count(CLIENT_SECONDS[Phase.CONTENT]) >= len(blocks)


@pytest.mark.parametrize(("join", "writes"), [(10_000, 1), (10, 3)])
def test_small_content_goes_out_as_one_record_under_tls(
    join: int, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JOIN", join)
    connection, link = greeted()
    link.tls = Layer()
    assert transact(connection) is None
    assert len(link.writes) == 1 + writes and b"".join(link.writes[1:]) == b"".join(PARTS) + b".\r\n"


class Drawn(Sequence[bytes]):
    """Parts that are read as they are asked for. drawn: how many writes the host had seen at each."""

    def __init__(self, link: Link, parts: Sequence[bytes], error: Exception | None = None) -> None:
        self.link = link
        self.parts = parts
        self.error = error
        self.drawn: list[int] = []

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: Any) -> Any:
        octets = self.parts[index]
        self.drawn.append(len(self.link.writes))
        if self.error is not None and index == len(self.parts) - 1:
            raise self.error
        return octets


def send(connection: Connection, parts: Sequence[bytes]) -> Trouble | None:
    return connection.transact("a@sender.example", TO, parts, size=1000)


def test_parts_that_are_not_in_memory_are_drawn_and_sent_one_by_one() -> None:
    connection, link = greeted()
    parts = Drawn(link, [b"Received: x\r\n", b"S: y\r\n\r\n.z\r", b"\nw", b"end"])
    assert send(connection, parts) is None
    assert link.writes[1:] == [b"Received: x\r\n", b"S: y\r\n\r\n..z\r", b"\nw", b"end", b"\r\n.\r\n"]
    assert parts.drawn == [1, 2, 3, 4], "each when the one before is on its way"
    assert link.waits.count(CLIENT_SECONDS[Phase.CONTENT]) >= 5, "each has a block's time"
    assert send(connection, Drawn(link, [])) is None, "the session goes on"


@pytest.mark.parametrize("error", [SpoolDamaged("changed"), MachineShort("the disk fails")])
def test_what_drawing_raises_comes_out_and_no_dot_goes(error: Exception) -> None:
    connection, link = greeted()
    with pytest.raises(type(error)):
        send(connection, Drawn(link, [b"S: y\r\n\r\n", b"half", b"never"], error))
    assert link.writes[1:] == [b"S: y\r\n\r\n", b"half"] and connection.client.state is State.CONTENT
    connection.close()
    assert link.was_reset


def test_a_host_that_refuses_in_the_middle_is_sent_nothing_more() -> None:
    words = {"content": (None, PeerClosed("reset")), "last words": b"552 5.3.4 too much\r\n"}
    connection, link = greeted(**words)
    parts = Drawn(link, [b"S: y\r\n\r\n", b"one", b"two"])
    assert send(connection, parts) is None
    assert len(parts.drawn) == 2
    assert [verdict and verdict[1].code for verdict in connection.client.verdicts] == [552, 552]


# -- trouble ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", PeerTimeout("late"), PeerClosed("reset"), b"what\r\n"])
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("step", "phase"), [("mail", Phase.MAIL), ("rcpt", Phase.RCPT), ("data", Phase.DATA), ("dot", Phase.DOT)]
)
def test_trouble_names_the_phase_and_is_uncertain_after_the_dot_alone(
    step: str, phase: Phase, pipelining: bool, ending: Any
) -> None:
    connection, link = greeted(**{step: ending}, extensions=("PIPELINING",) if pipelining else ())
    trouble = transact(connection)
    assert trouble is not None
    assert (trouble.phase, trouble.uncertain) == (phase, phase is Phase.DOT)
    assert type(trouble.error) is (
        type(ending) if isinstance(ending, Exception) else PeerError if ending else PeerClosed
    )
    assert connection.client.verdicts == [None, None]
    assert not connection.is_ready and link.deadline == clock.NEVER
    assert connection.content_begun is (phase is Phase.DOT)


@pytest.mark.parametrize(
    ("last_words", "verdict"),
    [
        (b"552 5.3.4 enough\r\n", 552),
        (b"421 4.3.2 going down\r\n", 421),
        (b"250 2.0.0 taken unread\r\n", None),
        (b"nonsense\r\n", None),
        (b"", None),
        (PeerClosed("reset"), None),
    ],
)
def test_last_words_decide_where_they_refuse(last_words: Any, verdict: int | None) -> None:
    connection, _ = greeted(content=PeerClosed("broken pipe"), **{"last words": last_words})
    trouble = transact(connection)
    if verdict is None:
        assert trouble is not None and connection.client.verdicts == [None, None]
        assert (trouble.phase, trouble.uncertain) == (Phase.CONTENT, False)
        return
    assert trouble is None, "it befell nobody: all have the host's word"
    assert [(said[0], said[1].code) for said in connection.client.verdicts if said] == [(Phase.CONTENT, verdict)] * 2
    assert not connection.is_ready


def test_silence_while_content_is_sent_is_no_time_for_last_words() -> None:
    connection, link = greeted(content=PeerTimeout("late"))
    trouble = transact(connection)
    assert trouble is not None and (trouble.phase, trouble.uncertain) == (Phase.CONTENT, False)
    assert link.waits[-1] == CLIENT_SECONDS[Phase.CONTENT]


# -- may it be used again ---------------------------------------------------------------------------------------------


def test_alive_is_ready_and_quiet() -> None:
    connection, link = greeted()
    assert connection.is_alive()
    link.quiet = False
    assert connection.is_ready and not connection.is_alive()
    link.quiet = True
    connection.client.state = State.CLOSED
    assert not connection.is_alive()


def test_fresh_until_a_transaction_begins() -> None:
    connection, _ = greeted(mail=b"550 5.7.1 no\r\n")
    assert connection.is_fresh
    transact(connection)
    assert not connection.is_fresh and connection.is_ready


def test_what_it_says_of_itself() -> None:
    connection, link = greeted()
    assert (connection.host, connection.address, connection.local_address) == ("mx1.example", "192.0.2.1", "192.0.2.99")
    assert repr(connection) == "<Connection mx1.example[192.0.2.1] ready, 0 messages, OPPORTUNISTIC>"
    connection.encrypted(TlsLevel.REQUIRE)
    assert (connection.tls, connection.tls_version, connection.tls_cipher) == (TlsLevel.REQUIRE, "", "")
    link.tls = Layer()
    connection.encrypted(TlsLevel.REQUIRE)
    link.close()
    assert (connection.tls_version, connection.tls_cipher) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        pytest.param({}, "QUIT", id="after a clean end"),
        pytest.param({"rcpt": b"550 5.1.1 no\r\n"}, "QUIT", id="after a refusal"),
        pytest.param({"mail": b"421 4.3.2 bye\r\n"}, "", id="421: it hangs up itself"),
        pytest.param({"rcpt": b""}, "", id="lost"),
        pytest.param({"content": PeerTimeout("late")}, "reset", id="in the content"),
        pytest.param({"dot": PeerTimeout("late")}, "reset", id="after the dot"),
    ],
)
def test_close(script: dict[str, Any], wanted: str) -> None:
    connection, link = greeted(**script)
    transact(connection)
    connection.close()
    connection.close()
    assert link.closed and link.was_reset is (wanted == "reset")
    assert link.told.count("QUIT") == (wanted == "QUIT")


def test_a_host_that_refused_us_hears_quit() -> None:
    connection, link = greeted(banner=b"554 5.7.1 no\r\n")
    connection.close()
    assert link.told == ["QUIT"]
