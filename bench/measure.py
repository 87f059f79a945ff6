"""One round: a fresh relay, one scenario, everything counted; and what is common to the kinds of scenarios.

A kind (bench/kinds) is a function from a Stage to a Round. It starts the relay and its own generator and sink, warms
up, opens a Meter, puts the load on, closes the Meter after the last message. It raises Broken, instead of giving
figures, when a message was refused, lost or came twice.
"""

import json
import os
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench import processes
from bench.backlog import Backlogs
from bench.processes import Broken, Program
from bench.relay import Relay, Setup, Wish
from bench.scenario import Scenario

FLOOR = "floor"
FEWEST = 500  # messages a round
_SYNCS = 100
FLUSHED = 1.2  # seconds: workers write their metrics once a second


class Amount(msgspec.Struct, frozen=True):
    """How much a round sends: `messages` where given, else what `duration` seconds hold by the warm-up."""

    duration: float
    messages: int = 0

    def fitting(self, rate: float) -> int:
        """`rate`: messages a second of the warm-up, which is slower than what follows."""
        return self.messages or max(FEWEST, int(rate * self.duration))


class Round(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One relay, one scenario. Seconds are of the wall; CPU milliseconds are per message; memory in octets.

    sync_p50_us: of the disk alone, just before. latencies: name -> milliseconds by p50, p90, p99, p999, max.
    more: what only this kind tells, with the unit in the name; its module says what each is.
    """

    relay: str
    scenario: str
    number: int
    messages: int = 0
    seconds: float = 0.0
    delivered_per_second: float = 0.0
    accepted_per_second: float = 0.0
    cpu_ms: float = 0.0
    generator_cpu_ms: float = 0.0
    sink_cpu_ms: float = 0.0
    rss: int = 0
    pss: int = 0
    processes: int = 0
    batches_per_second: float = 0.0
    messages_per_batch: float = 0.0
    sync_p50_us: float = 0.0
    latencies: dict[str, dict[str, float]] = {}
    more: dict[str, float] = {}


class Stage:
    """Where a round takes place: an empty `folder` that is removed again, a relay (None: the floor), a scenario."""

    def __init__(
        self,
        relay: Relay | None,
        scenario: Scenario,
        number: int,
        amount: Amount,
        folder: Path,
        workers: int,
        backlogs: Backlogs | None = None,
    ) -> None:
        self.relay = relay
        self.scenario = scenario
        self.number = number
        self.amount = amount
        self.folder = folder
        self.workers = workers
        self.backlogs = backlogs or Backlogs(folder.with_name("backlogs"), workers)
        self.config = ""  # of the relay, once it was started
        self.folder.mkdir(parents=True)
        self.tools = folder / "tools"
        self.tools.mkdir()
        self._sync = sync_microseconds(folder, _SYNCS)[0]

    @contextmanager
    def running(self, wish: Wish, *, seconds: float = 30.0) -> Iterator["Running"]:
        """The relay from its greeting on, which must come within `seconds`; ended at the end of the block."""
        assert self.relay is not None
        home = self.folder / self.relay.name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        setup = self.relay.prepare(home, wish)
        self.config = setup.config
        program = Program(setup.command, self.folder / "output", setup.env, orphans=setup.orphans)
        began = time.monotonic()
        try:
            wait_greeting(setup.port, program, seconds)
            yield Running(program, setup, time.monotonic() - began)
        except Broken as error:
            raise Broken(f"{self.relay.name}, {self.scenario.title}: {error}{_last_words(program, setup)}") from None
        finally:
            program.end()

    def round(self, **figures: object) -> Round:
        """The Round of this stage with these figures."""
        name = self.relay.name if self.relay else FLOOR
        made = {"relay": name, "scenario": self.scenario.name, "number": self.number, "sync_p50_us": self._sync}
        return msgspec.convert(made | figures, Round)

    def close(self) -> None:
        """Nothing of it is left on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Running:
    """A relay that greets. greeted: seconds from its start to the greeting."""

    def __init__(self, program: Program, setup: Setup, greeted: float) -> None:
        self.program = program
        self.setup = setup
        self.port = setup.port
        self.greeted = greeted

    def metric(self, name: str) -> float:
        """The sum of a Prometheus metric over its labels; 0 where the relay has no such page."""
        return sum_metric(metrics_page(self.setup.metrics), name) if self.setup.metrics else 0.0

    def queued(self) -> int:
        """Messages in all workers now, as the queue API counts them; -1 while a worker does not answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            try:
                sock.connect(self.setup.api)
                status = json.loads(_get(sock, "/api/v1/status"))
            except (OSError, json.JSONDecodeError):
                return -1  # not yet
        return -1 if status.get("incomplete", True) else int(status["messages"])


class Meter:
    """What the relay spends between its making and `read`: CPU, memory at the end, journal batches."""

    def __init__(self, running: Running | None) -> None:
        self._running = running
        if running is None:
            return
        if running.setup.metrics:
            time.sleep(FLUSHED)  # what was counted before belongs to the warm-up
        self._batches = running.metric("fastrelay_spool_commit_messages_count")
        self._committed = running.metric("fastrelay_spool_commit_messages_sum")
        self._cpu = running.program.cpu()

    def read(self, messages: int, seconds: float) -> dict[str, float]:
        """The figures of Round that are the relay's, for so many messages in so many seconds. Settles first."""
        processes.settle()
        if self._running is None:
            return {}
        program = self._running.program
        program.check_alive()
        cpu = program.cpu() - self._cpu
        rss, pss = program.memory()
        found = {
            "cpu_ms": cpu / messages * 1e3,
            "rss": rss,
            "pss": pss,
            "processes": len(program.family()),
        }
        if self._running.setup.metrics:
            batches = self._running.metric("fastrelay_spool_commit_messages_count") - self._batches
            committed = self._running.metric("fastrelay_spool_commit_messages_sum") - self._committed
            found["batches_per_second"] = batches / seconds
            found["messages_per_batch"] = committed / batches if batches else 0.0
        return found


def metrics_page(port: int) -> str:
    """/metrics of a relay on loopback."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        return _get(sock, "/metrics")


def _get(sock: socket.socket, path: str) -> str:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    octets = b""
    while piece := sock.recv(65536):
        octets += piece
    return octets.partition(b"\r\n\r\n")[2].decode()


def sum_metric(page: str, name: str) -> float:
    """The sum over labels of the samples called `name`, 0.0 where there are none."""
    total = 0.0
    for line in page.splitlines():
        if line.startswith(name) and line[len(name) : len(name) + 1] in (" ", "{"):
            total += float(line.rpartition(" ")[2])
    return total


def sync_microseconds(folder: Path, count: int) -> tuple[float, float]:
    """(p50, p99) of an append of one 5 KB message and its fdatasync, in microseconds, over `count` of them."""
    file = folder / "sync-probe"
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    took = []
    try:
        for _ in range(count):
            os.write(fd, b"x" * 5400)
            start = time.perf_counter()
            os.fdatasync(fd)
            took.append((time.perf_counter() - start) * 1e6)
    finally:
        os.close(fd)
        file.unlink()
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98]


def wait_greeting(port: int, program: Program, seconds: float = 30.0) -> None:
    """Until an SMTP server greets at `port`; Broken when `program` ends or `seconds` pass first."""
    latest = time.monotonic() + seconds
    while True:
        program.check_alive()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                if probe.recv(1024).startswith(b"220"):
                    probe.sendall(b"QUIT\r\n")
                    probe.recv(1024)
                    return
        except OSError:
            pass  # not yet
        if time.monotonic() > latest:
            raise Broken(f"no greeting at port {port} after {seconds:.0f} s")
        time.sleep(0.02)


def _last_words(program: Program, setup: Setup) -> str:
    said = ""
    for path in (program.output, *setup.logs):
        if path.exists() and (tail := path.read_bytes()[-1000:].decode("utf-8", "replace").strip()):
            said += f"\n--- end of {path.name}\n{tail}"
    return said
