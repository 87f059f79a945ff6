"""connect.py: from an address to a session ready for mail, or why not; TLS as asked; what is remembered of hosts."""

from typing import Any

import pytest

from fastrelay.delivery.connect import NO_AUTHORITIES
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.hosts import UNTRUSTED_FOR, Place
from fastrelay.errors import CertificateUntrusted, MachineShort, PeerClosed, PeerTimeout, PeerUnreachable, TlsFailed
from fastrelay.mail.outcome import Deferred, Failed, Outcome, Phase, Scope
from fastrelay.mail.route import Demand, TlsLevel
from fastrelay.runtime import clock, tasks
from fastrelay.smtp.client import State
from fastrelay.smtp.phases import CLIENT_SECONDS
from tests.unit.road_ends import EXTENSIONS, HELLO, ShortRoad, host

PLACE = Place("mx1.example", "192.0.2.1", 25)
TLS = {"extensions": (*EXTENSIONS, "STARTTLS")}
NEVER, OPPORTUNISTIC, REQUIRE, VERIFY = TlsLevel
SHORT = MachineShort("no resources", code=451, enhanced="4.3.2")


class Try:
    """One `Dialer.open` of a host with these scripts."""

    def __init__(
        self,
        *scripts: Any,
        tls: TlsLevel = OPPORTUNISTIC,
        place: Place = PLACE,
        exempt: bool = True,
        road: ShortRoad | None = None,
        source_address: str = "",
        verify_names: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self.road = road = road or ShortRoad(**settings)
        road.wire.hosts[place.address] = scripts or [{}]
        hosts = (host(1, place.address),)
        demand = Demand("example", hosts, tls, source_address=source_address, verify_names=verify_names)
        self.result = road.dialer.open(place, demand, road.settings, exempt=exempt)
        self.links = road.wire.links
        self.health = road.dialer.health

    @property
    def connection(self) -> Connection:
        assert isinstance(self.result, Connection), self.result
        return self.result

    @property
    def outcome(self) -> Outcome:
        assert isinstance(self.result, Outcome)
        return self.result

    @property
    def words(self) -> tuple[Phase, int, str]:
        return self.outcome.phase, self.outcome.reply.code, self.outcome.reply.enhanced

    @property
    def rests(self) -> bool:
        return self.health.rests_until(PLACE) > 0.0


# -- in plaintext -----------------------------------------------------------------------------------------------------


def test_a_session_ready_for_mail() -> None:
    one = Try()
    (link,) = one.links
    assert link.told == [f"EHLO {HELLO}"] and link.deadline == clock.NEVER and not link.closed
    assert one.connection.is_ready and one.connection.is_fresh and one.connection.tls is OPPORTUNISTIC
    assert (one.connection.place, one.connection.opened) == (PLACE, one.road.clock.now())
    assert one.road.wire.seconds == [30.0]


def test_success_ends_the_rest_of_an_address() -> None:
    road = ShortRoad()
    road.dialer.health.failed(PLACE, road.clock.now())
    assert not Try(road=road).rests


def test_helo_where_ehlo_is_unknown_and_the_sites_own_name() -> None:
    one = Try({"ehlo": b"502 5.5.1 what\r\n"}, hello="out.example")
    assert one.links[0].told == ["EHLO out.example", "HELO out.example"] and one.connection.is_ready


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ({"banner": b"554 5.7.1 no\r\n"}, (Phase.BANNER, 554, "5.7.1")),
        ({"banner": b"421 4.3.2 busy\r\n"}, (Phase.BANNER, 421, "4.3.2")),
        ({"banner": b""}, (Phase.BANNER, 451, "4.4.2")),
        ({"banner": PeerTimeout("late")}, (Phase.BANNER, 451, "4.4.2")),
        ({"banner": b"SSH-2.0-x\r\n"}, (Phase.BANNER, 451, "4.5.0")),
        ({"ehlo": b"450 4.7.1 later\r\n"}, (Phase.EHLO, 450, "4.7.1")),
        ({"ehlo": PeerClosed("reset")}, (Phase.EHLO, 451, "4.4.2")),
        ({"ehlo": b"502 5.5.1 what\r\n", "helo": b"550 5.7.1 no\r\n"}, (Phase.EHLO, 550, "5.7.1")),
        (PeerClosed("refused"), (Phase.CONNECT, 451, "4.4.1")),
        (PeerTimeout("late"), (Phase.CONNECT, 451, "4.4.1")),
    ],
)
def test_a_host_that_will_not_is_deferred_and_rests(script: Any, wanted: tuple[Phase, int, str]) -> None:
    """5xx too: in these phases a host speaks of itself, and another may take the message."""
    one = Try(script)
    assert one.words == wanted
    assert isinstance(one.outcome, Deferred) and one.outcome.scope is Scope.HOST
    assert (one.outcome.host, one.outcome.address) == ("mx1.example", "192.0.2.1")
    assert one.rests and one.road.wire.open == 0


def test_a_machine_without_descriptors_says_nothing_of_the_host() -> None:
    one = Try(SHORT)
    assert (one.outcome.phase, one.outcome.scope) == (Phase.QUEUE, Scope.SITE)
    assert not one.rests


def test_a_killed_runner_leaves_no_connection() -> None:
    with pytest.raises(tasks.TaskExit):
        Try({"ehlo": tasks.TaskExit()}, road=(road := ShortRoad()))
    assert road.wire.open == 0 and len(road.wire.links) == 1
    assert road.dialer.health.rests_until(PLACE) == 0.0


# -- where mail must not go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "10.1.2.3", "::1", "::", "::ffff:127.0.0.1", "fe80::1", "224.0.0.1", "unix:/x"]
)
def test_forbidden_addresses_are_not_dialled(address: str) -> None:
    one = Try(place=Place("mx1.example", address, 25), exempt=False)
    assert one.words == (Phase.CONNECT, 550, "5.4.4") and f"has the address {address}: " in one.outcome.reply.text
    assert one.road.wire.dialled == []


def test_the_operators_own_hop_and_a_site_that_allows_it() -> None:
    inside = Place("mx1.example", "10.1.2.3", 25)
    assert Try(place=inside).connection
    assert Try(place=inside, exempt=False, allow_private=True).connection
    assert Try(place=Place("mx1.example", "8.8.8.8", 25), exempt=False).connection


@pytest.mark.parametrize("name", [b"relay.example", b"RELAY.Example.", b"relay.example hello"])
def test_a_host_that_bears_our_name_is_us(name: bytes) -> None:
    script = {"ehlo": b"250 " + name + b"\r\n"}
    public = Place("mx1.example", "8.8.8.8", 25)
    one = Try(script, place=public, exempt=False)
    assert one.words == (Phase.EHLO, 554, "5.4.6") and one.road.wire.open == 0
    assert Try(script, place=public, exempt=True).connection, "the operator knows what he does"


# -- the address we come from -----------------------------------------------------------------------------------------


def test_source_addresses_of_the_peers_family_in_turn() -> None:
    road = ShortRoad(source_address=("192.0.2.70", "2001:db8::7", "192.0.2.71"))
    for place in (PLACE, PLACE, PLACE, Place("mx1.example", "2001:db8::1", 25), Place("mx1", "unix:/x", 25)):
        Try(road=road, place=place)
    first, second, third, sixth, local = road.wire.sources
    assert {first, second} == {"192.0.2.70", "192.0.2.71"} and third == first
    assert (sixth, local) == ("2001:db8::7", "")


def test_the_demands_source_goes_before_the_sites() -> None:
    one = Try(source_address="192.0.2.80", road=ShortRoad(source_address=("192.0.2.70",)))
    assert one.road.wire.sources == ["192.0.2.80"] and one.connection.source == "192.0.2.80"


def test_an_unreachable_address_tells_of_its_family() -> None:
    one = Try(PeerUnreachable("no route to host"))
    assert one.words == (Phase.CONNECT, 451, "4.4.1") and one.rests
    assert one.health.family_is_down("192.0.2.200", one.road.clock.now())
    assert not one.health.family_is_down("2001:db8::1", one.road.clock.now())


def test_a_source_address_that_is_not_ours_tells_nothing_of_the_family() -> None:
    """One site's wrong source_address must not keep all others from IPv4."""
    one = Try(PeerUnreachable("cannot assign requested address"), source_address="198.51.100.1")
    assert not one.health.family_is_down("192.0.2.200", one.road.clock.now()) and one.rests


# -- STARTTLS ---------------------------------------------------------------------------------------------------------


def test_tls_where_it_is_offered() -> None:
    one = Try(TLS)
    (link,) = one.links
    assert link.told == [f"EHLO {HELLO}", "STARTTLS", f"EHLO {HELLO}"]
    assert (link.context, link.server_hostname) == ("verifies", "mx1.example")
    assert (one.connection.tls, one.connection.tls_version) == (REQUIRE, "TLSv1.3")
    assert one.connection.tls_doubt == "", "nobody asked, yet it is known"
    assert not one.connection.client.offer.starttls and link.deadline == clock.NEVER


def test_never_means_never() -> None:
    assert Try(TLS, tls=NEVER).links[0].told == [f"EHLO {HELLO}"]


UNTRUSTED = CertificateUntrusted("certificate not trusted: self-signed certificate")
OTHERS = "the certificate of mx1.example is for a.example, *.b.example, not for mx1.example"


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRE])
def test_a_bad_certificate_is_no_reason_to_go_without_tls_and_is_told(tls: TlsLevel) -> None:
    """One connection more the first time; then the next are opened without looking, for six hours."""
    one = Try({**TLS, "handshake": UNTRUSTED}, tls=tls)
    assert [link.context for link in one.links] == ["verifies", "verifies nothing"] and one.links[0].closed
    assert (one.connection.tls, one.connection.tls_doubt) == (REQUIRE, str(UNTRUSTED))
    assert one.links[1].server_hostname == "mx1.example" and not one.rests
    again = Try({**TLS, "handshake": UNTRUSTED}, tls=tls, road=one.road)
    assert [link.context for link in again.links[2:]] == ["verifies nothing"]
    assert again.connection.tls_doubt == str(UNTRUSTED)
    one.road.clock.mono += UNTRUSTED_FOR
    renewed = Try(TLS, tls=tls, road=one.road)
    assert [link.context for link in renewed.links[3:]] == ["verifies"] and renewed.connection.tls_doubt == ""


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRE])
def test_a_certificate_for_others_is_told_and_costs_nothing(tls: TlsLevel) -> None:
    one = Try({**TLS, "certificate": ("a.example", "*.b.example")}, tls=tls)
    assert len(one.links) == 1 and (one.connection.tls, one.connection.tls_doubt) == (REQUIRE, OTHERS)
    assert one.connection.verified == ""


def test_a_bad_certificate_and_a_broken_handshake_end_in_plaintext() -> None:
    one = Try({**TLS, "handshake": UNTRUSTED}, {**TLS, "handshake": TlsFailed("x")}, TLS)
    assert len(one.links) == 3 and one.connection.tls is OPPORTUNISTIC and one.road.wire.open == 1


def test_a_bad_certificate_is_the_end_where_a_good_one_is_asked_for() -> None:
    """Whatever is remembered of it: it may be renewed by now, and is looked at each time."""
    road = ShortRoad()
    road.dialer.health.untrusted(PLACE, "expired", road.clock.now())
    one = Try({**TLS, "handshake": UNTRUSTED}, tls=VERIFY, road=road)
    assert one.words == (Phase.STARTTLS, 451, "4.7.5") and "self-signed certificate" in one.outcome.reply.text
    assert isinstance(one.outcome, Deferred) and len(one.links) == 1 and one.road.wire.open == 0
    assert Try(TLS, tls=VERIFY, road=road).connection.tls is VERIFY


def test_a_certificate_for_others_is_the_end_where_ours_is_asked_for() -> None:
    one = Try({**TLS, "certificate": ("a.example", "*.b.example")}, tls=VERIFY)
    assert one.words == (Phase.STARTTLS, 451, "4.7.5") and OTHERS in one.outcome.reply.text
    assert len(one.links) == 1 and one.road.wire.open == 0


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRE])
def test_a_machine_without_authorities_judges_nobody_and_says_so(tls: TlsLevel) -> None:
    """Not by a handshake that must fail: every host would cost two connections."""
    one = Try(TLS, tls=tls, tls_ca="/absent.pem")
    assert [link.context for link in one.links] == ["verifies nothing"]
    assert one.connection.tls is REQUIRE and one.connection.tls_doubt == NO_AUTHORITIES


def test_a_machine_without_authorities_cannot_verify() -> None:
    one = Try(TLS, tls=VERIFY, tls_ca="/absent.pem")
    assert one.words == (Phase.STARTTLS, 451, "4.7.5") and NO_AUTHORITIES in one.outcome.reply.text


def test_the_sites_own_authorities() -> None:
    assert Try(TLS, tls=VERIFY, tls_ca="/own.pem").links[0].context == "verifies by our own"


@pytest.mark.parametrize(
    ("names", "certificate", "sni", "verified"),
    [
        (("", "a.example"), ("a.example",), "mx1.example", "a.example"),
        (("a.example", ""), ("mx1.example", "a.example"), "mx1.example", "a.example"),
        (("a.example", "b.example"), ("b.example",), "a.example", "b.example"),
        ((".b.example",), ("x.b.example",), "mx1.example", ".b.example"),
        ((".b.example", "a.example"), ("a.example",), "a.example", "a.example"),
    ],
)
def test_every_name_asked_for_counts(
    names: tuple[str, ...], certificate: tuple[str, ...], sni: str, verified: str
) -> None:
    one = Try({**TLS, "certificate": certificate}, tls=VERIFY, verify_names=names)
    assert (one.links[0].server_hostname, one.connection.verified) == (sni, verified)


def test_verify_asks_for_the_right_name() -> None:
    one = Try(TLS, tls=VERIFY, verify_names=("mail.example",))
    assert (one.links[0].context, one.links[0].server_hostname) == ("verifies", "mail.example")
    assert (one.connection.tls, one.connection.verified) == (VERIFY, "mail.example")
    assert Try(TLS, tls=VERIFY).connection.verified == "mx1.example"


def test_verify_of_a_name_no_certificate_can_bear_fails_before_the_handshake() -> None:
    one = Try(TLS, tls=VERIFY, place=Place("192.0.2.1", "192.0.2.1", 25))
    assert one.words == (Phase.STARTTLS, 451, "4.7.5") and one.links[0].context is None


@pytest.mark.parametrize("tls", [REQUIRE, VERIFY])
def test_not_offered_where_it_is_required(tls: TlsLevel) -> None:
    one = Try(tls=tls)
    assert one.words == (Phase.STARTTLS, 451, "4.7.4")
    assert one.links[0].told == [f"EHLO {HELLO}", "QUIT"] and one.rests


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"503 5.5.1 never\r\n"])
def test_starttls_refused(reply: bytes) -> None:
    """In the same session plaintext will do where TLS is not required; nothing is remembered."""
    script = {**TLS, "starttls": reply}
    one = Try(script)
    assert one.connection.tls is OPPORTUNISTIC and len(one.links) == 1
    assert not one.health.tls_is_broken(PLACE, one.road.clock.now())
    other = Try(script, tls=REQUIRE)
    assert other.words == (Phase.STARTTLS, int(reply[:3]), reply[4:9].decode())
    assert not isinstance(other.outcome, Failed) and other.road.wire.open == 0


def test_421_to_starttls_ends_the_session_whatever_was_asked() -> None:
    one = Try({**TLS, "starttls": b"421 4.3.2 bye\r\n"})
    assert one.words == (Phase.STARTTLS, 421, "4.3.2") and len(one.links) == 1


BROKEN = [
    pytest.param({"starttls": b""}, Phase.STARTTLS, id="closes"),
    pytest.param({"starttls": PeerTimeout("late")}, Phase.STARTTLS, id="silent"),
    pytest.param({"starttls": b"what\r\n"}, Phase.STARTTLS, id="nonsense"),
    pytest.param({"handshake": TlsFailed("no shared cipher")}, Phase.STARTTLS, id="handshake fails"),
    pytest.param({"handshake": PeerTimeout("late")}, Phase.STARTTLS, id="handshake stalls"),
    pytest.param({"ehlo": (None, PeerClosed("alert"))}, Phase.EHLO, id="alert behind the handshake"),  # TLS 1.3
    pytest.param({"ehlo": (None, b"")}, Phase.EHLO, id="closes behind the handshake"),
]


@pytest.mark.parametrize(("broken", "phase"), BROKEN)
def test_broken_tls_costs_one_connection_in_plaintext_and_is_remembered(broken: dict[str, Any], phase: Phase) -> None:
    one = Try({**TLS, **broken}, TLS)
    first, second = one.links
    assert first.closed and second.told == [f"EHLO {HELLO}"]
    assert one.connection.tls is OPPORTUNISTIC and one.connection.stream.tls is None
    assert one.health.tls_is_broken(PLACE, one.road.clock.now()) and not one.rests
    assert one.links[-1] is Try(TLS, road=one.road).links[-2], "the next goes in plaintext at once"
    assert one.links[-1].told == [f"EHLO {HELLO}"]


@pytest.mark.parametrize("tls", [REQUIRE, VERIFY])
@pytest.mark.parametrize(("broken", "phase"), BROKEN)
def test_broken_tls_is_the_end_where_it_is_required(broken: dict[str, Any], phase: Phase, tls: TlsLevel) -> None:
    one = Try({**TLS, **broken}, TLS, tls=tls)
    assert one.outcome.phase is phase and isinstance(one.outcome, Deferred) and one.outcome.scope is Scope.HOST
    assert len(one.links) == 1 and one.road.wire.open == 0
    assert not one.health.tls_is_broken(PLACE, one.road.clock.now()) and one.rests


def test_a_refusal_behind_the_handshake_is_an_answer() -> None:
    one = Try({**TLS, "ehlo": (None, b"450 4.7.1 later\r\n")})
    assert one.words == (Phase.EHLO, 450, "4.7.1") and len(one.links) == 1


def test_the_fallback_may_fail_too() -> None:
    one = Try({**TLS, "handshake": TlsFailed("x")}, {"banner": b"421 4.3.2 busy\r\n"})
    assert one.words == (Phase.BANNER, 421, "4.3.2") and one.road.wire.open == 0


@pytest.mark.parametrize(("ceiling", "wanted"), [(0.0, 120.0), (20.0, 20.0), (200.0, 120.0)])
def test_the_handshake_has_its_own_time_under_the_ceiling(ceiling: float, wanted: float) -> None:
    one = Try(TLS, reply_timeout=ceiling)
    assert CLIENT_SECONDS[Phase.STARTTLS] == 120.0
    assert one.links[0].waits.count(wanted) >= 2 and one.connection.client.state is State.READY
