"""The commands around a relay as processes: check, serve, status, queue, stop; and queue where none runs."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import PROGRAM, RelayProcess, told


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """One whose only next hop is down: what it takes stays."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        one = RelayProcess(tmp_path, next_hop=f"127.0.0.1:{closed.getsockname()[1]}", retry=["first = '1h'"])
        yield one
    one.kill()


def send(relay: RelayProcess, *recipients: str, sender: str = "s@from.example") -> str:
    words = [word for recipient in recipients for word in ("--to", recipient)]
    server = f"127.0.0.1:{relay.port}"
    done = debian.run([*PROGRAM, "send", "--from", sender, *words, "--server", server, "--json"], stdin=b"hello\n")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)[recipients[0]]["content"]).rpartition(" ")[2]


def rows(relay: RelayProcess, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(relay.command("queue", "list", *words, "--json"))["rows"]
    return found


def until_tried(relay: RelayProcess, count: int) -> None:
    debian.wait_until(lambda: sum(row["attempts"] > 0 for row in rows(relay)) == count, 30, "every first attempt")


def test_check_says_what_a_start_would(tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text("[server]\nworkers = 3\n")
    done = debian.run([*PROGRAM, "check", "-c", good])
    assert done.returncode == 0 and b"3 workers on 127.0.0.1:2525" in done.stdout
    assert told(debian.run([*PROGRAM, "check", "-c", good, "--json"]))["server"]["workers"] == 3
    for text, says in (
        ("[server]\nworkes = 3\n", b'did you mean "workers"'),
        ("[server]\nuser = 'nobody-of-that-name'\n", b"server.user"),
        ("[[route]]\ndomain = '*'\nnext_hop = ['a b']\n", b"no next hop"),
        ("[dns]\nnameservers = ['ns.example']\n", b"dns.nameservers"),
        ("[[listener]]\ntls = 'starttls'\ncertificate = '/nowhere.pem'\n", b"/nowhere.pem"),
    ):
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        for command in ("check", "serve"):
            done = debian.run([*PROGRAM, command, "-c", bad])
            assert done.returncode == 78 and says in done.stderr and done.stderr.count(b"\n") == 1, done.stderr


def test_without_a_relay_every_command_says_so(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"[server]\nruntime_dir = '{tmp_path}/run'\n[spool]\npath = '{tmp_path}/spool'\n")
    for words, code in ((["status"], 69), (["stop"], 69), (["queue", "summary"], 64)):
        done = debian.run([*PROGRAM, *words, "-c", file])
        assert done.returncode == code and b"no relay runs" in done.stderr and done.stderr.count(b"\n") == 1, (
            done.stderr
        )
        assert done.stdout == b"" and not (tmp_path / "run").exists() and not (tmp_path / "spool").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_writes_into_a_spool_as_its_owner() -> None:
    """systemd starts the relay as its user without a word of that in the file; root changes its spool meanwhile."""
    with tempfile.TemporaryDirectory() as name:  # where everybody may look, unlike tmp_path
        spool, file = Path(name) / "spool", Path(name) / "c.toml"
        (spool / "slot-000").mkdir(parents=True)
        file.write_text(f"[server]\nruntime_dir = '{name}/run'\n[spool]\npath = '{spool}'\n")
        for path in (Path(name), spool, spool / "slot-000"):
            os.chown(path, 4_000_000, 4_000_000)
        for words in (["suspend", "--domain", "x.example", "--reason", "r"], ["queue", "summary"]):
            done = debian.run([*PROGRAM, *words, "-c", file])
            assert done.returncode == 0, done.stderr
        owners = {path.name: path.stat().st_uid for path in spool.rglob("*")}
        assert set(owners.values()) == {4_000_000} and {"control.json", "bodies"} <= set(owners), owners


def test_status_of_a_relay_that_runs(relay: RelayProcess) -> None:
    relay.start()
    send(relay, "a@x.example")
    until_tried(relay, 1)
    status = told(relay.command("status", "--json"))
    assert status["messages"] == 1 and len(status["workers"]) == 2 and status["master"] == relay.pid
    assert [worker["ledger"]["forgotten"] for worker in status["workers"]] == [0, 0]
    page = relay.command("status").stdout.decode()
    assert page.startswith("healthy: 2 workers ready\n")
    assert all(word in page for word in ("1 message queued", "slot-000", "slot-001", "ready"))
    done = relay.command("stop")
    assert done.returncode == 0 and done.stdout.startswith(b"stopped after")
    assert relay.process is not None and relay.process.wait(5) == 0
    assert relay.command("stop").returncode == 69


def test_stop_gives_up_in_time_and_now_does_not_wait(relay: RelayProcess) -> None:
    relay.start()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as client:
        with client.makefile("rb") as replies:
            for group, last in ((b"", b"220 "), (b"HELO c\r\n", b"250 "), (b"MAIL FROM:<a@b.example>\r\n", b"250 "),
                                (b"RCPT TO:<c@d.example>\r\n", b"250 "), (b"DATA\r\n", b"354 ")):  # fmt: skip
                client.sendall(group)
                assert replies.readline().startswith(last)
        late = relay.command("stop", "--timeout", "100ms")
        assert late.returncode == 75 and b"--now" in late.stderr
        assert relay.command("stop", "--now").returncode == 0


def test_queue_verbs_on_a_running_relay_and_on_its_spool(relay: RelayProcess) -> None:
    relay.start()
    first = send(relay, "a@x.example", "b@y.example")
    second = send(relay, "c@y.example", sender="")
    send(relay, "d@z.example")
    until_tried(relay, 3)
    summary = told(relay.command("queue", "summary", "--json"))
    assert summary["messages"] == 3 and summary["domains"]["y.example"]["messages"] == 2
    assert [row["id"] for row in rows(relay, "--domain", "Y.example")] == [first, second]
    assert [row["id"] for row in rows(relay, "--sender", "")] == [second]
    assert rows(relay, "--older-than", "1d") == []
    shown = told(relay.command("queue", "show", first, "--json"))
    assert [one["status"] for one in shown["recipients"]] == ["open", "open"] and "Message-ID" in shown["headers"]
    assert first in relay.command("queue", "show", first).stdout.decode()

    assert relay.command("queue", "hold", second).returncode == 64  # a reason is due
    assert told(relay.command("queue", "hold", second, "--reason", "why", "--json"))["changed"] == 1
    assert [row["held"] for row in rows(relay, "--held")] == ["why"]
    assert told(relay.command("queue", "remove", "--domain", "x.example", "--json"))["changed"] == 1
    assert relay.command("queue", "retry").returncode == 64  # which mail?
    assert relay.command("queue", "show", "0" * 32).returncode == 65
    assert relay.command("stop").returncode == 0

    offline = relay.command("queue", "list", "--json")
    assert b"no relay runs" in offline.stderr
    kept = told(offline)["rows"]
    assert [row["id"] for row in kept][:2] == [first, second] and kept[0]["open"] == 1 and kept[1]["held"] == "why"
    shown = told(relay.command("queue", "show", first, "--json"))
    assert [one["status"] for one in shown["recipients"]] == ["removed", "open"]
    assert told(relay.command("queue", "release", "--all", "--json"))["changed"] == 1
    assert told(relay.command("queue", "remove", "--domain", "z.example", "--reason", "r", "--json"))["changed"] == 1
    assert told(relay.command("queue", "retry", "--all", "--json"))["changed"] == 2
    assert relay.command("queue", "show", "0" * 32).returncode == 65
    admin = [(line["type"], line["recipient"]) for line in relay.lines() if line["type"].startswith("Admin")]
    assert ("AdminRemove", "d@z.example") in admin and ("AdminHold", "c@y.example") in admin

    with Mailbox() as box:
        text = relay.config.read_text()
        before = text[text.index("next_hop = ['") :].split("'")[1]
        relay.config.write_text(text.replace(before, f"127.0.0.1:{box.port}"))
        relay.start()
        arrived = box.wait(2)
        relay.wait_empty()
        assert sorted(one.recipients for one in arrived) == [("b@y.example",), ("c@y.example",)]
        assert relay.command("stop").returncode == 0


def test_a_slot_that_somebody_holds_is_named(relay: RelayProcess) -> None:
    import fcntl

    relay.start()
    send(relay, "a@x.example")
    until_tried(relay, 1)
    assert relay.command("stop").returncode == 0
    held = os.open(relay.folder / "spool" / "slot-001", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = relay.command("queue", "summary", "--json")
        assert told(done, 75)["incomplete"] == [1] and b"slot-001" in done.stderr
    finally:
        os.close(held)
    assert told(relay.command("queue", "summary", "--json"))["messages"] == 1
