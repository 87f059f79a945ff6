"""A relay that changes while it relays: reload, upgrade, workers more and fewer, logs opened anew."""

import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastrelay.adoption import ADOPT_AFTER
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import command


def told(relay: RelayProcess, count: int, what: str) -> None:
    """Until the relay has said that so often."""
    debian.wait_until(lambda: len(re.findall(what, relay.said())) >= count, 30, f"{what}; it said:\n{relay.said()}")


def change(relay: RelayProcess, *pairs: tuple[str, str]) -> None:
    """Other words in the configuration."""
    text = relay.config.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    relay.config.write_text(text)


def send(relay: RelayProcess, recipient: str, port: int = 0) -> None:
    with smtplib.SMTP("127.0.0.1", port or relay.port, timeout=20) as client:
        client.sendmail("a@x.example", recipient, "Subject: x\r\n\r\nx\r\n")


def greeting(port: int) -> tuple[str, str]:
    """Banner and answer to EHLO."""
    with smtplib.SMTP(timeout=20) as client:
        banner = client.connect("127.0.0.1", port)[1].decode()
        return banner, client.ehlo()[1].decode()


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def install(script: Path, version: str) -> None:
    """The program as a script, in a version of its own."""
    code = f"import fastrelay; fastrelay.__version__ = {version!r}\nfrom fastrelay.cli.main import main\nmain()\n"
    fresh = script.with_suffix(".new")
    fresh.write_text(f"#!{sys.executable}\n{code}")
    fresh.chmod(0o755)
    fresh.rename(script)


def test_under_traffic_nothing_is_refused_lost_or_doubled(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    """Takes 8 s, five of them traffic: connections come at a fixed rate through a reload, a worker more, one less, and
    an upgrade to another version of the program."""
    port, script = debian.free_port(), tmp_path / "fastrelay"
    install(script, "1.1.1")
    one = relay(next_hop=f"127.0.0.1:{port}", workers=2)
    one.start(program=[script, "serve", "-c", one.config])
    old = one.pid
    bench = subprocess.Popen(
        command("bench", "--to", f"127.0.0.1:{one.port}", "--sink", f"127.0.0.1:{port}", "--json",
                "--rate", "100", "--messages", "500", "--sessions", "300", "--size", "1KB"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        one.wait_until_sessions(50)
        change(one, ("workers = 2", "workers = 3"))
        assert one.command("reload").returncode == 0, one.said()
        debian.wait_until(  # one that is ended before it is ready has nothing to audit, and says nothing
            lambda: [row["state"] for row in one.get("/healthz")["workers"]] == ["ready"] * 3, 20, "the third worker"
        )
        os.kill(one.pid, signal.SIGTTOU)
        told(one, 1, "one worker less: 2")
        install(script, "2.2.2")
        done = one.command("upgrade")
        assert done.returncode == 0 and b"has taken over" in done.stdout, done.stderr
        out, err = bench.communicate(timeout=90)
    finally:
        bench.kill()
        bench.wait()
    result: dict[str, Any] = json.loads(out)
    delivered = result["delivered"]
    assert bench.returncode == 0, (result, err, one.said())
    assert (result["accepted"], result["refused"], result["failed"]) == (500, 0, 0), result
    assert (delivered["arrived"], delivered["lost"], delivered["twice"], delivered["unknown"]) == (500, 0, 0, 0)
    assert one.process is not None and one.process.wait(40) == 0 and one.pid != old
    debian.wait_until(  # sooner than a slot whose worker may come back: adoption.ADOPT_AFTER
        lambda: one.command("status").returncode == 0, ADOPT_AFTER - 1.0, "the slots of those that ended to be adopted"
    )
    assert json.loads(one.command("status", "--json").stdout)["version"] == "2.2.2"
    assert one.command("stop").returncode == 0
    assert len(one.audits()) == 6  # three workers of the old program, three of the new, and no orphan


def test_what_a_reload_changes(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    with Mailbox() as first, Mailbox() as second:
        one = relay(next_hop=f"127.0.0.1:{first.port}", workers=2).start()
        other, admin, before = debian.free_port(), debian.free_port(), set(one.workers())
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as kept:
            kept.ehlo()
            send(one, "one@x.example")
            first.wait(1)
            change(
                one,
                ("hostname = 'relay.test'", "hostname = 'new.test'"),
                ("[[listener]]", f"[[listener]]\naddress = '127.0.0.1:{other}'\n[[listener]]\nmax_message_size = 5000"),
                (f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"),
                (f"127.0.0.1:{one.admin_port}", f"127.0.0.1:{admin}"),
                ("events.jsonl", "other.jsonl"),
            )
            done = one.command("reload")
            assert done.returncode == 0 and done.stdout.startswith(b"reloaded "), done.stderr
            banner, offer = greeting(one.port)
            assert banner.startswith("new.test") and "SIZE 5000" in offer
            assert kept.sendmail("a@x.example", "two@x.example", "Subject: x\r\n\r\n" + "xxxx\r\n" * 1000) == {}
            send(one, "three@x.example", other)
        assert {arrived.recipients for arrived in second.wait(2)} == {("two@x.example",), ("three@x.example",)}
        one.events = tmp_path / "other.jsonl"
        debian.wait_until(lambda: len(list(one.lines("Delivery"))) == 2, 20, "lines in the new event log")
        one.admin_port = admin
        debian.wait_until(lambda: listens(admin), 20, "the new address of the admin child")
        assert set(one.workers()) == before, "workers live on"
        # a listener less
        change(one, (f"[[listener]]\naddress = '127.0.0.1:{other}'\n", ""))
        assert one.command("reload").returncode == 0
        debian.wait_until(lambda: not listens(other), 20, "the listener to be gone")
        assert len(first.arrived) == 1
        assert one.stop() == 0


def test_what_a_reload_refuses(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    """Each time the old configuration stays in force, whole."""
    with Mailbox() as box, socket.create_server(("127.0.0.1", 0)) as taken:
        one = relay(next_hop=f"127.0.0.1:{box.port}", workers=2).start()
        good = one.config.read_text()
        busy = taken.getsockname()[1]
        wrong = [
            (("workers = 2", "wokers = 2"), 78, r"server.wokers: unknown key, did you mean .workers"),
            (("[log]\nevents = '", "[log]\nevents = '/nowhere/x"), 78, r"log.events: /nowhere/x.* cannot be a file"),
            (("[spool]\npath = '", f"[spool]\npath = '{tmp_path}/x"), 78, r"spool.path: needs a restart"),
            (
                (f"runtime_dir = '{tmp_path}", f"runtime_dir = '{tmp_path}/y"),
                78,
                r"server.runtime_dir: needs a restart",
            ),
            (("workers = 2", "workers = 100"), 78, r"server.workers: at most 12 without a restart"),
            (("[[listener]]", f"[[listener]]\naddress = '127.0.0.1:{busy}'\n[[listener]]"), 75, r"cannot listen on"),
            (
                ("[[listener]]", f"[[listener]]\ntls = 'starttls'\ncertificate = '{tmp_path}/none.pem'"),
                78,
                r"certificate .*none.pem: no such file",
            ),
        ]
        for n, (pair, code, why) in enumerate(wrong, 1):
            one.config.write_text(good.replace("'relay.test'", "'wrong.test'").replace(*pair))
            if "runtime_dir" not in pair[1] and "wokers" not in pair[1]:
                done = one.command("reload")
                assert done.returncode == code and re.search(why, done.stderr.decode()), done.stderr
            else:  # the command itself would not find the relay by this file
                os.kill(one.pid, signal.SIGHUP)
            told(one, 1, f"reload refused: .*{why}")
            assert len(re.findall("reload refused", one.said())) >= n
            assert greeting(one.port)[0].startswith("relay.test")
        one.config.write_text(good)
        for _ in range(5):
            os.kill(one.pid, signal.SIGHUP)
        told(one, 1, r"\]: reloaded ")
        send(one, "b@x.example")
        box.wait(1)
        debian.wait_until(lambda: len(list(one.lines("Delivery"))) == 1, 20, "lines in the old file")
        # the log as logrotate does it
        one.events.rename(tmp_path / "events.1")
        os.kill(one.pid, signal.SIGUSR1)
        debian.wait_until(lambda: one.events.exists(), 20, "the new file")
        send(one, "c@x.example")
        debian.wait_until(lambda: len(list(one.lines("Delivery"))) == 1, 20, "lines in the new file")
        assert one.stop() == 0
        assert len(re.findall(r"\]: reloaded ", one.said())) <= 3, "asked for while one is under way: once more"
        assert [json.loads(line)["type"] for line in (tmp_path / "events.1").read_text().splitlines()].count(
            "Delivery"
        ) == 1
