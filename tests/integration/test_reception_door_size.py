"""What the front door costs and how it is short of descriptors: in a process of its own, which has a size."""

import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from tests.peers import debian

EHLO = b"EHLO client.example\r\n"
IDLE = 1500
SERVER = """
    import os, resource, socket, sys
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(int(sys.argv[1]), hard), hard))
    from fastrelay.config import Listener
    from fastrelay.metrics import Counts
    from fastrelay.reception.door import Door
    from fastrelay.reception.policy import Policy
    from fastrelay.runtime import tasks
    from tests.peers.front_desk import FakeIntake, FakeLedger, FakeLog

    memory = os.open("/proc/self/statm", os.O_RDONLY)

    def resident():
        return int(os.pread(memory, 200, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")

    sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
    log = FakeLog()
    door = Door(Policy(Listener(), "relay.example"), [sock], FakeIntake(), FakeLedger(), log, Counts())
    door.open()
    print(sock.getsockname()[1], flush=True)
    tasks.DescriptorWatch(0, lambda: sys.stdin.readline() and answer() or sys.exit())

    def answer():
        descriptors = len(os.listdir("/proc/self/fd")) if door.sessions < 9 else 0
        print(door.sessions, resident(), descriptors, len(log.lines), flush=True)
        return True

    tasks.sleep(120)
"""


class Served:
    """The door in a process of its own; at most so many descriptors."""

    def __init__(self, descriptors: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVER), str(descriptors)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.clients: list[socket.socket] = []

    def ask(self) -> tuple[int, int, int, int]:
        """Sessions, octets resident, descriptors open (0 when there are many), lines said."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print("?", file=self._process.stdin, flush=True)
        sessions, resident, descriptors, lines = map(int, self._process.stdout.readline().split())
        return sessions, resident, descriptors, lines

    def connect(self) -> socket.socket:
        self.clients.append(socket.create_connection(("127.0.0.1", self.port), timeout=20))
        return self.clients[-1]

    def close_clients(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def close(self) -> None:
        self.close_clients()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def served() -> Iterator[Callable[[int], Served]]:
    all_served: list[Served] = []

    def serve(descriptors: int) -> Served:
        all_served.append(Served(descriptors))
        return all_served[-1]

    yield serve
    for one in all_served:
        one.close()


def test_an_idle_client_costs_little_memory(served: Callable[[int], Served]) -> None:
    """Measured 8.4 KB for one that has said EHLO: task, stream, watcher, session and machine. Allowed: 15 KB."""
    here = served(4096)

    def introduced(count: int) -> None:
        for _ in range(count):
            one = here.connect()
            one.recv(200)
            one.sendall(EHLO)
            one.recv(500)

    first = 100  # what they make the process load is not theirs
    introduced(first)
    count, before, *_ = here.ask()
    assert count == first
    introduced(IDLE)
    count, after, *_ = here.ask()
    assert count == first + IDLE
    assert (after - before) / IDLE < 15 * 1024


def test_descriptors_run_out_and_come_back(served: Callable[[int], Served]) -> None:
    """More clients than descriptors: the rest waits in the backlog, is served later, and nothing leaks."""
    here = served(64)
    here.connect().recv(200)
    here.close_clients()
    debian.wait_until(lambda: here.ask()[0] == 0, 20, "all sessions to end")
    _, _, at_rest, said = here.ask()
    assert said == 0
    for _ in range(100):
        here.connect()
    debian.wait_until(lambda: here.ask()[3] > 0, 20, "descriptors to run out")
    sessions = here.ask()[0]
    assert 0 < sessions < 64
    for one in here.clients[:60]:
        one.close()
    assert here.clients[99].recv(200).startswith(b"220 ")
    here.close_clients()
    debian.wait_until(lambda: here.ask()[0] == 0, 20, "all sessions to end")
    assert here.ask()[2] == at_rest
    assert here.ask()[3] < 10  # a line for each rest of a second, not for each attempt
