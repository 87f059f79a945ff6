"""What kind of processes the house is made of, looked at from within while it relays; and its audit from outside."""

import json
import os
import signal
import smtplib
import sys
from collections.abc import Callable
from pathlib import Path

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess

SEAMED = Path(__file__).with_name("seamed_house.py")


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_workers_are_not_monkey_patched_and_the_master_has_no_loop(relay: Callable[..., RelayProcess]) -> None:
    """A worker begins as a copy of its master, so what it finds first is what the master had at the fork: the second
    life of a killed worker shows the master in the middle of its own."""
    with Mailbox() as box:
        one = relay(next_hop=f"127.0.0.1:{box.port}", workers=2)
        one.start(program=[sys.executable, SEAMED, one.config, "witness"])
        first = one.workers()
        os.kill(first[0], signal.SIGKILL)
        debian.wait_until(
            lambda: len({*one.workers()} - {*first}) == 1 and len(one.workers()) == 2, 20, "the worker's successor"
        )
        for n in range(10):
            with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
                client.sendmail("a@x.example", f"b{n}@x.example", "Subject: x\r\n\r\nx\r\n")
        box.wait(10)
        assert threads(one.pid) == 1, "the master has threads"
        running = one.workers()
        assert one.stop() == 0, one.said()
    assert all(event["delays"][0] > 0.0 for event in one.lines("Delivery"))
    for pid in running:
        seen = json.loads((one.folder / f"witness-{pid}").read_text())
        assert seen["before"] == {"patched": [], "foreign": [], "hub": False, "threads": 1}, seen
        assert seen["after"]["patched"] == seen["after"]["foreign"] == [] and seen["after"]["hub"], seen


def test_every_worker_audits_its_schedule_before_it_ends(relay: Callable[..., RelayProcess]) -> None:
    """With mail that waits for its time, behind a site that is down, and held."""
    with Mailbox(refuse=lambda address: "450 4.2.1 busy" if "busy" in address else "") as box:
        tables = "[[route]]\ndomain = 'down.example'\nnext_hop = ['127.0.0.1:9']\n"
        one = relay(workers=2, retry=["first = '1h'", "max = '1h'"], tables=tables, next_hop=f"127.0.0.1:{box.port}")
        one.start()
        for n in range(10):
            with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
                for name in ("a@x.example", "busy@x.example", "b@down.example"):
                    client.sendmail("s@x.example", name.replace("@", f"{n}@"), "Subject: x\r\n\r\nx\r\n")
        box.wait(10)
        debian.wait_until(
            lambda: (
                len({event["recipient"] for event in one.lines("TransientFailure") if "busy" in event["recipient"]})
                == 10
            ),
            20,
            "all who are busy to have been tried",
        )
        assert one.command("queue", "hold", "--domain", "down.example", "--reason", "test").returncode == 0
        assert one.queued() == 20
        assert one.stop() == 0
        first = one.audits()
        assert len(first) == 2 and sum(places for places, _ in first) == 20
        one.start()
        debian.wait_until(lambda: one.queued() == 20, 20, "the backlog")
        assert one.stop() == 0
        assert [orphans for _, orphans in one.audits()] == [0] * 4
