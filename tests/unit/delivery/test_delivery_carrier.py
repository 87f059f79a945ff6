"""carrier.py: a message over one connection at a time, to one outcome per recipient, whatever the hosts do."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.delivery.carrier import Carrier
from fastrelay.delivery.limits import LEASE_MESSAGES, LEASE_SECONDS
from fastrelay.errors import Impossible, MachineShort, PeerClosed, PeerTimeout
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.runtime import tasks
from tests.peers.road import an_envelope
from tests.unit.road_ends import EXTENSIONS, GOOD, PARTS, ShortRoad, host
from tests.unit.rooms import until

ONE_BY_ONE = {"extensions": ("8BITMIME",)}
BYE = b"421 4.3.2 bye\r\n"
FULL = b"452 4.5.3 too many\r\n"
NO = b"550 5.1.1 no\r\n"
OK = b"250 2.1.5 ok\r\n"


def shown(outcomes: list[Outcome]) -> list[str]:
    """Kind, phase and host's number of each, with a mark for doubt."""
    return [
        f"{type(one).__name__} {one.phase.value} {one.host.removesuffix('.example')}".rstrip()
        + (" uncertain" if isinstance(one, Deferred) and one.uncertain else "")
        for one in outcomes
    ]


def told(road: ShortRoad, verb: str) -> list[int]:
    """How often each connection was told a command."""
    return [sum(line.startswith(verb) for line in link.told) for link in road.wire.links]


def ends_clean(road: ShortRoad, carrier: Carrier) -> None:
    carrier.close()
    road.pool.close_idle()
    assert road.balance == (0, 0, 0)


# -- reuse ------------------------------------------------------------------------------------------------------------


def test_one_connection_for_message_after_message() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    for _ in range(3):
        assert shown(road.send(carrier, way)) == ["Delivered dot mx1"]
        road.clock.mono += 1.0
    assert told(road, "<content>") == [3] and told(road, "RSET") == [0]
    assert road.counts.connection_reuse == 2
    ends_clean(road, carrier)


def test_until_it_is_worn_by_count() -> None:
    road = ShortRoad(messages_per_connection=2)
    carrier, way = road.carrier(), road.way()
    for _ in range(5):
        road.send(carrier, way)
    assert told(road, "<content>") == [2, 2, 1]
    assert [link.closed for link in road.wire.links] == [True, True, False], "closed as soon as it is"
    ends_clean(road, carrier)


def test_until_it_has_taken_as_many_as_the_peer_takes() -> None:
    """RFC 9422 4.1: a transaction more would be refused, and the session ended."""
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"extensions": (*EXTENSIONS, "LIMITS RCPTMAX=50 MAILMAX=2 RCPTDOMAINMAX=1")}]
    carrier, way = road.carrier(), road.way()
    for _ in range(5):
        road.send(carrier, way)
        carrier.rest(road.clock.now())
    assert told(road, "MAIL") == told(road, "<content>") == [2, 2, 1]
    ends_clean(road, carrier)


def test_until_it_is_worn_by_time() -> None:
    road = ShortRoad(connection_lifetime=60.0)
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    road.clock.mono += 59.0
    road.send(carrier, way)
    road.clock.mono += 1.0
    road.send(carrier, way)
    assert told(road, "<content>") == [2, 1]
    ends_clean(road, carrier)


def test_what_does_not_satisfy_is_left_to_others() -> None:
    road = ShortRoad()
    carrier = road.carrier()
    road.send(carrier, road.way(host(1)))
    road.send(carrier, road.way(host(2)))
    assert road.wire.open == 2 and road.counts.out_idle == 1
    other = road.carrier()
    road.send(other, road.way(host(1)))
    assert len(road.wire.links) == 2
    other.close()
    ends_clean(road, carrier)


def test_a_rest_and_back() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    carrier.rest(road.clock.now())
    road.send(carrier, way)
    carrier.rest(road.clock.now())
    assert (road.counts.out_active, road.counts.out_idle) == (0, 1)
    road.send(carrier, way)
    assert len(road.wire.links) == 1
    ends_clean(road, carrier)


# -- a used connection that is dead -----------------------------------------------------------------------------------


def test_one_that_has_spoken_or_closed_meanwhile_is_told_nothing() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    road.wire.links[0].quiet = False
    assert shown(road.send(carrier, way)) == ["Delivered dot mx1"]
    assert told(road, "MAIL") == [1, 1] and road.wire.links[0].closed
    ends_clean(road, carrier)


def test_a_pool_of_dead_ones_costs_one_new_connection() -> None:
    road = ShortRoad()
    carriers, way = [road.carrier() for _ in range(3)], road.way()
    for carrier in carriers:
        road.send(carrier, way)
    for carrier in carriers:
        carrier.rest(road.clock.now())
    for link in road.wire.links:
        link.quiet = False
    assert shown(road.send(carriers[0], way)) == ["Delivered dot mx1"]
    assert len(road.wire.links) == 4 and road.wire.open == 1
    ends_clean(road, carriers[0])


@pytest.mark.parametrize("death", [b"", BYE, PeerClosed("reset"), PeerTimeout("late")])
@pytest.mark.parametrize("extensions", [EXTENSIONS, ()])
def test_dead_or_421_at_mail_is_a_silent_reconnect(death: Any, extensions: tuple[str, ...]) -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"mail": (None, death), "extensions": extensions}, GOOD]
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    assert shown(road.send(carrier, way, 2)) == ["Delivered dot mx1"] * 2
    assert told(road, "<content>") == [1, 1]
    assert road.dialer.health.statistics()["resting"] == 0, "nothing is held against the host"
    ends_clean(road, carrier)


def test_other_idle_ones_are_suspected_too() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"mail": (None, b"")}] * 2 + [GOOD]
    carrier, other, way = road.carrier(), road.carrier(), road.way()
    road.send(carrier, way)
    road.send(other, way)
    other.rest(road.clock.now())
    assert shown(road.send(carrier, way)) == ["Delivered dot mx1"]
    assert told(road, "MAIL") == [2, 1, 1]
    ends_clean(road, carrier)


def test_a_fresh_one_that_dies_is_the_hosts_word() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"mail": b""}]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way())) == ["Deferred mail mx1"]
    assert len(road.wire.links) == 1
    ends_clean(road, carrier)


def test_a_used_one_that_dies_later_is_the_hosts_word_too() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"rcpt": (None, b"")}]
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    assert shown(road.send(carrier, way)) == ["Deferred rcpt mx1"]
    ends_clean(road, carrier)


def test_a_refusal_in_the_content_on_a_used_one_is_not_asked_for_twice() -> None:
    road = ShortRoad()
    script = {"content": (None, None, None, PeerClosed("broken pipe")), "last words": b"552 5.3.4 enough\r\n"}
    road.wire.hosts["192.0.2.1"] = [script]
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    assert shown(road.send(carrier, way)) == ["Failed content mx1"]
    assert len(road.wire.links) == 1
    ends_clean(road, carrier)


def test_a_reconnect_that_fails_is_an_attempt() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"mail": (None, b"")}, PeerClosed("refused")]
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    assert shown(road.send(carrier, way)) == ["Deferred connect mx1"]
    ends_clean(road, carrier)


# -- the next host ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        PeerClosed("refused"),
        {"banner": b"554 5.7.1 no\r\n"},
        {"mail": BYE},
        {"mail": PeerTimeout("late")},
        {"rcpt": b"what\r\n"},
        {"data": b""},
        {"content": PeerTimeout("late")},
        {"dot": BYE},
    ],
)
def test_the_hosts_own_trouble_goes_on_to_the_next(script: Any) -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [script]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(host(1), host(2)))) == ["Delivered dot mx2"]
    assert road.dialer.health.statistics()["resting"] == 1
    assert carrier.connection is not None and carrier.connection.host == "mx2.example"
    ends_clean(road, carrier)


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ({"mail": b"451 4.7.1 later\r\n"}, "Deferred mail mx1"),
        ({"mail": NO}, "Failed mail mx1"),
        ({"rcpt": NO}, "Failed rcpt mx1"),
        ({"rcpt": b"450 4.2.1 later\r\n"}, "Deferred rcpt mx1"),
        ({"data": b"451 4.3.0 later\r\n"}, "Deferred data mx1"),
        ({"dot": b"554 5.7.1 spam\r\n"}, "Failed dot mx1"),
        ({"dot": b""}, "Deferred dot mx1 uncertain"),
        ({"dot": PeerTimeout("late")}, "Deferred dot mx1 uncertain"),
    ],
)
def test_what_is_said_of_the_message_or_in_doubt_asks_nobody_else(script: Any, wanted: str) -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [script]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(host(1), host(2)))) == [wanted]
    assert road.wire.dialled == ["192.0.2.1"]
    ends_clean(road, carrier)


def test_who_was_refused_keeps_it_and_only_the_others_go_on() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"rcpt": (OK, NO, BYE)}]
    carrier = road.carrier()
    outcomes = road.send(carrier, road.way(host(1), host(2)), 4)
    assert shown(outcomes) == ["Delivered dot mx2", "Failed rcpt mx1", "Delivered dot mx2", "Delivered dot mx2"]
    assert [line for line in road.wire.links[1].told if line.startswith("RCPT")] == [
        f"RCPT TO:<user{n}@example>" for n in (0, 2, 3)
    ]
    ends_clean(road, carrier)


def test_at_most_five_addresses_whoever_fails_and_how() -> None:
    road = ShortRoad()
    road.wire.hosts |= {f"192.0.2.{n}": [{"mail": BYE} if n % 2 else PeerClosed("refused")] for n in range(1, 9)}
    carrier = road.carrier()
    (outcome,) = road.send(carrier, road.way(*map(host, range(1, 9))))
    assert road.wire.dialled == [f"192.0.2.{n}" for n in range(1, 6)]
    assert shown([outcome]) == ["Deferred mail mx5"]
    ends_clean(road, carrier)


def test_the_word_of_a_host_outweighs_that_there_was_no_other() -> None:
    road = ShortRoad(connections=1)
    road.wire.hosts |= {"192.0.2.1": [{"mail": BYE}], "192.0.2.2": [MachineShort("no descriptors")]}
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(host(1)))) == ["Deferred mail mx1"], "no other address"
    assert shown(road.send(carrier, road.way(host(1), host(2)))) == ["Deferred queue"], "it rests: the second is first"
    road.clock.mono += 3600.0
    assert shown(road.send(carrier, road.way(host(1), host(2)))) == ["Deferred mail mx1"], "a limit of ours"
    ends_clean(road, carrier)


def test_a_second_host_that_cannot_be_reached_has_the_last_word() -> None:
    road = ShortRoad()
    road.wire.hosts |= {"192.0.2.1": [{"mail": BYE}], "192.0.2.2": [PeerClosed("refused")]}
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(host(1), host(2)))) == ["Deferred connect mx2"]
    ends_clean(road, carrier)


# -- limits of ours ---------------------------------------------------------------------------------------------------


def test_held_back_is_no_attempt_and_nothing_was_tried() -> None:
    road = ShortRoad()
    road.ledger.not_before = road.clock.now() + 100.0
    carrier, way = road.carrier(), road.way()
    outcome = carrier.ready(way.demand, way.route, road.clock.now())
    assert isinstance(outcome, Deferred) and (outcome.phase, outcome.scope) == (Phase.QUEUE, Scope.SITE)
    assert outcome.retry_after == 100.0 and carrier.connection is None and road.wire.dialled == []
    assert shown(road.send(carrier, way, 2)) == ["Deferred queue"] * 2
    ends_clean(road, carrier)


def test_ready_has_the_connection_that_deliver_uses() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    for _ in range(2):
        assert carrier.ready(way.demand, way.route, road.clock.now()) is None
    assert len(road.wire.links) == 1
    road.send(carrier, way)
    assert len(road.wire.links) == 1 and carrier.ready(way.demand, way.route, road.clock.now()) is None
    ends_clean(road, carrier)


def test_seconds_of_connecting_and_of_transmitting(monkeypatch: pytest.MonkeyPatch) -> None:
    road = ShortRoad()
    connect = road.wire.connect

    def slow(address: str, port: int, *, source: str, seconds: float) -> Any:
        road.clock.mono += 2.0
        link = connect(address, port, source=source, seconds=seconds)
        link.before_read = lambda: pass_second(road)
        return link

    monkeypatch.setattr(road.dialer, "_connect", slow)
    carrier, way = road.carrier(), road.way()
    assert carrier.ready(way.demand, way.route, road.clock.now()) is None
    road.send(carrier, way)
    assert (carrier.connect_seconds, carrier.transmit_seconds) == (4.0, 2.0)  # banner, EHLO; envelope, dot
    road.send(carrier, way)
    assert (carrier.connect_seconds, carrier.transmit_seconds) == (0.0, 2.0)
    ends_clean(road, carrier)


def pass_second(road: ShortRoad) -> None:
    road.clock.mono += 1.0


# -- handing on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "seconds", "given_up"),
    [
        (LEASE_MESSAGES - 1, 0.0, False),
        (LEASE_MESSAGES, 0.0, True),
        (1, LEASE_SECONDS - 0.1, False),
        (1, LEASE_SECONDS, True),
    ],
)
def test_given_up_to_a_worker_that_waits_once_it_is_ripe(messages: int, seconds: float, given_up: bool) -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"dot": None}]
    carrier, way = road.carrier(), road.way()
    for _ in range(messages - 1):
        road.send(carrier, way)
    road.ledger.waiting = 1
    carrier.ready(way.demand, way.route, road.clock.now())
    road.wire.links[0].before_read = lambda: later(road, seconds / 2)
    road.send(carrier, way)
    assert road.wire.links[0].closed is given_up
    assert road.ledger.waiting == (0 if given_up else 1)
    ends_clean(road, carrier)


def later(road: ShortRoad, seconds: float) -> None:
    road.clock.mono += seconds


def test_kept_while_nobody_waits() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    for _ in range(LEASE_MESSAGES * 2):
        road.send(carrier, way)
    assert len(road.wire.links) == 1 and road.counts.out_active == 1
    ends_clean(road, carrier)


def test_a_neighbour_that_waits_gets_it_as_it_is() -> None:
    road = ShortRoad(connections=1)
    carrier, other, way = road.carrier(), road.carrier(), road.way()
    road.send(carrier, way)
    found: list[Outcome] = []
    task = tasks.spawn(lambda: found.extend(road.send(other, way)))
    tasks.run_loop_once()
    road.send(carrier, way)
    assert not found and road.counts.out_active == 1, "not ripe yet"
    road.clock.mono += LEASE_SECONDS
    road.send(carrier, way)
    until(lambda: task.dead, "the neighbour's end")
    assert shown(found) == ["Delivered dot mx1"] and len(road.wire.links) == 1
    ends_clean(road, other)


# -- many recipients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "offered", "recipients", "sizes"),
    [
        (100, "", 5, [5]),
        (2, "", 5, [2, 2, 1]),
        (100, "LIMITS RCPTMAX=2", 5, [2, 2, 1]),
        (2, "LIMITS RCPTMAX=4", 5, [2, 2, 1]),
        (4, "LIMITS RCPTMAX=0", 5, [4, 1]),
    ],
)
def test_split_by_the_limit_of_recipients(setting: int, offered: str, recipients: int, sizes: list[int]) -> None:
    road = ShortRoad(recipients_per_transaction=setting)
    road.wire.hosts["192.0.2.1"] = [{"extensions": (*EXTENSIONS, offered)}]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(), recipients)) == ["Delivered dot mx1"] * recipients
    groups = "\n".join(road.wire.links[0].told).split("MAIL")[1:]
    assert [group.count("RCPT") for group in groups] == sizes
    ends_clean(road, carrier)


def test_each_part_has_its_own_word() -> None:
    road = ShortRoad(recipients_per_transaction=2)
    road.wire.hosts["192.0.2.1"] = [{"dot": (None, b"451 4.3.0 later\r\n", b"554 5.7.1 no\r\n"), "rcpt": (OK, NO, OK)}]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(), 6)) == [
        "Delivered dot mx1",
        "Failed rcpt mx1",
        "Deferred dot mx1",
        "Deferred dot mx1",
        "Failed dot mx1",
        "Failed dot mx1",
    ]
    ends_clean(road, carrier)


def test_a_part_in_doubt_says_nothing_of_the_others() -> None:
    road = ShortRoad(recipients_per_transaction=2)
    road.wire.hosts["192.0.2.1"] = [{"dot": b""}, GOOD]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(), 3)) == ["Deferred dot mx1 uncertain"] * 2 + ["Delivered dot mx1"]
    assert road.wire.links[0].was_reset
    ends_clean(road, carrier)


def test_refused_for_their_number_goes_on_at_once_on_the_same_connection() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"rcpt": (OK, OK, FULL, FULL, FULL, OK, OK, FULL, OK)}]
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(), 5)) == ["Delivered dot mx1"] * 5
    assert told(road, "<content>") == [3]
    ends_clean(road, carrier)


def test_a_connection_may_be_worn_between_two_parts() -> None:
    road = ShortRoad(recipients_per_transaction=1, messages_per_connection=2)
    carrier = road.carrier()
    assert shown(road.send(carrier, road.way(), 5)) == ["Delivered dot mx1"] * 5
    assert told(road, "<content>") == [2, 2, 1]
    ends_clean(road, carrier)


def test_the_indices_asked_for_alone_in_their_order() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    road.wire.hosts["192.0.2.1"] = [{"rcpt": (OK, NO)}]
    outcomes = carrier.deliver(way.demand, way.route, an_envelope(9), [7, 2], PARTS, road.clock.now())
    assert shown(outcomes) == ["Delivered dot mx1", "Failed rcpt mx1"]
    assert [line for line in road.wire.links[0].told if "RCPT" in line] == [
        "RCPT TO:<user7@example>",
        "RCPT TO:<user2@example>",
    ]
    ends_clean(road, carrier)


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_what_a_host_cannot_take_is_not_begun() -> None:
    road = ShortRoad(recipients_per_transaction=2)
    road.wire.hosts["192.0.2.1"] = [{"extensions": ("SIZE 10",)}]
    carrier, way = road.carrier(), road.way()
    outcomes = road.send(carrier, way, 3)
    assert shown(outcomes) == ["Failed mail mx1"] * 3 and outcomes[0].reply.enhanced == "5.3.4"
    assert all(isinstance(one, Failed) and one.ours for one in outcomes), "no notice says that the host said so"
    assert told(road, "MAIL") == [0] and road.counts.out_active == 1, "the connection is as good as before"
    ends_clean(road, carrier)


def test_a_recipient_beyond_ascii_does_not_take_the_others_along() -> None:
    """The second host too, where the first has spoken of itself."""
    road = ShortRoad()
    road.wire.hosts |= {"192.0.2.1": [{"mail": BYE}], "192.0.2.2": [ONE_BY_ONE]}
    carrier, way = road.carrier(), road.way(host(1), host(2))
    to = tuple(map(Recipient, ["a@example", "ö@example", "b@example"]))
    envelope = Envelope("s@sender.example", to, 0.0, smtputf8=True)
    outcomes = carrier.deliver(way.demand, way.route, envelope, range(3), PARTS, road.clock.now())
    assert shown(outcomes) == ["Delivered dot mx2", "Failed mail mx2", "Delivered dot mx2"]
    assert outcomes[1].reply.enhanced == "5.6.7"
    ends_clean(road, carrier)


def test_parameters_are_those_of_the_envelope() -> None:
    road = ShortRoad()
    carrier = road.carrier()
    road.send(carrier, road.way(), body="8BITMIME", smtputf8=True)
    size = sum(map(len, PARTS))
    assert f"MAIL FROM:<a@sender.example> SIZE={size} BODY=8BITMIME SMTPUTF8" in road.wire.links[0].told
    ends_clean(road, carrier)


# -- cut off ----------------------------------------------------------------------------------------------------------


def cut_off(road: ShortRoad, script: dict[str, Any], recipients: int) -> tuple[Carrier, list[Outcome | None]]:
    """A delivery that TaskExit ends where the script says."""
    road.wire.hosts["192.0.2.1"] = [script]
    carrier = road.carrier()
    with pytest.raises(tasks.TaskExit):
        road.send(carrier, road.way(), recipients)
    found = carrier.so_far(range(recipients))
    ends_clean(road, carrier)
    return carrier, found


@pytest.mark.parametrize("step", ["banner", "ehlo", "mail", "rcpt", "data", "content"])
def test_cut_off_before_the_dot_nothing_has_become_of_it(step: str) -> None:
    _, found = cut_off(ShortRoad(), {step: tasks.TaskExit()}, 2)
    assert found == [None, None]


def test_cut_off_behind_the_dot_is_in_doubt() -> None:
    road = ShortRoad()
    carrier, found = cut_off(road, {"dot": tasks.TaskExit()}, 2)
    for outcome in found:
        assert isinstance(outcome, Deferred) and outcome.uncertain and outcome.phase is Phase.DOT
        assert (outcome.host, outcome.address) == ("mx1.example", "192.0.2.1")
    assert carrier.connection is not None and road.wire.links[0].was_reset


def test_cut_off_behind_the_dot_who_was_refused_is_in_no_doubt() -> None:
    _, found = cut_off(ShortRoad(), {"rcpt": (OK, NO, b"450 4.2.1 later\r\n"), "dot": tasks.TaskExit()}, 3)
    assert shown([one for one in found if one]) == [
        "Deferred dot mx1 uncertain",
        "Failed rcpt mx1",
        "Deferred rcpt mx1",
    ]


def test_cut_off_before_the_dot_who_was_refused_stays_refused() -> None:
    _, found = cut_off(ShortRoad(), {"rcpt": (OK, NO), "data": tasks.TaskExit()}, 2)
    assert found[0] is None and isinstance(found[1], Failed)


def test_cut_off_in_the_second_part_the_first_keeps_its_outcomes() -> None:
    road = ShortRoad(recipients_per_transaction=2)
    _, found = cut_off(road, {"rcpt": (OK, NO, OK), "dot": (None, tasks.TaskExit())}, 5)
    assert shown([one for one in found if one]) == [
        "Delivered dot mx1",
        "Failed rcpt mx1",
        "Deferred dot mx1 uncertain",
        "Deferred dot mx1 uncertain",
    ]
    assert found[4] is None


def test_doubt_of_an_earlier_delivery_is_not_carried_over() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"dot": b""}, {"banner": tasks.TaskExit()}]
    carrier, way = road.carrier(), road.way()
    assert shown(road.send(carrier, way)) == ["Deferred dot mx1 uncertain"]
    with pytest.raises(tasks.TaskExit):
        road.send(carrier, way)
    assert carrier.so_far([0]) == [None]
    ends_clean(road, carrier)


def test_a_bug_of_ours_is_loud_and_leaves_no_connection() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    road.send(carrier, way)
    envelope = Envelope("a@x\r\nRCPT TO:<b@y", (Recipient("c@example"),), 0.0)
    with pytest.raises(Impossible):
        carrier.deliver(way.demand, way.route, envelope, [0], PARTS, road.clock.now())
    assert road.balance == (0, 0, 0)


# -- whatever the hosts do --------------------------------------------------------------------------------------------

REPLIES = st.sampled_from(
    [None, None, None, b"", BYE, FULL, NO, b"451 4.3.0 x\r\n", b"354 x\r\n", b"what\r\n", PeerTimeout("late")]
)
STEPS = st.sampled_from(["banner", "ehlo", "mail", "rcpt", "data", "dot", "rset"])
SCRIPTS = st.dictionaries(STEPS, st.lists(REPLIES, min_size=1, max_size=5).map(tuple), max_size=3)
CONNECTIONS = st.lists(st.one_of(SCRIPTS, SCRIPTS, st.just(PeerClosed("refused"))), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(CONNECTIONS, min_size=1, max_size=3), st.integers(1, 7), st.integers(1, 4), st.booleans(), st.booleans()
)
def test_every_recipient_has_one_outcome_and_what_is_called_delivered_was_sent(
    hosts: list[list[Any]], recipients: int, most: int, pipelining: bool, silent: bool
) -> None:
    """Twice over, so that used connections have their part."""
    road = ShortRoad(recipients_per_transaction=most, connections=1)
    extensions = EXTENSIONS if pipelining else ()
    for number, scripts in enumerate(hosts, 1):
        road.wire.hosts[f"192.0.2.{number}"] = [
            script if isinstance(script, Exception) else {"extensions": extensions, **script} for script in scripts
        ]
    carrier, way = road.carrier(), road.way(*(host(number) for number in range(1, len(hosts) + 1)))
    for _ in range(2):
        before = [len(link.told) for link in road.wire.links]
        outcomes = road.send(carrier, way, recipients)
        assert len(outcomes) == recipients
        assert all(isinstance(outcome, Delivered | Deferred | Failed) for outcome in outcomes)
        taken: dict[str, int] = {}
        for number, link in enumerate(road.wire.links):
            for to in recipients_of_contents(link.told[before[number] if number < len(before) else 0 :]):
                taken[to] = taken.get(to, 0) + 1
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, Delivered):
                assert taken[f"user{number}@example"] >= 1
            elif isinstance(outcome, Deferred) and outcome.uncertain:
                assert taken[f"user{number}@example"] >= 1, "the dot was sent"
        assert road.ledger.most <= 1
        assert len({*road.wire.dialled}) <= len(hosts)
        if silent:
            carrier.rest(road.clock.now())
        road.clock.mono += 1.0
    ends_clean(road, carrier)


def recipients_of_contents(lines: list[str]) -> list[str]:
    """Those named in transactions whose content was sent."""
    found: list[str] = []
    named: list[str] = []
    for line in lines:
        if line.startswith("MAIL"):
            named = []
        elif line.startswith("RCPT"):
            named.append(line[9:-1])
        elif line == "<content>":
            found += named
    return found


# -- made to fit ------------------------------------------------------------------------------------------------------


def test_a_host_without_8bitmime_gets_7_bit_content_and_it_is_told() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"extensions": ("PIPELINING", "SIZE 10000")}]
    carrier, way = road.carrier(), road.way()
    message = an_envelope(2, body="8BITMIME")
    parts = [PARTS[0], "Subject: hello\r\n\r\nGrüße an alle, die das lesen\r\n".encode()]
    outcomes = carrier.deliver(way.demand, way.route, message, range(2), parts, road.clock.now())
    assert shown(outcomes) == ["Delivered dot mx1"] * 2 and carrier.converted
    (link,) = road.wire.links
    written = b"".join(link.writes)
    assert b"\r\n\r\nGr=C3=BC=C3=9Fe an alle" in written and written.isascii() and b"BODY=" not in written
    told_size = int(written.partition(b"SIZE=")[2].partition(b"\r\n")[0])
    assert told_size > sum(map(len, parts)), "of what is sent, not of what came in"
    road.send(carrier, way)
    assert not carrier.converted
    ends_clean(road, carrier)


def test_a_domain_beyond_ascii_is_named_by_its_a_labels_where_smtputf8_is_not_offered() -> None:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = [{"extensions": ("PIPELINING",)}]
    carrier, way = road.carrier(), road.way()
    message = Envelope("a@müller.example", (Recipient("b@bücher.example"),), 0.0, smtputf8=True)
    carrier.deliver(way.demand, way.route, message, range(1), PARTS, road.clock.now())
    assert road.wire.links[0].told[1:3] == [
        "MAIL FROM:<a@xn--mller-kva.example>",
        "RCPT TO:<b@xn--bcher-kva.example>",
    ]
    ends_clean(road, carrier)


def test_addresses_beyond_ascii_go_as_they_are_where_smtputf8_is_offered() -> None:
    road = ShortRoad()
    carrier, way = road.carrier(), road.way()
    message = Envelope("ä@müller.example", (Recipient("b@bücher.example"),), 0.0, smtputf8=True)
    carrier.deliver(way.demand, way.route, message, range(1), PARTS, road.clock.now())
    size = sum(map(len, PARTS))
    assert road.wire.links[0].told[1:3] == [
        f"MAIL FROM:<ä@müller.example> SIZE={size} SMTPUTF8",
        "RCPT TO:<b@bücher.example>",
    ]
    ends_clean(road, carrier)
