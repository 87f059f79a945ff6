"""DSN on the road: parameters go on as they came, and who tells of a success is decided where it was handed over."""

from collections.abc import Sequence
from typing import Any

import pytest

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Delivered, Duty, Failed, Outcome
from fastrelay.mail.route import Host
from tests.unit.road_ends import EXTENSIONS, PARTS, ShortRoad

SOCKET = "unix:/run/lmtp"
STORE = Host(SOCKET, (SOCKET,), lmtp=True)
DSN = {"extensions": (*EXTENSIONS, "DSN")}
ASKING = (
    Recipient("a@example", "SUCCESS,FAILURE", "rfc822;Z+41+2B@y.example"),
    Recipient("b@example"),
    Recipient("c@example", "NEVER"),
    Recipient("d@example", "DELAY", "utf-8;jos\u00e9@y.example"),
)


def send(
    *scripts: Any, recipients: Sequence[Recipient] = ASKING, hosts: Sequence[Host] = (), **envelope: Any
) -> tuple[list[Outcome], ShortRoad]:
    road = ShortRoad()
    road.wire.hosts["192.0.2.1"] = scripts
    road.wire.hosts[SOCKET] = scripts
    carrier = road.carrier()
    way = road.way(*hosts)
    message = Envelope("s@sender.example", tuple(recipients), 0.0, **envelope)
    outcomes = carrier.deliver(way.demand, way.route, message, range(len(recipients)), PARTS, road.clock.now())
    carrier.close()
    return outcomes, road


def envelope_of(road: ShortRoad) -> list[str]:
    return [line.partition(">")[2] for line in road.wire.links[0].told if line.startswith(("MAIL", "RCPT"))]


def duties(outcomes: Sequence[Outcome]) -> list[Duty | None]:
    return [one.duty if isinstance(one, Delivered) else None for one in outcomes]


def test_to_a_peer_that_knows_dsn_they_go_on_as_they_came() -> None:
    outcomes, road = send(DSN, ret="HDRS", envid="Q+2B+41")
    assert envelope_of(road) == [
        f" SIZE={sum(map(len, PARTS))} RET=HDRS ENVID=Q+2B+41",
        " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Z+41+2B@y.example",
        "",
        " NOTIFY=NEVER",
        r" NOTIFY=DELAY ORCPT=utf-8;jos\x{E9}@y.example",
    ]
    assert duties(outcomes) == [Duty.PASSED] * 4, "it will tell"
    _, road = send(DSN, smtputf8=True)
    assert envelope_of(road)[0].endswith(" SMTPUTF8")
    assert envelope_of(road)[-1] == " NOTIFY=DELAY ORCPT=utf-8;jos\u00e9@y.example"


def test_what_was_not_given_is_not_added() -> None:
    plain = [Recipient("a@example"), Recipient("b@example")]
    _, road = send(DSN, recipients=plain)
    assert envelope_of(road) == [f" SIZE={sum(map(len, PARTS))}", "", ""]
    _, road = send(DSN, recipients=plain, envid="E")
    assert envelope_of(road) == [f" SIZE={sum(map(len, PARTS))} ENVID=E", "", ""]


def test_to_a_peer_that_does_not_nothing_is_said_and_success_is_ours_to_tell() -> None:
    outcomes, road = send({}, ret="FULL", envid="E")
    assert envelope_of(road) == [f" SIZE={sum(map(len, PARTS))}", "", "", "", ""]
    assert duties(outcomes) == [Duty.RELAYED, Duty.PASSED, Duty.PASSED, Duty.PASSED]


def test_the_last_hop_has_delivered_it() -> None:
    said = {"dot": b"250 kept\r\n550 5.2.1 off\r\n"}
    both = [Recipient("a@example", "SUCCESS"), Recipient("b@example", "SUCCESS")]
    outcomes, _ = send(said, recipients=both, hosts=[STORE])
    assert duties(outcomes) == [Duty.DELIVERED, None] and isinstance(outcomes[1], Failed)
    assert duties(send({**said, **DSN}, recipients=both, hosts=[STORE])[0]) == [Duty.PASSED, None]


def test_each_recipient_by_the_host_that_took_it() -> None:
    """The first store keeps it for one and then hangs up; the second, which knows DSN, keeps it for another."""
    other = Host("unix:/run/lmtp2", ("unix:/run/lmtp2",), lmtp=True)
    road = ShortRoad()
    road.wire.hosts[SOCKET] = [{"dot": b"250 kept\r\n421 4.3.2 bye\r\n"}]
    road.wire.hosts[other.name] = [{**DSN, "dot": b"250 kept\r\n"}]
    both = tuple(Recipient(f"{name}@example", "SUCCESS") for name in "ab")
    way, carrier = road.way(STORE, other), road.carrier()
    message = Envelope("s@sender.example", both, 0.0)
    outcomes = carrier.deliver(way.demand, way.route, message, range(2), PARTS, road.clock.now())
    assert [(one.host, duty) for one, duty in zip(outcomes, duties(outcomes), strict=True)] == [
        (SOCKET, Duty.DELIVERED),
        (other.name, Duty.PASSED),
    ]
    carrier.close()


@pytest.mark.parametrize("extensions", [("8BITMIME", "DSN"), ("PIPELINING", "DSN")])
def test_one_by_one_and_all_at_once(extensions: tuple[str, ...]) -> None:
    many = [Recipient(f"user{n}@example", "FAILURE", f"rfc822;{'x' * 400}{n}") for n in range(90)]  # several groups
    outcomes, road = send({"extensions": extensions}, recipients=many, envid="E")
    assert duties(outcomes) == [Duty.PASSED] * 90
    assert envelope_of(road) == [" ENVID=E", *(f" NOTIFY=FAILURE ORCPT={one.orcpt}" for one in many)]


def test_a_session_cut_off_between_replies_still_says_who_tells() -> None:
    road = ShortRoad()
    road.wire.hosts[SOCKET] = [{"dot": b"250 kept\r\n"}]
    both = (Recipient("a@example", "SUCCESS"), Recipient("b@example", "SUCCESS"))
    carrier, way = road.carrier(), road.way(STORE)
    assert carrier.ready(way.demand, way.route, road.clock.now()) is None
    (link,) = road.wire.links

    def then() -> None:
        if "<content>" in link.told and not link._said:
            raise SystemExit("this task ends")

    link.before_read = then
    with pytest.raises(SystemExit):
        carrier.deliver(
            way.demand, way.route, Envelope("s@sender.example", both, 0.0), range(2), PARTS, road.clock.now()
        )
    taken, doubt = carrier.so_far(range(2))
    assert isinstance(taken, Delivered) and taken.duty is Duty.DELIVERED
    assert doubt is not None and getattr(doubt, "uncertain", False)
