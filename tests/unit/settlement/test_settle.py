"""settlement/settle.py: each kind of outcome becomes its record, its line, its count and its next event; no limbo."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fastrelay.config import Bounce, Config, Retry, Server
from fastrelay.errors import SpoolDamaged
from fastrelay.intake import Intake
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import reply
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.metrics import Counts
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.schedule.window import CLOSED
from fastrelay.settlement.notices import left_when_late
from fastrelay.settlement.settle import SHORT, Settle
from tests.unit.rooms import IDS, HandClock, MemorySpool, Remembered, a_route, until

OK = Delivered(reply(250, "2.0.0", "queued as 7"), Phase.DOT, Scope.MESSAGE, "mx.d.test", "192.0.2.1")
NO = Failed(reply(550, "5.1.1", "no such user"), Phase.RCPT, Scope.RECIPIENT, "mx.d.test", "192.0.2.1")
LATER = Deferred(reply(450, "4.2.0", "greylisted"), Phase.RCPT, Scope.RECIPIENT, "mx.d.test", "192.0.2.1")
DOUBT = Deferred(reply(451, "4.4.2", "lost"), Phase.DOT, Scope.HOST, "mx.d.test", "192.0.2.1", uncertain=True)
DEAD = Deferred(reply(451, "4.4.1", "refused"), Phase.CONNECT, Scope.HOST, "mx.d.test", "192.0.2.1")
LIMIT = Deferred(reply(451, "4.4.5", "all in use"), Phase.QUEUE, Scope.SITE, retry_after=30.0)
HEAD = b"From: a@s.test\r\nSubject: hi\r\n\r\nhello\r\n"


class Connection:
    local_address = "192.0.2.99"
    tls_version = "TLSv1.3"
    tls_doubt = "certificate not trusted: self-signed certificate"
    tls_cipher = "TLS_AES_256_GCM_SHA384"


class Road:
    connection: Connection | None = Connection()
    connect_seconds = 0.25
    transmit_seconds = 0.5
    converted = True
    login = "hub"


class Settings:
    connections = 10


class House:
    """A real schedule and intake around Settle. Messages go to the domains of their recipients."""

    def __init__(self, retry_max: float = 14_400.0, **bounce: Any) -> None:
        self.config = Config(
            server=Server(hostname="relay.test"),
            bounce=Bounce(**bounce),
            retry=Retry(first=300.0, factor=2.0, max=retry_max, jitter=0.0, expire=100_000.0),
        )
        self.clock = HandClock()
        self.spool = MemorySpool()
        self.log = Remembered()
        self.counts = Counts(["mx.d.test"])
        self.expired: list[Item] = []
        self.schedule = Scheduler(
            lambda site: Settings(),
            notice_left=left_when_late(self.config),
            clock=self.clock,
            later=lambda function: function(),
            chance=lambda: 0.5,
        )
        self.attach(self.route)
        self.intake = Intake(self.spool, self.schedule, IDS, self.config.retry.expire)
        self.settle = Settle(
            self.spool,
            self.schedule,
            self.intake,
            self.log,
            self.counts,
            self.config,
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def attach(self, unrouted: Callable[[str], None]) -> None:
        self.schedule.attach(
            unrouted=unrouted,
            ready=lambda lane: None,
            expired=self.expired.append,
            put_off=lambda item: None,
            late=lambda item: self.settle.tell_late(item.ident),
        )

    def route(self, domain: str) -> None:
        self.schedule.routed(domain, a_route(domain), self.clock.now())

    def accept(self, *addresses: str, sender: str = "a@s.test", notify: str = "") -> bytes:
        recipients = tuple(Recipient(address, notify=notify) for address in addresses)
        envelope = Envelope(sender, recipients, self.clock.wall(), session="S1", size=len(HEAD), arriving=0.125)
        return self.intake.accept(envelope, b"", HEAD, ident=IDS.fresh())

    def pick(self, domain: str = "d.test") -> Item:
        item = self.schedule.next(self.schedule.lane(f"mx.{domain}"), self.clock.now())
        assert item is not None
        return item

    def attempt(self, *outcomes: Outcome, domain: str = "d.test", road: Any = None) -> Item:
        item = self.pick(domain)
        self.settle.settle(item, outcomes, road)
        return item

    def at(self, seconds: float) -> None:
        self.clock.mono = seconds
        self.schedule.tick(seconds)

    def notice(self) -> tuple[Envelope, bytes]:
        """The one message that is from nobody."""
        (one,) = [stored for stored in self.spool.messages.values() if not stored.envelope.sender]
        return one.envelope, one.parts[1]


def test_delivered_is_recorded_told_counted_and_forgotten() -> None:
    house = House()
    ident = house.accept("x@d.test")
    house.clock.mono += 2.0
    house.attempt(OK, road=Road())
    assert house.spool.ended[ident] == State(1, (Status.DELIVERED,)) and len(house.schedule) == 0
    (event,) = house.log.events
    wall = house.clock.wall()
    assert event == {
        "type": "Delivery",
        "id": ident,
        "sender": "a@s.test",
        "recipient": "x@d.test",
        "site": "mx.d.test",
        "size": len(HEAD),
        "response": {"code": 250, "enhanced_code": "2.0.0", "content": "queued as 7", "command": "."},
        "peer_address": {"name": "mx.d.test", "addr": "192.0.2.1"},
        "created_time": wall - 2.0,
        "num_attempts": 1,
        "session_id": "S1",
        "source_address": "192.0.2.99",
        "converted": "7bit",
        "login": "hub",
        "tls_protocol_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "tls_verified": False,
        "tls_doubt": "certificate not trusted: self-signed certificate",
        "delays": [0.125, 1.25, 0.25, 0.5],
    }
    assert house.counts.sites["mx.d.test"].delivered == 1
    assert house.counts.delivery_seconds.total == pytest.approx(2.0)


def test_deferred_waits_for_its_next_attempt() -> None:
    house = House()
    ident = house.accept("x@d.test")
    item = house.attempt(LATER)
    wall = house.clock.wall()
    assert house.spool.states[ident] == State(1, (Waiting(1, wall + 300.0, "450 4.2.0 greylisted"),))
    assert item.place is Place.WAITING and item.attempts == 1 and item.due == house.clock.mono + 300.0
    assert house.log.kinds == ["TransientFailure"] and house.counts.sites["mx.d.test"].deferred == 1
    house.at(house.clock.mono + 302.0)
    house.attempt(LATER)
    assert item.due == house.clock.mono + 600.0 and house.log.events[-1]["num_attempts"] == 2


def test_an_uncertain_delivery_is_counted_and_tried_again() -> None:
    house = House()
    house.accept("x@d.test")
    assert house.attempt(DOUBT).place is Place.WAITING
    assert house.counts.possibly_duplicate == 1


def test_failed_bounces_in_one_batch_with_the_record_that_closes_it() -> None:
    house = House()
    ident = house.accept("x@d.test")
    house.attempt(NO)
    kind, fresh, records = house.spool.written[-1]
    assert kind == "commit" and records == ((ident, State(1, (Status.FAILED,))),)
    envelope, octets = house.notice()
    assert [one.address for one in envelope.recipients] == ["a@s.test"]
    assert b"550 5.1.1 no such user" in octets and b"Subject: hi" in octets and b"hello" not in octets
    (event,) = house.log.events
    assert event["type"] == "Bounce" and event["notice"] == fresh.hex() and event["response"]["command"] == "RCPT"
    assert house.counts.sites["mx.d.test"].bounced == 1
    assert [one.domain for one in house.schedule.items(fresh)] == ["s.test"] and not house.schedule.items(ident)


def test_a_bounce_the_machine_cannot_store_leaves_the_recipient_open() -> None:
    house = House()
    ident = house.accept("x@d.test")
    house.spool.short = True
    item = house.attempt(NO)
    assert item.place is Place.WAITING and item.due == house.clock.mono + SHORT and item.indices == (0,)
    assert isinstance(house.spool.states[ident].recipients[0], Waiting) and house.log.kinds == ["TransientFailure"]
    house.spool.short = False
    house.at(house.clock.mono + SHORT + 2.0)
    house.attempt(NO)
    assert house.spool.ended[ident].recipients == (Status.FAILED,) and house.log.kinds[-1] == "Bounce"


def test_each_recipient_of_an_item_gets_its_own_end() -> None:
    house = House()
    ident = house.accept("ok@d.test", "no@d.test", "later@d.test", "other@e.test")
    item = house.attempt(OK, NO, LATER)
    assert item.indices == (2,) and item.place is Place.WAITING
    assert sorted(house.log.kinds) == ["Bounce", "Delivery", "TransientFailure"]
    # what was delivered is written before the notice is waited for
    assert [entry[0] for entry in house.spool.written[-2:]] == ["record", "commit"]
    standing = house.spool.states[ident]
    assert standing.recipients[:2] == (Status.DELIVERED, Status.FAILED) and standing.version == 2
    assert house.attempt(OK, domain="e.test").place is Place.OUT
    house.at(house.clock.mono + 302.0)
    house.attempt(OK)
    assert house.spool.ended[ident].recipients == (1, 2, 1, 1)


def test_with_a_full_disk_the_delivered_are_not_tried_again() -> None:
    house = House()
    house.accept("ok@d.test", "no@d.test")
    house.spool.short = True
    item = house.attempt(OK, NO)
    assert item.indices == (1,)


def test_other_domains_are_settled_while_a_notice_is_being_written() -> None:
    house = House()
    ident = house.accept("no@d.test", "ok@e.test")
    gate = house.spool.gate = tasks.Parking()
    item = house.pick()
    tasks.spawn(house.settle.settle, item, [NO])
    until(lambda: gate.taken)
    house.attempt(LATER, domain="e.test")
    assert house.spool.states[ident].recipients[0] == Status.FAILED
    gate.wake()
    until(lambda: item.place is Place.OUT)
    assert isinstance(house.spool.states[ident].recipients[1], Waiting)


@pytest.mark.parametrize(
    ("sender", "notify", "send", "why"),
    [
        ("", "", True, "null sender"),
        ("a@s.test", "NEVER", True, "not asked for"),
        ("a@s.test", "DELAY", True, "not asked for"),
        ("a@s.test", "", False, "bounce.send is false"),
    ],
)
def test_nobody_is_told_who_must_not_be(sender: str, notify: str, send: bool, why: str) -> None:
    house = House(send=send)
    ident = house.accept("x@d.test", sender=sender, notify=notify)
    house.attempt(NO)
    assert house.spool.ended[ident].recipients == (Status.FAILED,) and not house.spool.messages
    assert house.log.kinds == ["Bounce"] and house.log.events[0]["notice"] == why
    assert house.counts.sites["mx.d.test"].bounced == 1 and len(house.schedule) == 0


def test_a_notice_that_fails_makes_no_notice() -> None:
    house = House()
    house.accept("x@d.test")
    house.attempt(NO)
    house.attempt(NO, domain="s.test")
    assert not house.spool.messages and len(house.schedule) == 0


def test_a_notice_tells_our_words_about_a_host_as_ours() -> None:
    house = House()
    house.accept("x@d.test")
    house.settle.settle(house.pick(), [msgspec.structs.replace(NO, ours=True)])
    _, octets = house.notice()
    assert b"Diagnostic-Code: x-fastrelay; 550 5.1.1" in octets and b"mx.d.test: 550 5.1.1" in octets


def test_an_attempt_after_the_end_expires_the_message() -> None:
    house = House()
    ident = house.accept("x@d.test")
    item = house.pick()
    house.clock.mono += 100_001.0
    house.settle.settle(item, [DOUBT])
    assert house.spool.ended[ident].recipients == (Status.EXPIRED,)
    _, octets = house.notice()
    assert b"Status: 5.4.7" in octets and b"delivery time expired; last: mx.d.test said: 451 4.4.2 lost" in octets
    (event,) = house.log.events
    assert event["type"] == "Expiration" and event["response"]["enhanced_code"] == "5.4.7"
    assert house.counts.sites["mx.d.test"].expired == 1 and house.counts.possibly_duplicate == 1


def test_what_expires_where_it_waits_is_bounced_with_the_last_words() -> None:
    house = House()
    ident = house.accept("x@d.test", "y@d.test")
    house.attempt(OK, LATER)
    house.at(house.clock.mono + 200_000.0)
    (item,) = house.expired
    assert item.place is Place.RUNNING
    house.settle.expire(item)
    assert house.spool.ended[ident].recipients == (Status.DELIVERED, Status.EXPIRED)
    assert b"last: 450 4.2.0 greylisted" in house.notice()[1] and item.place is Place.OUT


def test_an_expiry_the_machine_cannot_store_comes_again() -> None:
    house = House()
    house.accept("x@d.test")
    item = house.pick()
    house.clock.mono += 200_000.0
    house.spool.short = True
    house.settle.expire(item)
    assert item.place is Place.WAITING and house.expired == []
    house.spool.short = False
    house.at(house.clock.mono + SHORT + 2.0)
    assert house.expired == [item]
    house.settle.expire(item)
    assert item.place is Place.OUT and b"no attempt was made" in house.notice()[1]


def test_a_limit_of_ours_is_no_attempt_and_is_not_written() -> None:
    house = House()
    house.accept("x@d.test")
    before = len(house.spool.written)
    item = house.attempt(LIMIT, road=Road())
    assert item.place is Place.WAITING and item.attempts == 0
    assert house.clock.mono + 30.0 <= item.due <= house.clock.mono + 33.0
    assert house.spool.written[before:] == [] and house.log.events == []
    assert house.counts.sites["mx.d.test"].deferred == 0


def test_the_delay_notice_goes_out_once() -> None:
    house = House(delay_notice=3600.0)
    ident = house.accept("x@d.test", "never@d.test")
    house.spool.messages[ident] = house.spool.messages[ident]._replace(
        envelope=msgspec.structs.replace(
            house.spool.messages[ident].envelope, recipients=(Recipient("x@d.test"), Recipient("never@d.test", "NEVER"))
        )
    )
    house.attempt(LATER, LATER)
    assert len(house.spool.messages) == 1
    for later in (5_000.0, 10_000.0, 20_000.0):
        house.at(later)
        house.attempt(LATER, LATER)
    envelope, octets = house.notice()
    assert b"Action: delayed" in octets and b"never@d.test" not in octets and b"Will-Retry-Until" in octets
    notices = [one.notices for one in house.spool.states[ident].recipients if isinstance(one, Waiting)]
    assert notices == [1, 0] and envelope.recipients[0].address == "a@s.test"


def test_the_delay_notice_goes_out_when_its_time_has_come() -> None:
    """The next attempt lies hours later; both domains are told of in one notice, by their last words."""
    house = House(delay_notice=3600.0)
    ident = house.accept("x@d.test", "y@e.test")
    for item in house.schedule.items(ident):
        lane = house.schedule.lane(f"mx.{item.domain}")
        picked = house.schedule.next(lane, house.clock.mono)
        assert picked is item
        house.settle.give_back(item, 50_000.0, attempted=True)
    house.at(house.clock.mono + 3_590.0)
    assert len(house.spool.messages) == 1
    house.at(house.clock.mono + 12.0)
    envelope, octets = house.notice()
    assert envelope.recipients[0].address == "a@s.test" and envelope.sender == ""
    assert octets.count(b"Action: delayed") == 2 and b"no attempt was made" in octets
    assert [one.notices for one in house.spool.states[ident].recipients if isinstance(one, Waiting)] == [1, 1]
    assert all(item.place is Place.WAITING for item in house.schedule.items(ident))
    house.settle.tell_late(ident)
    house.settle.tell_late(IDS.fresh())
    assert len(house.spool.messages) == 2, "told again"


def test_of_held_mail_nobody_is_told_that_it_is_late() -> None:
    house = House(delay_notice=3600.0)
    ident = house.accept("x@d.test")
    house.spool.record(ident, State(1, (Waiting(0, 0.0),), "an operator's"))
    house.clock.mono += 4_000.0
    house.settle.tell_late(ident)
    assert len(house.spool.messages) == 1


def test_two_who_tell_at_once_send_one_notice() -> None:
    house = House(delay_notice=3600.0)
    ident = house.accept("x@d.test")
    house.clock.mono += 4_000.0
    read = house.spool.read

    def slow(asked: bytes) -> Any:
        house.spool.read = read  # type: ignore[method-assign]
        house.settle.tell_late(ident)  # the other comes while this one waits for the disk
        return read(asked)

    house.spool.read = slow  # type: ignore[method-assign]
    house.settle.tell_late(ident)
    assert len(house.spool.messages) == 2


def test_of_what_ended_while_its_beginning_was_read_nobody_is_told() -> None:
    house = House(delay_notice=3600.0)
    ident = house.accept("x@d.test")
    house.clock.mono += 4_000.0
    read = house.spool.read

    def slow(asked: bytes) -> Any:
        octets = read(asked)
        house.attempt(OK)  # its delivery ends while this one waits for the disk
        return octets

    house.spool.read = slow  # type: ignore[method-assign]
    house.settle.tell_late(ident)
    assert list(house.spool.messages) == [] and ident in house.spool.ended


def test_a_delay_notice_the_machine_cannot_store_is_tried_at_the_next_deferral() -> None:
    house = House(delay_notice=10.0)
    house.accept("x@d.test")
    house.clock.mono += 20.0
    house.spool.short = True
    item = house.attempt(LATER)
    assert item.place is Place.WAITING and item.attempts == 1
    house.spool.short = False
    house.at(house.clock.mono + 302.0)
    house.attempt(LATER)
    assert b"Action: delayed" in house.notice()[1]


def test_a_bounce_of_what_cannot_be_read_goes_out_without_it() -> None:
    house = House()
    ident = house.accept("x@d.test")
    house.spool.damaged.add(ident)
    house.attempt(NO)
    assert b"Subject: hi" not in house.notice()[1] and ident in house.spool.ended


def test_a_damaged_message_is_held_and_visible_until_it_expires() -> None:
    house = House()
    ident = house.accept("x@d.test", "y@e.test")
    house.settle.set_aside(house.pick(), SpoolDamaged("checksum"))
    assert house.spool.states[ident].held.startswith("damaged on disk")
    assert {item.place for item in house.schedule.items(ident)} == {Place.HELD}
    house.spool.damaged.add(ident)
    house.at(house.clock.mono + 200_000.0)
    for item in house.expired:
        house.settle.expire(item)
    assert house.spool.ended[ident].recipients == (Status.EXPIRED, Status.EXPIRED)


def test_a_hold_set_meanwhile_is_kept() -> None:
    house = House()
    ident = house.accept("x@d.test")
    item = house.pick()
    house.schedule.hold(ident)
    house.spool.record(ident, State(1, house.spool.states[ident].recipients, "who is this"))
    house.settle.settle(item, [LATER])
    assert item.place is Place.HELD and house.spool.states[ident].held == "who is this"


def test_what_was_removed_meanwhile_is_let_go() -> None:
    house = House()
    ident = house.accept("x@d.test")
    item = house.pick()
    house.spool.record(ident, State(1, (Status.REMOVED,)))
    house.settle.settle(item, [LATER])
    assert item.place is Place.OUT and house.log.events == []


def test_given_back_is_what_the_state_says_is_open() -> None:
    house = House()
    ident = house.accept("x@d.test", "y@d.test")
    item = house.pick()
    house.spool.record(ident, State(1, (Status.DELIVERED, house.spool.states[ident].recipients[1])))
    house.settle.give_back(item, 60.0, attempted=True)
    assert item.place is Place.WAITING and item.indices == (1,) and item.attempts == 1
    house.at(house.clock.mono + 62.0)
    again = house.pick()
    house.spool.record(ident, State(2, (Status.DELIVERED, Status.DELIVERED)))
    house.settle.give_back(again, 60.0, attempted=True)
    assert again.place is Place.OUT and len(house.schedule) == 0


def test_a_site_that_fails_every_time_is_suspended() -> None:
    house = House()
    for _ in range(8):
        house.accept("x@d.test")
    for _ in range(5):
        house.attempt(DEAD)
    lane = house.schedule.lane("mx.d.test")
    assert lane.suspended(house.clock.mono) and "refused" in lane.why and lane.window.size == 1
    assert house.log.kinds.count("SiteSuspended") == 1
    assert house.schedule.next(lane, house.clock.mono) is None
    assert house.schedule.audit().waiting == 8 and house.schedule.walk().orphans == 0


def test_a_suspension_is_no_longer_than_the_longest_retry() -> None:
    house = House(retry_max=3.0)
    for _ in range(5):
        house.accept("x@d.test")
        house.attempt(DEAD)
    assert house.schedule.lane("mx.d.test").suspended_until == house.clock.mono + 3.0


def test_answers_widen_the_window_and_limits_of_ours_do_not_touch_it() -> None:
    house = House()
    for _ in range(4):
        house.accept("x@d.test")
    sizes = []
    for outcome in (OK, NO, LATER, LIMIT):
        house.attempt(outcome)
        sizes.append(house.schedule.lane("mx.d.test").window.size)
    assert sizes == [6, 7, 7, 7]


def test_an_outcome_without_a_route_says_nothing_of_a_site() -> None:
    house = House()
    house.attach(lambda domain: None)
    ident = house.accept("x@nowhere.test")
    (item,) = house.schedule.unroutable("nowhere.test", house.clock.mono) or ()
    house.settle.settle(item, [Failed(reply(550, "5.1.2", "no such domain"), Phase.ROUTE, Scope.RECIPIENT)])
    assert ident in house.spool.ended and house.log.events[0]["site"] == "" and house.schedule.lanes() == []


def test_what_the_receiver_asks_for_is_in_the_line_and_sets_the_next_attempt() -> None:
    house = House()
    ident = house.accept("x@d.test")
    house.attempt(Deferred(LATER.reply, LATER.phase, LATER.scope, "mx", "192.0.2.1", retry_after=900.0))
    (line,) = [line for line in house.log.events if line["type"] == "TransientFailure"]
    assert line["retry_after"] == 900.0
    (standing,) = house.spool.state(ident).recipients
    assert isinstance(standing, Waiting) and standing.due - house.clock.wall() == pytest.approx(945.0)


def test_too_many_connections_close_the_window_of_the_site_until_it_is_old() -> None:
    house = House()
    crowded = Deferred(LATER.reply, Phase.RCPT, Scope.RECIPIENT, "mx", "192.0.2.1", crowded=True)
    for _ in range(4):
        house.accept("x@d.test")
    lane = house.schedule.lane("mx.d.test")
    house.attempt(crowded)
    house.attempt(crowded)
    assert lane.window.size == 2 and "too many connections" in lane.word
    house.attempt(OK)
    assert lane.window.size == 2
    assert house.log.kinds.count("SiteCrowded") == 1
    house.clock.mono += CLOSED
    house.attempt(OK)
    assert lane.window.size == 3 and lane.window.full == 0
