"""What the machine may run out of, or somebody may take away, under a relay that goes on: each fault ends in a line
that names it, and in a house that is whole again. One house for all of it, with two workers."""

import json
import os
import re
import resource
import shutil
import signal
import smtplib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess

SEAMED = Path(__file__).parents[1] / "integration" / "seamed_house.py"


class Relay(RelayProcess):
    """With its next hop, and what it has said since a moment."""

    def __init__(self, folder: Path, box: Mailbox) -> None:
        super().__init__(folder, next_hop=f"127.0.0.1:{box.port}", workers=2, delivery=["connections = 20"])
        self.box = box
        self.sent = 0

    def send(self) -> None:
        """A message, all the way."""
        submit(self, f"{self.sent}@x.example")
        self.sent += 1
        self.box.wait(self.sent)

    def told(self, since: int, what: str) -> str:
        """Until it says so: the line."""
        debian.wait_until(lambda: re.search(what, self.said()[since:]), 30, f"{what}; it said:\n{self.said()[since:]}")
        found = re.search(f".*{what}.*", self.said()[since:])
        assert found
        return found[0]

    def change(self, old: str, new: str) -> None:
        self.config.write_text(self.config.read_text().replace(old, new))
        assert self.command("reload").returncode == 0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    with Mailbox() as box:
        one = Relay(tmp_path_factory.mktemp("house"), box)
        try:
            one.start()
            yield one
            assert one.stop() == 0
            assert not any(orphans for _, orphans in one.audits())
        finally:
            one.kill()


def test_descriptors_run_out(relay: Relay) -> None:
    """Idle connections to peers are given up, clients wait, and are served once there is room."""
    relay.send()
    since, workers = len(relay.said()), relay.workers()
    before = resource.prlimit(workers[0], resource.RLIMIT_NOFILE)
    for pid in workers:
        few = len(os.listdir(f"/proc/{pid}/fd")) + 5
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
    clients = [socket.create_connection(("127.0.0.1", relay.port), timeout=30) for _ in range(30)]
    relay.told(since, "too many open files: connections wait until some have ended; raise LimitNOFILE")
    idle = 'fastrelay_connections{direction="out",state="idle"} 0.0'
    debian.wait_until(lambda: idle in relay.page("/metrics"), 30, "idle connections to be given up")
    for client in clients:  # the last ones have waited in the kernel until the first had gone
        assert client.recv(100).startswith(b"220")
        client.close()
    assert len(re.findall("too many open files", relay.said()[since:])) <= 2, "told once by each worker"
    relay.told(since, "connections are accepted again")
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    relay.send()
    assert relay.workers() == workers


def test_the_event_log_is_full(relay: Relay) -> None:
    """Mail goes on; the lines wait, and are written where there is room."""
    since, events = len(relay.said()), relay.events
    relay.change(str(events), "/dev/full")
    relay.send()
    relay.told(since, "event log /dev/full: No space left on device; trying again")
    already = len(list(relay.lines("Delivery")))
    relay.change("/dev/full", str(events))
    relay.told(since, "event log .*: lines are written again")
    debian.wait_until(lambda: len(list(relay.lines("Delivery"))) == already + 1, 30, "the line that waited")


def test_a_worker_is_killed_by_the_system(relay: Relay) -> None:
    since, victim = len(relay.said()), relay.workers()[0]
    os.kill(victim, signal.SIGKILL)
    relay.told(
        since, rf"process {victim}, slot \d\) was killed by SIGKILL; replaced .*see the kernel's log, memory may"
    )
    debian.wait_until(lambda: len({*relay.workers()} - {victim}) == 2, 30, "its successor")
    relay.send()


def test_the_runtime_directory_is_removed(relay: Relay) -> None:
    since, run, before = len(relay.said()), relay.folder / "run", set(relay.workers())
    master = relay.pid
    shutil.rmtree(run)
    relay.told(since, f"{run} was removed: made again, and every worker is replaced")
    debian.wait_until(lambda: relay.command("status").returncode == 0, 30, "the API")
    debian.wait_until(lambda: len(relay.workers()) == 2 and not before & {*relay.workers()}, 30, "new workers")
    assert relay.pid == master
    relay.send()
    relay.wait_metric("fastrelay_messages_delivered_total", 1.0)
    assert relay.command("reload").returncode == 0


def test_a_worker_whose_task_never_yields_is_replaced_and_its_mail_goes_on(tmp_path: Path) -> None:
    """Takes 8 s: five until its silence is noticed, and the next one's start. Its sibling serves meanwhile."""
    words = ["450 4.2.1 not yet"]
    with Mailbox(refuse=lambda address: words[-1]) as box:
        one = RelayProcess(tmp_path, next_hop=f"127.0.0.1:{box.port}", workers=2, server=["hang_timeout = '5s'"])
        try:
            one.start(program=[sys.executable, SEAMED, one.config, "hanging"])
            sent: list[str] = []

            def is_cut() -> bool:
                """Hears of no 250, for its worker ends before."""
                name = f"{len(sent)}@x.example"
                try:
                    submit(one, name)
                except (OSError, smtplib.SMTPException):
                    return True
                sent.append(name)
                return False

            while len(sent) < 10:  # some of it in either worker
                assert not is_cut()
            debian.wait_until(lambda: len(list(one.lines("TransientFailure"))) >= 10, 30, "the first attempts")
            (one.folder / "hang").touch()
            debian.wait_until(is_cut, 30, "a worker to look for room, which it does once a second")
            said = one.said()
            assert "has not beaten for 5 s: ending it, stacks follow" in said and "in space" in said, said
            debian.wait_until(lambda: "was killed by SIGABRT; replaced" in one.said(), 20, "its end to be told")
            words.append("")
            submit(one, "after@x.example")
            sent.append("after@x.example")
            arrived = [recipient for letter in box.wait(len(sent)) for recipient in letter.recipients]
            assert sorted(arrived) == sorted(sent)
            debian.wait_until(lambda: len(one.workers()) == 2, 20, "its successor")
            one.wait_empty()
            assert one.stop() == 0
        finally:
            one.kill()


def submit(relay: RelayProcess, recipient: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client:
        client.sendmail("a@x.example", recipient, "Subject: x\r\n\r\nx\r\n")


def test_a_message_that_crashes_its_worker_each_time_is_held(tmp_path: Path) -> None:
    """Takes 14 s: four crashes, and the pauses between them. At the first another message is in hand too, begun later:
    it is not accused, and delivered. Mail behind them goes on."""
    killed: list[int] = []
    beside = threading.Event()
    struck = threading.Event()

    def strike(address: str) -> str:
        """The worker dies with this very message in hand."""
        if address.startswith("poison"):
            assert beside.wait(30)
            killed.append(one.workers()[0])
            os.kill(killed[-1], signal.SIGSEGV)
            struck.set()
            return "450 4.2.1 too late"
        return ""

    def stall(address: str) -> str:
        beside.set()
        assert struck.wait(30)
        return ""

    with Mailbox(refuse=strike) as box, Mailbox(refuse=stall) as other:
        route = f"[[route]]\ndomain = 'beside.example'\nnext_hop = ['127.0.0.1:{other.port}']\n"
        one = RelayProcess(tmp_path, next_hop=f"127.0.0.1:{box.port}", workers=1, tables=route).start()
        try:
            submit(one, "poison@x.example")
            submit(one, "x@beside.example")
            debian.wait_until(lambda: "was in hand at three crashes: it will be held" in one.said(), 60, "the verdict")
            debian.wait_until(lambda: one.command("status").returncode == 0, 60, "a worker that has read its mail")
            submit(one, "harmless@x.example")
            box.wait(1)
            other.wait(1)
            held = json.loads(one.command("queue", "list", "--json").stdout)["rows"]
            found = [(row["recipient"], row["held"]) for row in held]
            assert found == [("poison@x.example", "in hand at three crashes of a worker")]
            assert len(killed) == 4 == len(set(killed)) and one.stop() == 0
        finally:
            one.kill()
