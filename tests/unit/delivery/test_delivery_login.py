"""AUTH to smart hosts: which mechanism, where, what a refusal means, and that no connection serves another account."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config import Credentials, Delivery
from fastrelay.delivery import tls_policy
from fastrelay.delivery.accounts import Account, accounts
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.hosts import LOGIN_REST
from fastrelay.errors import ConfigError, PeerTimeout
from fastrelay.mail.outcome import Deferred, Outcome, Phase, Scope
from fastrelay.mail.route import Route, RouteKind, TlsLevel
from fastrelay.runtime import clock
from fastrelay.smtp.sasl import scram, server
from fastrelay.smtp.sasl.client import Secret
from tests.unit.road_ends import ShortRoad, host

ACCOUNTS = {
    "hub": Account(Secret("user", "pencil"), plaintext=False),
    "open": Account(Secret("user", "pencil"), plaintext=True),
    "other": Account(Secret("other", "pencil"), plaintext=False),
}
VERIFIER = scram.make_verifier(b"pencil", 4096)
NO = b"535 5.7.8 bad credentials\r\n"
ALL = "AUTH LOGIN PLAIN SCRAM-SHA-256"


def knows(password: str = "pencil") -> Callable[[str], bytes]:
    """A host that knows one password, by any mechanism."""
    under_way: list[server.Exchange] = []

    def answer(line: str) -> bytes:
        if line.startswith("AUTH "):
            _, name, *first = line.split(" ")
            exchange, challenge = server.begin(name)
            under_way[:] = [exchange]
            if not first:
                return b"334 " + b64encode(challenge) + b"\r\n"
            line = first[0]
        step = under_way[0].step(scram.unbase64(line))
        if isinstance(step, server.Lookup):
            step = under_way[0].know(VERIFIER)
        if isinstance(step, server.Challenge):
            return b"334 " + b64encode(step.octets) + b"\r\n"
        right = step.proved if isinstance(step, server.Proof) else step.password == password.encode()
        return b"235 2.7.0 ok\r\n" if right else NO

    return answer


def host_with(offer: str = ALL, tls: bool = True, **script: Any) -> Mapping[str, Any]:
    return {"extensions": ("PIPELINING", *(["STARTTLS"] if tls else []), offer), "auth": knows(), **script}


def dial(*scripts: Any, credentials: str = "hub", **settings: Any) -> tuple[ShortRoad, Connection | Outcome]:
    road = ShortRoad(ACCOUNTS, **settings)
    road.wire.hosts["192.0.2.1"] = scripts
    way = road.way(credentials=credentials)
    return road, road.pool.lease(way.demand, way.route, road.clock.now(), tried=set())


@pytest.mark.parametrize(
    ("offer", "lines"),
    [
        (ALL, ["AUTH SCRAM-SHA-256 *", "*", ""]),
        ("AUTH LOGIN PLAIN", ["AUTH PLAIN AHVzZXIAcGVuY2ls"]),
        ("AUTH LOGIN CRAM-MD5", ["AUTH LOGIN", "dXNlcg==", "cGVuY2ls"]),
    ],
)
def test_the_strongest_mechanism_both_know_inside_tls(offer: str, lines: list[str]) -> None:
    road, result = dial(host_with(offer))
    assert isinstance(result, Connection) and result.is_ready
    told = road.wire.links[0].told
    assert told[:3] == ["EHLO relay.example", "STARTTLS", "EHLO relay.example"]
    assert len(told) == 3 + len(lines)
    for line, wanted in zip(told[3:], lines, strict=True):
        assert line == wanted or (wanted.endswith("*") and line.startswith(wanted[:-1]))
    assert result.tls is TlsLevel.REQUIRE and result.demand.credentials == "hub"
    assert 180.0 in road.wire.links[0].waits  # RFC 4954 4 gives servers three minutes


def test_mail_goes_after_the_login() -> None:
    road = ShortRoad(ACCOUNTS)
    road.wire.hosts["192.0.2.1"] = [host_with()]
    carrier = road.carrier()
    (outcome,) = road.send(carrier, road.way(credentials="hub"))
    assert outcome.reply.code == 250
    carrier.close()
    assert road.balance == (1, 1, 1)


def deferred(result: Connection | Outcome) -> Deferred:
    assert isinstance(result, Deferred), result
    return result


@pytest.mark.parametrize(
    ("said", "code"),
    [(NO, 535), (b"534 5.7.9 too weak\r\n", 534), (b"454 4.7.0 not now\r\n", 454), (b"504 5.5.4 no\r\n", 504),
     (b"421 4.3.2 bye\r\n", 421), (b"550 no\r\n", 550)],
)  # fmt: skip
def test_a_refusal_makes_the_mail_wait_with_the_peers_words(said: bytes, code: int) -> None:
    road, result = dial(host_with(auth=said))
    outcome = deferred(result)
    assert (outcome.phase, outcome.scope, outcome.reply.code) == (Phase.AUTH, Scope.HOST, code)
    assert road.balance == (0, 0, 0) and road.wire.links[0].told[-1] == "QUIT"


def test_a_refused_login_is_not_tried_with_every_message() -> None:
    """Smart hosts lock accounts."""
    road = ShortRoad(ACCOUNTS)
    road.wire.hosts["192.0.2.1"] = [host_with("AUTH PLAIN", auth=NO)]
    carrier, way = road.carrier(), road.way(credentials="hub")
    for seconds in (0.0, 60.0, LOGIN_REST - 61.0):
        road.clock.mono += seconds
        (outcome,) = road.send(carrier, way)
        assert (outcome.phase, outcome.reply.code) == (Phase.AUTH, 535) and isinstance(outcome, Deferred)
        assert carrier.login == "hub", "for the event line, though there is no connection"
    assert outcome.reply.text == "bad credentials (said 299 s ago, not asked again for 1 s)"
    assert len(road.wire.links) == 1
    other = road.way(credentials="other")
    assert not isinstance(road.pool.lease(other.demand, other.route, road.clock.now(), tried=set()), Connection)
    assert len(road.wire.links) == 2
    road.wire.hosts["192.0.2.1"] = [host_with("AUTH PLAIN")]
    road.clock.mono += 1.0
    (outcome,) = road.send(carrier, way)
    assert outcome.reply.code == 250
    carrier.close()


def test_whose_login_was_refused_is_known_before_a_body_is_read() -> None:
    road = ShortRoad(ACCOUNTS)
    road.wire.hosts["192.0.2.1"] = [host_with("AUTH PLAIN", auth=NO)]
    carrier, way = road.carrier(), road.way(credentials="hub")
    refused = carrier.ready(way.demand, way.route, road.clock.now())
    assert refused is not None and refused.reply.code == 535
    assert carrier.login == "hub" and carrier.connection is None


def test_a_refusal_by_every_host_is_no_bounce_either() -> None:
    road = ShortRoad(ACCOUNTS)
    for n in (1, 2):
        road.wire.hosts[f"192.0.2.{n}"] = [host_with(auth=NO)]
    way = road.way(host(1), host(2), credentials="hub")
    outcome = deferred(road.pool.lease(way.demand, way.route, road.clock.now(), tried=set()))
    assert outcome.reply.code == 535 and len(road.wire.links) == 2


@pytest.mark.parametrize(
    ("script", "enhanced"),
    [
        ({"auth": b""}, "4.4.2"),
        ({"auth": PeerTimeout("late")}, "4.4.2"),
        ({"auth": b"334 not base64!\r\n"}, "4.5.0"),
        ({"auth": b"334 cj0x\r\n"}, "4.5.0"),
        ({"auth": b"235 2.7.0 whoever you are\r\n"}, "4.5.0"),  # the server has not proved itself
        ({"auth": b"250 ok\r\n"}, "4.5.0"),
        ({"auth": b"334 \r\n334 \r\n"}, "4.5.0"),
    ],
)
def test_a_host_out_of_protocol_is_one_that_failed(script: Any, enhanced: str) -> None:
    road, result = dial(host_with(**script))
    outcome = deferred(result)
    assert (outcome.phase, outcome.reply.enhanced) == (Phase.AUTH, enhanced)
    assert road.balance == (0, 0, 0)


def test_no_password_leaves_without_tls_unless_its_row_says_so() -> None:
    road, result = dial(host_with(tls=False))
    assert (deferred(result).phase, deferred(result).reply.enhanced) == (Phase.STARTTLS, "4.7.4")
    assert "our login there asks for it (credentials.plaintext)" in deferred(result).reply.text, "no policy does"
    road, result = dial(host_with(starttls=b"454 4.7.0 not now\r\n"))
    assert deferred(result).phase is Phase.STARTTLS
    road, result = dial(host_with("AUTH PLAIN", tls=False), credentials="open")
    assert isinstance(result, Connection) and road.wire.links[0].told[-1] == "AUTH PLAIN AHVzZXIAcGVuY2ls"
    road, result = dial(host_with("AUTH PLAIN", starttls=b"454 4.7.0 not now\r\n"), credentials="open")
    assert isinstance(result, Connection)


def test_a_host_without_auth_or_with_none_we_know() -> None:
    for offer, words in (("SIZE", "offers no AUTH"), ("AUTH CRAM-MD5 NTLM", "AUTH CRAM-MD5 NTLM, none of which")):
        road, result = dial(host_with(offer))
        assert words in deferred(result).reply.text and deferred(result).phase is Phase.AUTH
        assert road.wire.links[0].told[-1] == "QUIT" and road.balance == (0, 0, 0)


def test_credentials_that_a_reload_took_away() -> None:
    road, result = dial(host_with(), credentials="gone")
    assert "not configured any more" in deferred(result).reply.text
    assert all("AUTH" not in line for link in road.wire.links for line in link.told)


def test_a_reload_brings_other_passwords() -> None:
    road = ShortRoad(ACCOUNTS)
    road.wire.hosts["192.0.2.1"] = [host_with("AUTH PLAIN", auth=knows("new"))]
    way = road.way(credentials="hub")
    assert deferred(road.pool.lease(way.demand, way.route, road.clock.now(), tried=set())).reply.code == 535
    road.dialer.renew("relay.example", {}, {"hub": Account(Secret("user", "new"), False)})
    assert isinstance(road.pool.lease(way.demand, way.route, road.clock.now(), tried=set()), Connection)


def test_a_connection_serves_no_other_account_and_nobody_without_one() -> None:
    road = ShortRoad(ACCOUNTS, tls="require")
    road.wire.hosts["192.0.2.1"] = [host_with("AUTH PLAIN")]
    carrier = road.carrier()
    for credentials, links in (("hub", 1), ("hub", 1), ("other", 2), ("", 3), ("hub", 3)):
        way = road.way(credentials=credentials)
        answer = road.pool.lease(way.demand, way.route, road.clock.now(), tried=set())
        assert isinstance(answer, Connection) and answer.demand.credentials == credentials
        road.pool.release(answer, road.clock.now())
        assert len(road.wire.links) == links
    carrier.close()


def test_the_route_names_them_before_the_site() -> None:
    def demanded(credentials: str, **settings: Any) -> str:
        route = Route("d.example", "s", RouteKind.STATIC, (host(1),), clock.NEVER, credentials=credentials)
        return tls_policy.demand(route, Delivery(**settings)).credentials

    assert demanded("hub", login="site") == "hub"
    assert demanded("", login="site") == "site" and demanded("") == ""


# -- reading them -----------------------------------------------------------------------------------------------------


def row(**fields: Any) -> Credentials:
    return Credentials(name="hub", user="user", **fields)


def test_a_password_from_the_row_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("pen cil\nnot this\n")
    found = accounts([row(password="pencil", plaintext=True), Credentials(name="b", user="u", password_file=str(file))])
    assert found["hub"].secret.password() == b"pencil" and found["hub"].plaintext
    assert found["b"].secret.password() == b"pen cil" and not found["b"].plaintext
    assert "pen" not in repr(found)
    assert scram.matches(VERIFIER, found["hub"].secret.keys(VERIFIER.salt, 4096))


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff\n", "not UTF-8"), (b"\n", "cannot be used")]
)
def test_a_password_that_cannot_be_had(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as caught:
        accounts([row(password_file=str(file))])
    assert str(caught.value).startswith("credentials[0]")
