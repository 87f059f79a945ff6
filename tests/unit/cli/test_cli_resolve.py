"""`fastrelay resolve`: every kind of walk drawn for people and told to scripts."""

import json
from typing import Any

import pytest

from fastrelay.cli import main
from fastrelay.cli.resolve import plain
from fastrelay.cli.resolve_page import page
from fastrelay.config import parse
from fastrelay.load.name_server import NameServer
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.routing import failures
from fastrelay.routing.answers import Answer, Exchange, Status
from fastrelay.routing.walk import Asked, Walk

NOW = 100.0
HOSTS = (
    Host("a.example", ("2001:db8::1", "192.0.2.1"), 10),
    Host("b.provider.example", ("192.0.2.2",), 20),
)
ROUTE = Route("mail.example", "a.example,b.provider.example", RouteKind.MX, HOSTS, NOW + 60.0)


def asked(
    name: str, rdtype: str, *records: str, chain: tuple[str, ...] = (), left: float = 299.9, source: str = "servers",
    status: Status | None = None, secure: bool = False, reason: str = "",
) -> Asked:  # fmt: skip
    found = status or (Status.FOUND if records else Status.NO_DATA)
    exchanges = tuple(Exchange(int(one.split()[0]), one.split()[1].rstrip(".")) for one in records if rdtype == "MX")
    answer = Answer(name, rdtype, found, records, exchanges, 300, NOW + left, chain, secure, reason, source == "stale")
    return Asked(answer, source, left, 0.012)


def drawn(walk: Walk, text: str = "", ascii_only: bool = False) -> list[str]:
    return [line.plain for line in page(walk, parse(text), ["192.0.2.53:53"], NOW, plain=ascii_only)]


def test_a_route_is_drawn_from_its_cname_to_its_site() -> None:
    answers = (
        asked("mail.example", "MX", "20 b.provider.example", "10 a.example", chain=("other.example",), secure=True),
        asked("a.example", "A", "192.0.2.1", left=60.0, source="cache", secure=True),
        asked("a.example", "AAAA", "2001:db8::1", "2001:db8::2", left=0.0, source="stale"),
        asked("b.provider.example", "A", "192.0.2.2", chain=("b2.provider.example",), left=86400.0),
        asked("b.provider.example", "AAAA", chain=("b2.provider.example",)),
    )
    assert drawn(Walk("mail.example", ROUTE, asked=answers, notes=("c.example: no host name",))) == [
        "mail.example                 TTL  from",
        "├─ CNAME  other.example",
        "│  ├─ MX 10  a.example       5m   asked, 12 ms  AD",
        "│  │  ├─ A     192.0.2.1     1m   cache         AD",
        "│  │  ├─ AAAA  2001:db8::1        stale",
        "│  │  └─ AAAA  2001:db8::2",
        "│  └─ MX 20  b.provider.example",
        "│     └─ CNAME  b2.provider.example",
        "│        ├─ A     192.0.2.2  1d   asked, 12 ms",
        "│        └─ AAAA  none       5m   asked, 12 ms",
        "├─ passed over: c.example: no host name",
        "├─ route by MX: 2 hosts, tried in this order",
        "│  ├─ 1  a.example           port 25  2001:db8::1, 192.0.2.1",
        "│  └─ 2  b.provider.example  port 25  192.0.2.2",
        "└─ site a.example,b.provider.example",
        "   ├─ named by its hosts; limits of [delivery]",
        "   ├─ at most 10 connections, 100 new ones per 1m, 100 messages on each",
        "   ├─ TLS opportunistic",
        "   └─ decided anew in 1m; not all of it validated by DNSSEC",
    ]


def test_hosts_that_lead_nowhere_say_so() -> None:
    answers = (
        asked("mail.example", "MX", "5 gone.example", "7 192.0.2.9", "10 a.example", "10 a.example", "50 far.example"),
        asked("gone.example", "A", status=Status.NO_NAME),
        asked("gone.example", "AAAA", status=Status.NO_NAME),
        asked("a.example", "A", "192.0.2.1"),
        asked("a.example", "AAAA", status=Status.FAILED, reason="SERVFAIL"),
    )
    lines = drawn(Walk("mail.example", ROUTE, asked=answers))
    assert lines[1:12] == [
        "├─ MX  5  gone.example          5m   asked, 12 ms",
        "│  └─ A and AAAA  no such name  5m   asked, 12 ms",
        "├─ MX  7  192.0.2.9",
        "│  └─ an address where a name belongs (RFC 5321 5.1), taken as it is",
        "├─ MX 10  a.example",
        "│  ├─ A     192.0.2.1           5m   asked, 12 ms",
        "│  └─ AAAA  failed: SERVFAIL    5m   asked, 12 ms",
        "├─ MX 10  a.example",
        "│  └─ as above",
        "├─ MX 50  far.example",
        "│  └─ not asked for",
    ]


def test_no_route_is_drawn_with_its_reply() -> None:
    null = Walk("x.example", failures.null_mx("x.example"), asked=(asked("x.example", "MX", "0 ."),))
    assert drawn(null) == [
        "x.example                                 TTL  from",
        "├─ MX 0  .  (null MX: no mail, RFC 7505)  5m   asked, 12 ms",
        "└─ no route: 556 5.1.10 Domain x.example does not accept mail (null MX)",
        "   └─ mail for it is returned to its sender",
    ]
    later = Walk("x.example", failures.unanswered("x.example", "MX", "no answer"))
    assert drawn(later) == [
        "x.example",
        "└─ no route now: 451 4.4.3 Name service failed for MX of x.example: no answer",
        "   ├─ mail for it waits and is tried again",
        "   └─ name servers asked: 192.0.2.53:53",
    ]


def test_the_domain_itself_where_there_is_no_mx() -> None:
    route = Route(
        "a.example", "a.example", RouteKind.IMPLICIT, (Host("a.example", ("192.0.2.1",)),), NOW + 1, secure=True
    )
    answers = asked("a.example", "MX"), asked("a.example", "A", "192.0.2.1"), asked("a.example", "AAAA")
    lines = drawn(Walk("a.example", route, asked=answers))
    assert lines[1:5] == [
        "├─ MX  none         5m   asked, 12 ms",
        "├─ A     192.0.2.1  5m   asked, 12 ms",
        "├─ AAAA  none       5m   asked, 12 ms",
        "├─ route no MX, so the domain itself: 1 host",
    ]
    assert lines[-1] == "   └─ decided anew in 1s; every answer validated (AD)"


def test_next_hops_and_the_row_that_names_them() -> None:
    hosts = (
        Host("smart.example", ("192.0.2.1",), port=587),
        Host("unix:/run/lmtp", ("unix:/run/lmtp",), lmtp=True),
        Host("store.example", ("192.0.2.2",), port=24, lmtp=True),
    )
    route = Route("mail.example", "hops", RouteKind.STATIC, hosts, NOW + 60.0, exempt=True)
    walk = Walk("mail.example", route, override="*", asked=(asked("smart.example", "A", "192.0.2.1"),))
    lines = drawn(walk, "[[site]]\nname = 'hops'\nconnections = 3\ntls = 'verify'\ntls_names = ['host', 'domain']")
    assert '├─ [[route]] domain = "*" decides; DNS is not asked for MX' in lines
    assert "├─ next hop smart.example" in lines
    assert lines[4:8] == [
        "├─ route by [[route]]: 3 hosts, tried in this order",
        "│  ├─ 1  smart.example   port 587  192.0.2.1",
        "│  ├─ 2  unix:/run/lmtp  local socket  LMTP",
        "│  └─ 3  store.example   port 24  192.0.2.2  LMTP",
    ]
    assert lines[9:12] == [
        "   ├─ its name and limits are those of a [[site]] row",
        "   ├─ at most 3 connections, 100 new ones per 1m, 100 messages on each",
        "   ├─ TLS verify, names host, domain",
    ]
    google = Route("mail.example", "google", RouteKind.MX, HOSTS, NOW + 60.0)
    assert "provider fastrelay knows" in drawn(Walk("mail.example", google))[-4]


def test_a_name_in_a_labels_is_told_as_it_is_read() -> None:
    walk = Walk("xn--bcher-kva.example", failures.no_such_domain("x"))
    assert drawn(walk)[0] == "xn--bcher-kva.example  (bücher.example)"
    assert drawn(Walk("xn--\x1b[2J-.example", failures.no_such_domain("x")))[0] == "xn-- [2J-.example"


def test_what_strangers_wrote_steers_no_terminal_and_a_plain_one_gets_ascii() -> None:
    walk = Walk("a.example", failures.no_such_domain("a"), asked=(asked("a.example", "MX", "5 e\x1b[2Jvil.example"),))
    lines = drawn(walk, ascii_only=True)
    assert lines[1].startswith("+- MX 5  e [2Jvil.example") and all(line.isascii() for line in lines)


def test_a_long_name_pushes_its_own_age_alone() -> None:
    long = "x" * 100 + ".example"
    answers = asked("a.example", "MX", f"5 {long}"), asked(long, "A", "192.0.2.1"), asked(long, "AAAA")
    lines = drawn(Walk("a.example", failures.no_such_domain("a"), asked=answers))
    assert lines[1].endswith(".example  5m   asked, 12 ms") and lines[2].index("5m") == 74


def test_plain_is_json_without_monotonic_times() -> None:
    first = asked("mail.example", "MX", "20 b.example", "10 a.example", chain=("other.example",))
    told = json.loads(json.dumps(plain(Walk("mail.example", ROUTE, asked=(first,)), NOW)))
    assert told["route"]["seconds_left"] == 60.0 and told["outcome"] is None
    assert told["route"]["hosts"][0] == {
        "name": "a.example", "addresses": ["2001:db8::1", "192.0.2.1"], "preference": 10, "port": 0, "lmtp": False,
    }  # fmt: skip
    (one,) = told["asked"]
    assert one["records"] == ["10 a.example", "20 b.example"] and one["cname"] == ["other.example"]
    failed = plain(Walk("x.example", failures.null_mx("x.example")), NOW)
    assert failed["route"] is None and failed["outcome"]["permanent"] and failed["outcome"]["code"] == 556


ZONE = """
    @ad
    good.test 300 MX 10 mx.good.test
    mx.good.test 300 A 127.0.0.1
    *.wild.test 300 MX 10 mx.good.test
    null.test 300 MX 0 .
    xn--bcher-kva.test 300 MX 10 mx.good.test
    www.good.test 60 CNAME good.test
    @fault broken.test servfail
    @fault liar.test lie
    one.test 60 CNAME two.test
    two.test 60 CNAME one.test
"""


@pytest.mark.parametrize(
    ("domain", "code"),
    [
        ("good.test", 0),
        ("someone@GOOD.test", 0),
        ("www.good.test", 0),
        ("any.wild.test", 0),
        ("bücher.test", 0),
        ("absent.test", 65),
        ("null.test", 65),
        ("liar.test", 65),
        ("broken.test", 75),
        ("one.test", 75),
    ],
)
def test_exit_codes_by_a_name_server(tmp_path: Any, capsys: pytest.CaptureFixture[str], domain: str, code: int) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[delivery]\nallow_private = true\n[dns]\ntimeout = '2s'\n")
    with NameServer(ZONE) as names:
        server = f"127.0.0.1:{names.port}"
        assert main.run(["resolve", domain, "-c", str(file), "--server", server, "--json"]) == code
        told = json.loads(capsys.readouterr().out)
        assert (told["route"] is not None) == (code == 0)
        assert main.run(["resolve", domain, "-c", str(file), "--server", server]) == code
    if domain == "www.good.test":
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].rstrip() == "├─ CNAME  good.test"
        assert lines[2].startswith("│  └─ MX 10  mx.good.test  1m   asked, ") and lines[2].split()[-1] == "AD"
        assert lines[3].startswith("│     ├─ A     127.0.0.1   5m   asked, ") and lines[3].split()[-1] == "AD"


@pytest.mark.parametrize(
    ("domain", "name"),
    [("", "An empty name"), (".", "An empty name"), ("a..b", "a..b"), ("[bad]", "[bad]"), ("192.0.2.1", "192.0.2.1")],
)
def test_what_is_no_domain_is_not_asked_for(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], domain: str, name: str
) -> None:
    (tmp_path / "c.toml").write_text("")
    with NameServer() as names:
        server = f"127.0.0.1:{names.port}"
        assert main.run(["resolve", domain, "-c", str(tmp_path / "c.toml"), "--server", server, "--json"]) == 65
        assert not names.asked
    outcome = json.loads(capsys.readouterr().out)["outcome"]
    assert (outcome["enhanced_code"], outcome["content"]) == ("5.1.2", f"{name} is not a valid mail domain")
