"""Notices of success: in one batch with the end they tell of, once, to whom asked; never the message twice for them."""

import email
import email.message
import email.policy
from typing import Any

import pytest

from fastrelay.config import Bounce, Config, Listener, Server
from fastrelay.config.aliases import Aliases
from fastrelay.intake import Intake
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Duty, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import reply
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.metrics import Counts
from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.settlement.notices import Notices
from fastrelay.settlement.settle import SHORT, Settle
from tests.unit.rooms import IDS, HandClock, MemorySpool, Remembered, a_route, until

HEAD = b"From: a@s.test\r\nSubject: hi\r\n\r\nhello\r\n"
SAID = reply(250, "2.6.0", "queued as 7")
TOLD_BY_THEM = Delivered(SAID, Phase.DOT, Scope.MESSAGE, "mx.d.test", "192.0.2.1")
RELAYED = Delivered(SAID, Phase.DOT, Scope.MESSAGE, "mx.d.test", "192.0.2.1", Duty.RELAYED)
IN_THE_BOX = Delivered(SAID, Phase.DOT, Scope.MESSAGE, "box.d.test", "unix:/run/lmtp", Duty.DELIVERED)
NO = Failed(reply(550, "5.1.1", "no such user"), Phase.RCPT, Scope.RECIPIENT, "mx.d.test", "192.0.2.1")
LATER = Deferred(reply(450, "4.2.0", "greylisted"), Phase.RCPT, Scope.RECIPIENT, "mx.d.test", "192.0.2.1")


class Settings:
    connections = 10


class House:
    """Settle between a real schedule and intake, and a spool in memory."""

    def __init__(self, aliases: Aliases = (), **bounce: Any) -> None:
        config = Config(
            server=Server(hostname="relay.test"), bounce=Bounce(**bounce), listeners=(Listener(aliases=aliases),)
        )
        self.clock = HandClock()
        self.spool = MemorySpool()
        self.log = Remembered()
        self.counts = Counts(["mx.d.test"])
        self.schedule = Scheduler(
            lambda site: Settings(), clock=self.clock, later=lambda function: function(), chance=lambda: 0.5
        )
        self.schedule.attach(
            unrouted=lambda domain: self.schedule.routed(domain, a_route(domain), self.clock.now()),
            ready=lambda lane: None,
            expired=lambda item: self.settle.expire(item),
            put_off=lambda item: None,
            late=lambda item: None,
        )
        self.intake = Intake(self.spool, self.schedule, IDS, config.retry.expire)
        self.notices = Notices(self.spool, self.intake, config)
        self.settle = Settle(
            self.spool, self.schedule, self.intake, self.log, self.counts, config, clock=self.clock, chance=lambda: 0.5
        )

    def accept(self, *notify: str, sender: str = "a@s.test", **more: Any) -> bytes:
        to = tuple(Recipient(f"x{n}@d.test", word) for n, word in enumerate(notify))
        envelope = Envelope(sender, to, self.clock.wall(), size=len(HEAD), **more)
        return self.intake.accept(envelope, b"", HEAD, ident=IDS.fresh())

    def pick(self) -> Item:
        item = self.schedule.next(self.schedule.lane("mx.d.test"), self.clock.now())
        assert item is not None
        return item

    def attempt(self, *outcomes: Outcome) -> Item:
        item = self.pick()
        self.settle.settle(item, outcomes)
        return item

    def letters(self) -> list[email.message.Message]:
        return [
            email.message_from_bytes(b"".join(one.parts), policy=email.policy.default)
            for one in self.spool.messages.values()
            if not one.envelope.sender
        ]

    def told(self) -> list[tuple[str, str, str]]:
        """Recipient, action and status of every row in every notice."""
        rows = []
        for letter in self.letters():
            _, status, *_ = letter.iter_parts()  # type: ignore[attr-defined]
            for one in status.get_payload()[1:]:
                rows.append((one["Final-Recipient"].removeprefix("rfc822; "), one["Action"], one["Status"]))
        return rows


@pytest.mark.parametrize(("outcome", "action"), [(RELAYED, "relayed"), (IN_THE_BOX, "delivered")])
def test_a_success_is_told_in_the_batch_that_ends_it(outcome: Outcome, action: str) -> None:
    house = House()
    ident = house.accept("SUCCESS,FAILURE", ret="FULL", envid="E+2B1")
    item = house.attempt(outcome)
    assert house.told() == [("x0@d.test", action, "2.6.0")] and item.place is Place.OUT
    (kind, fresh, records) = house.spool.written[-1]
    assert (kind, records) == ("commit", ((ident, State(1, (Status.DELIVERED,))),))
    assert ("record", ident) not in [one[:2] for one in house.spool.written], "nothing of it was written before"
    assert house.spool.ended[ident] == State(1, (Status.DELIVERED,))
    (event,) = house.log.events
    assert (event["type"], event["notice"], event["recipient"]) == ("Delivery", fresh.hex(), "x0@d.test")
    assert house.counts.sites["mx.d.test"].delivered == 1
    assert sum(house.counts.delivery_seconds.counts) == 1
    (letter,) = house.letters()
    assert letter["To"] == "a@s.test" and letter["Auto-Submitted"] == "auto-replied"
    _, status, head = letter.iter_parts()  # type: ignore[attr-defined]
    assert status.get_payload()[0]["Original-Envelope-Id"] == "E+1"
    assert head.get_content_type() == "text/rfc822-headers", "the whole goes back with a failure only"


@pytest.mark.parametrize(
    ("notify", "outcome", "told"),
    [
        ("SUCCESS", TOLD_BY_THEM, []),  # the next hop has taken that over
        ("NEVER", NO, []),
        ("SUCCESS", NO, []),
        ("SUCCESS,DELAY", NO, []),
        ("FAILURE", NO, [("x0@d.test", "failed", "5.1.1")]),
        ("", NO, [("x0@d.test", "failed", "5.1.1")]),
    ],
)
def test_nobody_is_told_more_than_was_asked_for(
    notify: str, outcome: Outcome, told: list[tuple[str, str, str]]
) -> None:
    house = House()
    house.accept(notify)
    assert house.attempt(outcome).place is Place.OUT
    assert house.told() == told


@pytest.mark.parametrize(("sender", "send"), [("", True), ("a@s.test", False)], ids=["null sender", "bounce.send"])
def test_no_notice_about_a_notice_or_where_the_operator_wants_none(sender: str, send: bool) -> None:
    house = House(send=send)
    house.accept("SUCCESS,FAILURE", "SUCCESS,FAILURE", sender=sender)
    house.attempt(RELAYED, NO)
    assert len(house.spool.messages) == 0 and len(house.schedule) == 0
    assert house.log.kinds == ["Delivery", "Bounce"] and house.counts.sites["mx.d.test"].delivered == 1


def test_those_who_end_together_stand_in_one_notice() -> None:
    house = House()
    ident = house.accept("SUCCESS", "", "SUCCESS", "FAILURE", "NEVER", "SUCCESS")
    item = house.attempt(RELAYED, NO, TOLD_BY_THEM, TOLD_BY_THEM, NO, LATER)
    assert house.told() == [("x0@d.test", "relayed", "2.6.0"), ("x1@d.test", "failed", "5.1.1")]
    assert len(house.letters()) == 1 and item.indices == (5,) and item.place is not Place.OUT
    one = house.spool.states[ident].recipients
    assert one[:5] == (Status.DELIVERED, Status.FAILED, Status.DELIVERED, Status.DELIVERED, Status.FAILED)
    assert isinstance(one[5], Waiting)
    assert sorted(house.log.kinds) == ["Bounce", "Bounce", "Delivery", "Delivery", "Delivery", "TransientFailure"]
    assert house.counts.sites["mx.d.test"].delivered == 3


def test_a_notice_the_disk_does_not_take_is_no_reason_to_deliver_again() -> None:
    house = House()
    ident = house.accept("SUCCESS", "")
    house.spool.short = True
    item = house.attempt(RELAYED, NO)
    states = house.spool.states[ident].recipients
    assert states[0] == Status.DELIVERED and isinstance(states[1], Waiting) and item.indices == (1,)
    assert not house.letters()
    assert {event["type"]: event["notice"] for event in house.log.events} == {
        "Delivery": "not stored: the machine is short",
        "TransientFailure": "not stored yet: the machine is short",
    }
    assert house.counts.sites["mx.d.test"].delivered == 1
    house.spool.short = False
    house.clock.mono += SHORT + 1
    house.schedule.tick(house.clock.now())
    house.attempt(NO)
    assert house.told() == [("x1@d.test", "failed", "5.1.1")] and ident in house.spool.ended


def test_alone_too_it_is_over() -> None:
    house = House()
    ident = house.accept("SUCCESS")
    house.spool.short = True
    assert house.attempt(RELAYED).place is Place.OUT
    assert house.spool.ended[ident].recipients == (Status.DELIVERED,) and len(house.schedule) == 0


def test_a_task_cut_off_in_its_wait_delivers_nothing_twice_and_tells_once() -> None:
    """The record is visible from the commit on; who gives the item back goes by it."""
    house = House()
    ident = house.accept("SUCCESS")
    house.spool.gate = tasks.Parking()
    item = house.pick()
    task = tasks.spawn(house.settle.settle, item, [RELAYED])
    until(lambda: house.spool.states[ident].ended, "the record under way")
    assert house.spool.states[ident].recipients == (Status.DELIVERED,)
    house.spool.gate.wake()
    until(lambda: item.place is Place.OUT, "the item to be over")
    assert task is not None and house.told() == [("x0@d.test", "relayed", "2.6.0")]


def test_an_end_in_the_queue_has_no_attempt_to_date() -> None:
    def dates() -> list[str | None]:
        (letter,) = house.letters()
        return [one["Last-Attempt-Date"] for one in list(letter.iter_parts())[1].get_payload()[1:]]  # type: ignore[attr-defined]

    house = House()
    house.accept("", "")
    house.attempt(LATER, NO)
    assert house.told() == [("x1@d.test", "failed", "5.1.1")] and None not in dates()
    house.clock.mono += 6 * 86_400.0  # the time of that notice runs out as well
    house.schedule.tick(house.clock.now())
    assert house.told() == [("x0@d.test", "failed", "5.4.7")] and dates() == [None]


def test_an_expanded_name_is_told_of() -> None:
    house = House()
    ident = house.accept("", ret="HDRS")
    envelope = house.spool.envelope(ident)
    assert envelope is not None
    names = [Recipient("all@us.test", "SUCCESS,FAILURE"), Recipient("few@us.test"), Recipient("no@us.test", "NEVER")]
    assert house.notices.expanded(ident, envelope, names, house.clock.wall()) is not None
    assert house.told() == [("all@us.test", "expanded", "2.1.5")]
    assert house.notices.expanded(ident, envelope, names[1:], house.clock.wall()) is None
    house.spool.short = True
    assert house.notices.expanded(ident, envelope, names, house.clock.wall()) is None
    nobody = Envelope("", envelope.recipients, envelope.created)
    house.spool.short = False
    assert house.notices.expanded(ident, nobody, names, house.clock.wall()) is None
    assert len(house.letters()) == 1


def test_ret_is_honoured_where_the_operator_returns_nothing() -> None:
    house = House(return_="nothing")
    house.accept("", ret="FULL")
    house.attempt(NO)
    (letter,) = house.letters()
    assert [part.get_content_type() for part in letter.iter_parts()][2:] == ["message/rfc822"]  # type: ignore[attr-defined]
    house = House(return_="nothing")
    house.accept("")
    house.spool.damaged.update(house.spool.messages)  # nothing is read for it
    house.attempt(NO)
    assert len(list(house.letters()[0].iter_parts())) == 2  # type: ignore[attr-defined]


def test_a_sender_that_is_an_alias_is_told_as_whom_it_stands_for() -> None:
    """Of failures as of expansions; the letter itself still says to whom it is."""
    house = House(aliases=(("root@relay.test", ("admin@a.test", "night@b.test")),))
    house.accept("FAILURE", sender="Root@relay.test")
    house.attempt(NO)
    envelope = Envelope("root@relay.test", (Recipient("x0@d.test"),), house.clock.wall(), size=len(HEAD))
    ident = house.intake.accept(envelope, b"", HEAD, ident=IDS.fresh())
    house.notices.expanded(ident, envelope, [Recipient("staff@relay.test", "SUCCESS")], house.clock.wall())
    letters = [one.envelope for one in house.spool.messages.values() if not one.envelope.sender]
    assert [[(to.address, to.notify) for to in one.recipients] for one in letters] == [
        [("admin@a.test", "NEVER"), ("night@b.test", "NEVER")]
    ] * 2
    assert [one["To"] for one in house.letters()] == ["Root@relay.test", "root@relay.test"]
