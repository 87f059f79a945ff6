"""`fastrelay resolve`: every kind of walk drawn for people and told to scripts."""

import json
from typing import Any

import pytest
from rich.console import Console

from fastrelay.cli import main
from fastrelay.cli.resolve import drawn, plain
from fastrelay.config import parse
from fastrelay.load.name_server import NameServer
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.routing import failures
from fastrelay.routing.answers import Answer, Exchange, Status
from fastrelay.routing.resolver import configured
from fastrelay.routing.walk import Asked, Walk

MX = Answer(
    "mail.example", "MX", Status.FOUND, exchanges=(Exchange(20, "b.example"), Exchange(10, "a.example")), ttl=300,
    chain=("other.example",),
)  # fmt: skip
A = Answer("a.example", "A", Status.FOUND, ("192.0.2.1",), ttl=60)
NOTHING = Answer("a.example", "AAAA", Status.NO_DATA)
ROUTE = Route("mail.example", "a.example,b.example", RouteKind.MX, (Host("a.example", ("192.0.2.1",), 10),), 160.0)


def text_of(walk: Walk) -> str:
    config = parse("[dns]\nnameservers = ['192.0.2.53']")
    console = Console(width=1000, color_system=None, force_terminal=False)
    with console.capture() as shown:
        console.print(drawn(walk, config, configured(config.dns), 100.0))
    return shown.get()


def test_a_route_is_drawn_from_question_to_site() -> None:
    asked = (Asked(MX, "servers", 300.0, 0.012), Asked(A, "cache", 60.0, 0.0), Asked(NOTHING, "stale", 0.0, 0.0))
    text = text_of(Walk("mail.example", ROUTE, asked=asked, notes=("c.example: no address",)))
    wanted = [
        "MX mail.example  (TTL 5m; asked, 12 ms)", "CNAME other.example", "   10 a.example", "   20 b.example",
        "A a.example  (TTL 1m; already known)", "AAAA a.example  no data", "passed over: c.example: no address",
        "route: mx, 1 host in this order", "1. a.example  port 25  192.0.2.1  (preference 10)",
        "site: a.example,b.example", "at most 10 connections, 100 new ones per 1m", "decided anew in 1m",
    ]  # fmt: skip
    places = [text.index(words) for words in wanted]
    assert places == sorted(places), text


def test_no_route_is_drawn_with_its_reply() -> None:
    assert "no route: 556 5.1.10" in text_of(Walk("x.example", failures.null_mx("x.example")))
    later = text_of(Walk("x.example", failures.unanswered("x.example", "MX", "no answer")))
    assert "no route now: 451 4.4.3" in later and "name servers asked: 192.0.2.53" in later


def test_an_override_is_named() -> None:
    assert '[[route]] domain = "*" decides' in text_of(Walk("mail.example", ROUTE, override="*"))


def test_plain_is_json_without_monotonic_times() -> None:
    told = json.loads(json.dumps(plain(Walk("mail.example", ROUTE, asked=(Asked(MX, "servers", 1.0, 0.5),)), 100.0)))
    assert told["route"]["seconds_left"] == 60.0 and told["outcome"] is None
    first = told["asked"][0]
    assert first["records"] == ["10 a.example", "20 b.example"] and first["cname"] == ["other.example"]
    failed = plain(Walk("x.example", failures.null_mx("x.example")), 100.0)
    assert failed["route"] is None and failed["outcome"]["permanent"] and failed["outcome"]["code"] == 556


@pytest.mark.parametrize(
    ("domain", "code"),
    [("good.test", 0), ("someone@GOOD.test", 0), ("absent.test", 65), ("null.test", 65), ("broken.test", 75)],
)
def test_exit_codes_by_a_name_server(tmp_path: Any, capsys: pytest.CaptureFixture[str], domain: str, code: int) -> None:
    zone = """
        good.test 300 MX 10 mx.good.test
        mx.good.test 300 A 127.0.0.1
        null.test 300 MX 0 .
        @fault broken.test servfail
    """
    file = tmp_path / "c.toml"
    file.write_text("[delivery]\nallow_private = true\n[dns]\ntimeout = '2s'\n")
    with NameServer(zone) as names:
        server = f"127.0.0.1:{names.port}"
        assert main.run(["resolve", domain, "-c", str(file), "--server", server, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["route"] is not None) == (code == 0) and told["domain"] == domain.rpartition("@")[2].lower()
