"""The scenarios can be read and fit their kinds; the configs that are made of a wish say what it says."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench import name_server, ours
from bench.caller import STEPS, Call
from bench.kinds.table import KINDS
from bench.measure import sum_metric
from bench.relay import Wish
from bench.run import RELAYS
from bench.scenario import Scenario, load_all
from bench.summary import figures_of
from fastrelay import config
from tests.unit.bench.test_bench_summary import made

ALL = load_all()


def test_quick_is_two_flows_and_the_order_is_told() -> None:
    assert [one.name for one in ALL if one.quick] == ["one_per_connection", "kept_open"]
    assert len({one.order for one in ALL}) == len(ALL)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_scenario_fits_its_kind(one: Scenario) -> None:
    kind = KINDS[one.kind]
    settings = getattr(kind, "Settings", None)
    if settings is not None:
        one.settings_as(settings)
    else:
        assert one.settings == {}
    for name in one.relays:
        assert RELAYS[name].offers >= kind.NEEDS, f"{name} cannot do what {one.name} needs"
    if one.beside:
        base = next(other for other in ALL if other.name == one.beside)
        assert (base.kind, base.order < one.order) == (one.kind, True)
        assert set(one.relays) <= set(base.relays)
    if one.parts:
        assert sum(part.share for part in one.parts) == pytest.approx(1.0)
    paths = figures_of(made("a", 1, 1.0))
    assert one.figure in paths or one.figure.startswith(("latencies.", "more."))


def test_a_wrong_setting_is_named() -> None:
    one = Scenario(name="x", title="x", order=1, kind="domains", settings={"domains": 1, "hosts": 1, "typo": 1})
    with pytest.raises(msgspec.ValidationError, match="typo"):
        one.settings_as(KINDS["domains"].Settings)


def read(wish: Wish) -> config.Config:
    return config.parse(ours.config(Path("/f"), wish, 1, 3))


def test_our_config_sends_all_to_the_sink() -> None:
    parsed = read(Wish(2, workers=3))
    assert parsed.spool.durability == "fsync"
    assert [(route.domain, route.next_hop) for route in parsed.routes] == [("*", ("127.0.0.1:2",))]
    assert parsed.server.workers == 3


def test_our_config_offers_tls_with_the_certificate_wished_for() -> None:
    (listener,) = read(Wish(2, certificate=(Path("/c.pem"), Path("/c.key")))).listeners
    assert (listener.tls, listener.certificate, listener.key) == ("starttls", "/c.pem", "/c.key")


def test_our_config_sends_domains_their_ways() -> None:
    parsed = read(Wish(0, next_hops={"a.test": ("127.0.0.1", 7)}, connections=20))
    assert [(route.domain, route.next_hop) for route in parsed.routes] == [("a.test", ("127.0.0.1:7",))]
    assert parsed.delivery.connections == 20


def test_our_config_asks_the_name_server_and_may_go_to_loopback() -> None:
    parsed = read(Wish(0, name_server=("127.0.0.1", 53), mail_port=2599))
    assert parsed.routes == ()
    assert parsed.dns.nameservers == ("127.0.0.1:53",)
    assert (parsed.delivery.port, parsed.delivery.allow_private) == (2599, True)


def test_the_zone_spreads_domains_over_hosts() -> None:
    lines = name_server.zone(5, 2).splitlines()
    assert [line for line in lines if " MX " in line] == [
        "d0 MX 10 mx0", "d1 MX 10 mx1", "d2 MX 10 mx0", "d3 MX 10 mx1", "d4 MX 10 mx0",
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("mx")] == ["mx0 A 127.64.0.1", "mx1 A 127.64.0.2"]


def test_the_hosts_of_a_zone_have_addresses_of_their_own() -> None:
    addresses = [line.split()[2] for line in name_server.zone(1, 600).splitlines() if line.startswith("mx")]
    assert len(set(addresses)) == 600


class Line:
    """A socket whose peer says what it is told to, a piece for each read."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0)

    def send(self, octets: bytes) -> int:
        self.sent += octets
        return len(octets)


@pytest.fixture
def calling(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Call, Line]]:
    def make(*pieces: bytes) -> tuple[Call, Line]:
        line = Line(*pieces)
        one = Call.__new__(Call)
        one.began, one.step, one.said = 0.0, 0, b""
        one.sock = line  # type: ignore[assignment]
        return one, line

    return make


def test_a_call_says_its_words_after_each_whole_reply(calling: Callable[..., tuple[Call, Line]]) -> None:
    one, line = calling(b"220 he", b"llo\r\n", b"250-a\r\n250-b\r\n", b"250 c\r\n", b"221 bye\r\n")
    assert [one.go_on() for _ in range(5)] == [True, True, True, True, False]
    assert line.sent == STEPS[0][1] + STEPS[1][1]


@pytest.mark.parametrize("answer", [b"421 too many\r\n", b"554-no\r\n554 mail\r\n", b""])
def test_a_call_that_is_refused_or_cut_is_an_error(calling: Callable[..., tuple[Call, Line]], answer: bytes) -> None:
    one, _ = calling(answer)
    with pytest.raises(ValueError, match=r"answered|hung up"):
        one.go_on()


def test_a_metric_is_summed_over_its_labels_and_not_over_longer_names() -> None:
    page = '# HELP a b\na{x="1"} 2.0\na{x="2"} 3.0\na_total 100.0\nab 7\n'
    assert sum_metric(page, "a") == 5.0
    assert sum_metric(page, "absent") == 0.0
