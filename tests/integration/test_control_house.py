"""An operator at a relay with two workers: suspend and resume, bounce, the API over TCP; one house for all of it."""

import json
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import PROGRAM, RelayProcess, told

TOKEN = "a-token-of-some-length-for-tests"


def refusal(address: str) -> str:
    """What the mailbox says to some."""
    return "450 4.2.0 Greylisted, please try again in 20 minutes" if "grey" in address else ""


@pytest.fixture(scope="module")
def box() -> Iterator[Mailbox]:
    with Mailbox(refuse=refusal) as one:
        yield one


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, box: Mailbox) -> Iterator[RelayProcess]:
    folder = tmp_path_factory.mktemp("control")
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    one = RelayProcess(folder, next_hop=f"127.0.0.1:{box.port}")
    text = one.config.read_text().replace("[admin]\n", f"[admin]\ntoken_file = '{token}'\n")
    one.config.write_text(text)
    one.start()
    yield one
    one.kill()


def send(relay: RelayProcess, recipient: str, sender: str = "s@from.example") -> str:
    server = f"127.0.0.1:{relay.port}"
    done = debian.run(
        [*PROGRAM, "send", "--from", sender, "--to", recipient, "--server", server, "--json"], stdin=b"hello\n"
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)[recipient]["content"]).rpartition(" ")[2]


def ask(relay: RelayProcess, path: str, *, token: str = "", body: object = None) -> tuple[int, Any]:
    """Over TCP."""
    octets = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    with socket.create_connection(("127.0.0.1", relay.admin_port), timeout=10) as sock:
        sock.sendall(f"{head}Content-Length: {len(octets)}\r\n\r\n".encode() + octets)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(rest)


def test_what_is_suspended_waits_in_every_worker_and_through_a_restart(relay: RelayProcess, box: Mailbox) -> None:
    """Some 15 commands and a restart, each of which is a process: over 5 s on a busy machine."""
    assert relay.command("suspend").stdout == b"nothing is suspended\n"
    assert relay.command("suspend", "--domain", "a.example").returncode == 64, "a reason is due"
    words = ("--sender-domain", "News.Example", "--reason", "ticket 7")
    assert b"still accepted" in relay.command("suspend", *words).stdout
    assert b"; 1 suspended, see fastrelay suspend\n" in relay.command("status").stdout
    idents = [send(relay, "x@held.example", "joe@news.example") for _ in range(4)]
    free = send(relay, "y@free.example")
    assert [one.recipients for one in box.wait(1)] == [("y@free.example",)]
    rows = told(relay.command("queue", "list", "--json"))["rows"]
    assert sorted(row["id"] for row in rows) == sorted(idents) and free not in idents
    assert {tuple(row["places"]) for row in rows} == {("suspended",)}
    assert relay.stop() == 0
    relay.start()
    listed = told(relay.command("suspend", "--json"))["suspensions"]
    assert [(one["kind"], one["name"], one["reason"]) for one in listed] == [
        ("sender-domain", "news.example", "ticket 7")
    ]
    send(relay, "z@free.example")
    box.wait(2)
    assert relay.queued() == 4
    assert relay.command("resume", "--sender-domain", "news.example").returncode == 0
    box.wait(6)
    relay.wait_empty()
    assert relay.command("resume", "--sender-domain", "news.example").returncode == 65
    debian.wait_until(lambda: len(list(relay.lines("AdminResume"))) == 1, 10, "the line of the resume")
    assert [line["who"] != "" for line in relay.lines("AdminSuspend")] == [True]


def test_a_bounce_brings_the_reason_to_the_sender(relay: RelayProcess, box: Mailbox) -> None:
    already = len(box.arrived)
    relay.command("suspend", "--domain", "gone.example", "--reason", "t")
    ident = send(relay, "x@gone.example", "joe@from.example")
    silent = send(relay, "y@gone.example", "joe@from.example")
    refused = relay.command("queue", "bounce", ident)
    assert refused.returncode == 64 and b"reason" in refused.stderr
    assert told(relay.command("queue", "bounce", silent, "--silent", "--reason", "r", "--json"))["changed"] == 1
    done = relay.command("queue", "bounce", "--domain", "gone.example", "--reason", "the company has closed")
    assert done.stdout == b"1 message returned\n"
    notice = box.wait(already + 1)[-1]
    assert notice.sender == "" and notice.recipients == ("joe@from.example",)
    assert b"550 5.7.1" in notice.content and b"the company has closed" in notice.content
    relay.wait_empty()
    debian.wait_until(lambda: len(list(relay.lines("AdminBounce"))) == 2, 10, "both lines")
    lines = list(relay.lines("AdminBounce"))
    assert [(line["id"], line["recipient"]) for line in lines] == [
        (silent, "y@gone.example"),
        (ident, "x@gone.example"),
    ]
    assert lines[0]["notice"] == "silent" and len(lines[1]["notice"]) == 32 and lines[1]["who"]
    assert relay.command("resume", "--domain", "gone.example").returncode == 0


def test_what_the_receiver_asks_for_is_explained(relay: RelayProcess) -> None:
    """The schedule of this relay would try again in a second; the receiver's word is bounded by its `max` of two."""
    ident = send(relay, "grey@slow.example")
    debian.wait_until(lambda: any(line["id"] == ident for line in relay.lines("TransientFailure")), 10, "its refusal")
    line = next(line for line in relay.lines("TransientFailure") if line["id"] == ident)
    assert line["retry_after"] == 1200.0
    hold = ("queue", "hold", ident, "--reason", "to look at it")
    debian.wait_until(lambda: relay.command(*hold).returncode == 0, 10, "a moment between two attempts")
    explained = told(relay.command("explain", ident, "--json"))
    (one,) = explained["explained"]
    assert "on hold: to look at it" in explained["why"] and one["queued"]["items"] == 1
    assert one["limits"]["connect_rate"] == {"value": "100000/1s", "from": "[delivery]"}
    assert any("Greylisted" in reply["reply"] for reply in one["lane"]["last"])
    page = relay.command("explain", "x@slow.example").stdout.decode()
    assert page.startswith("slow.example: waiting because it is on hold") and "slot-000" in page and "slot-001" in page
    assert relay.command("queue", "remove", ident).returncode == 0
    assert relay.command("explain", ident).returncode == 65
    assert b"nothing is queued for free.example" in relay.command("explain", "free.example").stdout


def test_a_trace_shows_the_dialogue_while_it_runs_and_top_what_was_done(relay: RelayProcess) -> None:
    command = [*PROGRAM, "trace", "--domain", "seen.example", "--json", "-c", str(relay.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as watcher:
        try:
            assert watcher.stdout is not None
            first = select.poll()  # select() takes no descriptor above 1,023, and a long run of tests may have as many
            first.register(watcher.stdout, select.POLLIN)

            def watched() -> bool:
                send(relay, "x@unseen.example")
                send(relay, "x@seen.example")
                return bool(first.poll(500))

            debian.wait_until(watched, 20, "the first line")
            seen: list[dict[str, Any]] = []
            while not {"in", "out"} <= {
                line["side"] for line in seen if "queued" in line["text"] or "250 OK" in line["text"]
            }:
                seen.append(json.loads(watcher.stdout.readline()))
        finally:
            watcher.kill()
    texts = [line["text"] for line in seen]
    assert "RCPT TO:<x@seen.example>" in texts and any("octets of content" in text for text in texts)
    assert not any("unseen" in text or "hello" in text for text in texts)

    def counted() -> bool:
        """Workers count once a second."""
        top = told(relay.command("top", "--json"))
        assert len(top["workers"]) == 2
        return top["totals"]["received"] >= 2 and top["rates"]["received"]["peak"] >= 1

    debian.wait_until(counted, 10, "what came in to be counted")
    page = relay.command("top", "--once").stdout.decode()
    assert "PER SECOND" in page and "slot-001" in page


def test_over_tcp_the_api_is_for_those_with_the_token(relay: RelayProcess) -> None:
    assert ask(relay, "/api/v1/status")[0] == 401
    assert ask(relay, "/api/v1/status", token=TOKEN + "x")[0] == 401
    assert ask(relay, "/healthz")[0] == 200
    status, document = ask(relay, "/api/v1/openapi.json", token=TOKEN)
    assert status == 200 and document["openapi"] == "3.1.0"
    for path, item in document["paths"].items():
        if "get" in item and "{" not in path and not item["get"].get("parameters"):
            status, answer = ask(relay, path, token=TOKEN)
            assert status == 200, path
            schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            if "$ref" in schema:
                shape = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                assert set(shape.get("required", ())) <= answer.keys(), path
    order = {"kind": "client", "name": "192.0.2.0/24", "reason": "t", "seconds": 60}
    assert ask(relay, "/api/v1/suspend", token=TOKEN, body=order)[0] == 200
    assert ask(relay, "/api/v1/resume", token=TOKEN, body={"kind": "client", "name": "192.0.2.0/24"})[0] == 200


def test_on_a_stopped_relay_the_same_commands_work(tmp_path: Path) -> None:
    """Ten commands that open the spool themselves, each a process: over 5 s on a busy machine."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hop = f"127.0.0.1:{closed.getsockname()[1]}"
        one = RelayProcess(tmp_path, next_hop=hop, workers=1, retry=["first = '1h'"])
        try:
            one.start()
            ident = send(one, "x@a.example")
            assert one.stop() == 0
            assert told(one.command("queue", "list", "--site", hop, "--json"))["rows"][0]["id"] == ident
            assert told(one.command("queue", "list", "--site", "x", "--json"))["rows"] == []
            assert one.command("suspend", "--site", hop, "--reason", "r").returncode == 0
            assert b"site" in one.command("suspend").stdout
            assert told(one.command("queue", "bounce", ident, "--reason", "r", "--json"))["changed"] == 1
            (notice,) = told(one.command("queue", "list", "--json"))["rows"]
            assert notice["sender"] == "" and notice["recipient"] == "s@from.example"
            assert one.command("resume", "--site", hop).returncode == 0
        finally:
            one.kill()
