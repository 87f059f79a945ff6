"""What a client may begin in a time: whose it is, what a session spends, what is told; and what costs nothing."""

from typing import Any

import pytest

from fastrelay.config import Listener, Rate
from fastrelay.mail.reply import Reply
from fastrelay.metrics import Counts
from fastrelay.reception import allowance as allowance_module
from fastrelay.reception import bulletin as bulletin_module
from fastrelay.reception.allowance import Allowance, Rates
from fastrelay.reception.bulletin import EVERY, Bulletin
from fastrelay.reception.policy import Policy
from fastrelay.reception.session import Session
from fastrelay.settlement.word import asked
from tests.peers.front_desk import HOSTNAME, FakeBuckets, FakeIntake, FakeLog, ScriptStream, desk_of

TWO, THREE = Rate(2, 3600), Rate(3, 3600)
CLIENT = "192.0.2.1"
ENVELOPE = [b"MAIL FROM:<a@c.example>\r\n", b"RCPT TO:<b@d.example>\r\n", b"RSET\r\n"]


class Desk:
    """The rates of one listener, and what they count and say."""

    def __init__(self, buckets: FakeBuckets | None = None, name: str = "127.0.0.1:2525", **keys: Any) -> None:
        self.counts, self.log, self.buckets = Counts(), FakeLog(), buckets or FakeBuckets()
        policy = Policy(Listener(address=name, **keys), HOSTNAME)
        assert policy.has_rates
        self.rates = Rates(policy, self.buckets, Bulletin(name, self.log.say), self.counts)

    def allowance(self, client: str = CLIENT) -> Allowance:
        found = self.rates.allowance(client)
        assert found is not None
        return found


def wait_of(answer: Reply | None) -> float:
    """Seconds a client is told to wait, read as we read what others tell us; 0 where it was let through."""
    return 0.0 if answer is None else asked(str(answer)).seconds


def test_words_are_those_we_understand_ourselves() -> None:
    here = Desk(
        connection_rate_per_client=TWO, tls_rate_per_client=TWO, message_rate_per_client=TWO,
        recipient_rate_per_client=TWO, message_rate_per_account=Rate(1, 3600), tls="starttls", auth="optional",
    )  # fmt: skip
    one = here.allowance()
    assert [wait_of(here.rates.connection(CLIENT)) for _ in range(3)] == [0, 0, 1800]
    assert [wait_of(one.handshake()) for _ in range(3)] == [0, 0, 1800]
    assert [wait_of(one.message("")) for _ in range(3)] == [0, 0, 1800]
    assert [wait_of(one.recipients(1)) for _ in range(3)] == [0, 0, 1800]
    codes = [str(answer)[:9] for answer in (here.rates.connection(CLIENT), one.handshake(), one.message(""))]
    assert codes == ["421 4.7.0", "454 4.7.0", "450 4.7.1"] and str(one.recipients(1))[:9] == "450 4.7.1"
    second = here.allowance("192.0.2.2")
    assert [wait_of(second.message("anna")) for _ in range(2)] == [0, 3600]
    assert [wait_of(second.message("")) for _ in range(2)] == [0, 1800], "what the account refuses costs no address"
    assert here.counts.throttled == {
        "tls_rate": 2, "message_rate": 3, "recipient_rate": 2, "account_rate": 1
    }  # fmt: skip


def test_a_second_is_one_and_no_wait_is_none() -> None:
    one = Desk(message_rate_per_client=Rate(1, 1)).allowance()
    assert one.message("") is None
    assert str(one.message("")).endswith("try again in 1 second")


def test_a_client_is_an_address_or_a_network_and_a_listener_has_its_own() -> None:
    buckets = FakeBuckets()
    here = Desk(buckets, message_rate_per_client=TWO)
    first, same = here.allowance("2001:db8::1"), here.allowance("2001:db8::ffff:1")
    assert (first.message(""), same.message("")) == (None, None) and first.message("") is not None
    assert here.allowance("2001:db8:0:1::1").message("") is None
    assert here.allowance("192.0.2.1").message("") is None
    other = Desk(buckets, "127.0.0.1:2526", message_rate_per_client=TWO)
    assert other.allowance("2001:db8::1").message("") is None


def test_an_account_counts_from_everywhere_at_all_listeners() -> None:
    buckets = FakeBuckets()
    keys: dict[str, Any] = {"message_rate_per_account": TWO, "auth": "optional"}
    one, other = Desk(buckets, **keys), Desk(buckets, "127.0.0.1:2526", **keys)
    assert one.allowance(CLIENT).message("anna") is None and other.allowance("198.51.100.1").message("anna") is None
    assert one.allowance("203.0.113.1").message("anna") is not None
    assert one.allowance(CLIENT).message("bert") is None and one.allowance(CLIENT).message("") is None


def test_who_is_unlimited_and_who_is_not() -> None:
    here = Desk(
        connection_rate_per_client=Rate(1, 3600), message_rate_per_client=TWO,
        unlimited_from=("192.0.2.0/24", "2001:db8::/32"),
    )  # fmt: skip
    for client in ("192.0.2.77", "2001:db8::1", "::ffff:192.0.2.77"):
        assert here.rates.allowance(client) is None
        assert [here.rates.connection(client) for _ in range(3)] == [None] * 3
    assert here.rates.allowance("127.0.0.1") is not None, "the right to relay is no right to flood"


def test_a_resumed_handshake_is_given_back() -> None:
    one = Desk(tls_rate_per_client=TWO, tls="starttls").allowance()
    for _ in range(5):
        assert one.handshake() is None
        one.resumed()
    assert [one.handshake() is None for _ in range(3)] == [True, True, False]


def test_recipients_beyond_a_whole_bucket_go_when_it_is_full() -> None:
    one = Desk(recipient_rate_per_client=THREE).allowance()
    assert one.recipients(500) is None
    assert wait_of(one.recipients(500)) == 3600


@pytest.mark.interpreted
def test_a_lock_that_is_held_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance_module, "_BUSY", 0.0)
    here = Desk(message_rate_per_client=TWO)
    one = here.allowance()
    here.buckets.busy = 2
    assert one.message("") is None and here.buckets.busy == 0 and not here.counts.throttled
    here.buckets.busy = 10_000
    assert wait_of(one.message("")) == 1 and here.buckets.busy > 9_000


# -- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_that_no_rate_concerns_asks_none() -> None:
    plain = desk_of(FakeIntake())
    assert plain.rates is None and Session(plain, ScriptStream([]), "1")._allowance is None
    only_connections = desk_of(FakeIntake(), connection_rate_per_client=TWO)
    assert only_connections.rates is not None
    assert Session(only_connections, ScriptStream([]), "1")._allowance is None


def test_a_refusal_is_an_event_and_told_once() -> None:
    log = FakeLog()
    desk = desk_of(FakeIntake(), log, message_rate_per_client=TWO)
    for _ in range(3):
        Session(desk, ScriptStream([b"EHLO c.example\r\n", *ENVELOPE, *ENVELOPE]), "s-1").run()
    events = log.of("Rejection")
    assert [one["response"]["command"] for one in events] == ["MAIL"] * 4
    assert events[0]["response"]["code"] == 450 and events[0]["sender"] == "a@c.example"
    assert desk.counts.throttled == {"message_rate": 4}
    assert log.lines == ["warning listener 127.0.0.1:2525: 127.0.0.1 is over message_rate_per_client = 2/3600s"]


def test_what_we_are_short_of_ourselves_costs_the_client_nothing() -> None:
    log, buckets = FakeLog(), FakeBuckets()
    log.short = True
    desk = desk_of(FakeIntake(), log, buckets=buckets, message_rate_per_client=TWO)
    Session(desk, ScriptStream([b"EHLO c.example\r\n", *ENVELOPE]), "s-1").run()
    assert buckets.full_at == {}


@pytest.mark.parametrize(("reused", "heard"), [(False, [220, 454]), (True, [220, 220])])
def test_starttls_over_the_rate(reused: bool, heard: list[int]) -> None:
    desk = desk_of(FakeIntake(), tls="starttls", tls_rate_per_client=Rate(1, 3600))
    codes = []
    for _ in range(2):
        stream = ScriptStream([b"EHLO c.example\r\n", b"STARTTLS\r\n"])
        stream.reused = reused
        Session(desk, stream, "s-1").run()
        codes.append(int(stream.writes[2][:3]))
    assert codes == heard


def test_implicit_tls_over_the_rate_is_an_end_before_the_handshake() -> None:
    log = FakeLog()
    desk = desk_of(FakeIntake(), log, tls="implicit", tls_rate_per_client=Rate(1, 3600))
    streams = [ScriptStream([b"NOOP\r\n"]) for _ in range(2)]
    for stream in streams:
        Session(desk, stream, "s-1").run()
    assert streams[0].tls is not None and streams[1].tls is None and streams[1].written == b"" and streams[1].closed
    assert log.of("Rejection")[0]["reason"] == "too many new TLS sessions"


# -- whom the operator hears of ---------------------------------------------------------------------------------------


def test_a_line_at_once_then_one_a_minute_while_it_lasts() -> None:
    log = FakeLog()
    told = Bulletin("25", log.say)
    told.tick(1000.0)
    assert told.refused("192.0.2.1", "x = 2/60s") and not told.refused("192.0.2.1", "x = 2/60s")
    told.tick(1001.0)
    told.refused("192.0.2.1", "x = 2/60s")
    told.tick(1001.0 + EVERY - 1)
    assert log.lines == ["warning listener 25: 192.0.2.1 is over x = 2/60s"]
    told.tick(1001.0 + EVERY)
    assert log.lines[1:] == ["warning listener 25: 192.0.2.1 is over x = 2/60s: 2 more refused"]
    assert not told.refused("192.0.2.1", "x = 2/60s"), "still the same trouble"
    told.tick(1001.0 + 2 * EVERY)
    assert log.lines[2:] == ["warning listener 25: 192.0.2.1 is over x = 2/60s: 1 more refused"]
    told.tick(1001.0 + 3 * EVERY)
    assert told.refused("192.0.2.1", "x = 2/60s"), "quiet for a minute: new trouble"


def test_a_flood_of_addresses_makes_a_bounded_number_of_lines() -> None:
    log = FakeLog()
    told = Bulletin("25", log.say)
    for n in range(10_000):
        told.refused(f"2001:db8:{n:x}::/64", "x")
    told.tick(1.0)
    told.tick(1.0 + EVERY)
    assert len(log.lines) == bulletin_module.MOST + 1
    assert log.lines[-1] == f"warning listener 25: {10_000 - bulletin_module.MOST} more refused, of other clients"
