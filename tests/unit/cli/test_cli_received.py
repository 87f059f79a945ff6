"""`fastrelay received`: table, JSON and exit codes, from files, mailboxes and a pipe; with DNS of a scripted server."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from fastrelay.cli import main
from fastrelay.load.name_server import NameServer

HONEST = (
    b"Received: from mail.example.net (mail.example.net [203.0.113.1])\r\n\tby mx.example.org with ESMTP id 7;"
    b" Wed, 25 Nov 2026 12:00:01 +0000\r\n"
    b"Received: from pc ([192.168.1.2]) by mail.example.net with SMTP; Wed, 25 Nov 2026 12:00:00 +0000\r\n"
    b"Subject: x\r\n\r\nbody\r\n"
)
FORGED = HONEST.replace(b"by mail.example.net", b"by mail.elsewhere.biz")
NO_TRAIL = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No configuration of the machine gets in."""
    file = tmp_path / "c.toml"
    file.write_text("[server]\nhostname = 'relay.example.com'\n")
    monkeypatch.chdir(tmp_path)
    return file


def run(octets: bytes, *words: str) -> int:
    Path("mail.eml").write_bytes(octets)
    return main.run(["received", "-c", "c.toml", *words, "mail.eml"])


def test_a_table_in_the_order_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(HONEST) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mail.eml: consistent, score 0; 2 hops, last trustworthy: 2",
        "HOP  VERDICT    FROM                            BY                WITH   TIME (UTC)           AFTER",
        "  1  open       pc [192.168.1.2]                mail.example.net  SMTP   2026-11-25 12:00:00",
        "  2  agrees <-  mail.example.net [203.0.113.1]  mx.example.org    ESMTP  2026-11-25 12:00:01  1s",
        "     by name mail.example.net",
    ]


def test_a_forged_chain_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FORGED) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "mail.eml: suspicious, score 1; 2 hops, last trustworthy: 2"
    assert out[3].startswith("  2  SUSPICIOUS <-")
    assert out[4] == "     mail.elsewhere.biz had it, mail.example.net handed it over"
    assert out[5] == "   ! broken joint (+1)"


def test_json_is_a_line_for_each_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FORGED, "--json") == 1
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["message"], told["verdict"], told["score"], told["last_trusted"]) == ("mail.eml", "suspicious", 1.0, 2)
    oldest, newest = told["hops"]
    assert oldest["from"] == {"claimed": "pc", "name": None, "address": "192.168.1.2"}
    assert (oldest["standing"], newest["standing"]) == ("said", "last trustworthy")
    assert newest["time"] == 1_795_608_001.0 and newest["id"] == "7" and newest["with"] == "ESMTP"
    assert newest["findings"][0]["check"] == "broken joint" and newest["findings"][0]["weight"] == 1.0


def test_a_chain_that_is_cut_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    line = "Received: from h{}.example.net by h{}.example.net; Wed, 25 Nov 2026 12:00:00 +0000\r\n"
    chain = "".join(line.format(n, n + 1) for n in range(200, 0, -1)).encode()
    assert run(chain) == 0
    assert capsys.readouterr().out.startswith("mail.eml: consistent, score 0; 120 hops (80 older ones left out), last")
    assert run(chain, "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == 80
    assert run(HONEST, "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == 0


def test_a_mailbox_counts_its_messages(capsys: pytest.CaptureFixture[str]) -> None:
    box = b"From a Mon\n" + HONEST + b"\nFrom b Tue\n" + FORGED + b"\nFrom c Wed\n" + HONEST
    assert run(box, "--json") == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["message"], one["verdict"]) for one in told] == [
        ("mail.eml:1", "consistent"), ("mail.eml:2", "suspicious"), ("mail.eml:3", "consistent"),
    ]  # fmt: skip


@pytest.mark.parametrize("words", [[], ["-"]])
def test_standard_input(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(FORGED)))
    assert main.run(["received", "-c", "c.toml", *words]) == 1
    assert capsys.readouterr().out.startswith("standard input: suspicious")


@pytest.mark.parametrize("octets", [NO_TRAIL, b"", b"words\n"])
def test_unreadable_is_65_and_one_line(octets: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(octets) == 65
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("fastrelay received: mail.eml: th")


def test_of_several_files_the_worst_counts(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.eml").write_bytes(NO_TRAIL)
    Path("b.eml").write_bytes(FORGED)
    assert main.run(["received", "-c", "c.toml", "a.eml", "b.eml"]) == 65
    captured = capsys.readouterr()
    assert "a.eml: there is no Received field" in captured.err and "b.eml: suspicious" in captured.out


def test_a_file_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["received", "-c", "c.toml", "gone.eml"]) == 64
    assert "gone.eml" in capsys.readouterr().err


def test_trust_moves_the_border(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(HONEST, "--trust", "203.0.113.0/24") == 0
    assert "last trustworthy: 1" in capsys.readouterr().out
    assert run(HONEST, "--trust", "somewhere") == 64
    assert "is not a network" in capsys.readouterr().err


def test_the_configuration_is_trusted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("[[listener]]\nrelay_from = ['203.0.113.1']\n")
    assert run(HONEST) == 0
    assert "last trustworthy: 1" in capsys.readouterr().out


def test_nothing_of_a_strangers_text_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(b"Received: from \x1b[2Jx (y\x07 [203.0.113.1]) by b\xc2\x9bc.example; Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\n")
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)


def test_dns_joins_what_names_do_not(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zone = """
        mail.elsewhere.biz 300 A 203.0.113.1
        mail.example.net 300 A 203.0.113.1
        1.113.0.203.in-addr.arpa 300 PTR mail.example.net
    """
    with NameServer(zone) as server:
        config.write_text("[dns]\ntimeout = '2s'\n")
        assert run(FORGED, "--dns", "--server", f"127.0.0.1:{server.port}") == 0
    assert "     by DNS" in capsys.readouterr().out.splitlines()


def test_without_dns_no_event_loop_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def bring_in(name: str) -> Any:
        loaded.append(name)
        raise AssertionError(name)

    monkeypatch.setattr("fastrelay.cli.received.import_module", bring_in)
    assert run(HONEST) == 0 and loaded == []
