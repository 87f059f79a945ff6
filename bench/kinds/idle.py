"""Kind "idle": clients that connect, say EHLO and then nothing.

settings: clients. more.octets_per_client: growth of the private memory of all processes; more.opened_per_second;
more.idle_cpu_percent: of one processor, over ten seconds in which nobody says anything; more.last_answers_ms: how long
one more client waits from connect to the answer to its EHLO (median of 20) while they are all there.
"""

import contextlib
import resource
import socket
import statistics
import time

import msgspec

from bench.measure import Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish
from tests.peers import debian

NEEDS = frozenset({Need.CLIENTS})
FLOOR = False
QUIET = 10.0  # seconds
_SPREAD = 4  # source addresses: loopback has 28,000 ports for each


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """clients: at the same time."""

    clients: int


def run(stage: Stage) -> Round:
    """See the head."""
    clients = stage.scenario.settings_as(Settings).clients
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < clients + 1000:
        raise Broken(f"{clients} clients need as many descriptors, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        stage.running(Wish(debian.free_port(), stage.workers, clients=clients + 100)) as relay,
        contextlib.ExitStack() as held,
    ):
        for _ in range(20):
            _client(relay.port, 0).close()  # what a first session alone brings into memory
        before = relay.program.private()
        began = time.monotonic()
        for number in range(clients):
            held.enter_context(_client(relay.port, number))
        opened = time.monotonic() - began
        each = (relay.program.private() - before) / clients
        cpu = relay.program.cpu()
        time.sleep(QUIET)
        spent = relay.program.cpu() - cpu
        waits = []
        for _ in range(20):
            start = time.perf_counter()
            _client(relay.port, 0).close()
            waits.append((time.perf_counter() - start) * 1e3)
        rss, pss = relay.program.memory()
        return stage.round(
            seconds=opened,
            rss=rss,
            pss=pss,
            more={
                "clients": clients,
                "octets_per_client": each,
                "opened_per_second": clients / opened,
                "idle_cpu_percent": spent / QUIET * 100,
                "last_answers_ms": statistics.median(waits),
            },
        )


def _client(port: int, number: int) -> socket.socket:
    """One that has said EHLO and read the answer."""
    client = socket.create_connection(
        ("127.0.0.1", port), timeout=30, source_address=(f"127.0.0.{2 + number % _SPREAD}", 0)
    )
    greeting = client.recv(512)
    client.sendall(b"EHLO idle.invalid\r\n")
    answer = client.recv(4096)
    if not greeting.startswith(b"220") or not answer.startswith(b"250"):
        raise Broken(f"client {number} was answered {greeting!r} {answer!r}")
    return client
