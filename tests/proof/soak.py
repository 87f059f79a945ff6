"""An hour at 70 % load with faults at random: `python tests/proof/soak.py [--minutes 60] [--plot FILE.svg]`.

A relay of two workers between a generator that offers messages at 70 % of what ten seconds of full load came to, and a
sink that answers after 5 ms, defers 3 % and hangs up on 0.5 % of the dots. Every 20 s one of: the sink stands still for
three seconds; fifty clients leave in the middle of a message; the admin child is killed; the configuration is read
anew; mail for one domain is held and let go again; in the first quarter also a worker is killed with -9.

Every five seconds: private memory, descriptors, threads and tasks (greenlets) of the workers, segments in the spool.
The third quarter is compared with the last (workers that began anew in the first have come to their size by then):
memory may have grown by 5 %, descriptors, tasks and segments by a tenth, or by a few. At the end everything accepted
must have arrived, once; of a killed worker each of the CONNECTIONS may carry one message again, and what came in
UNWRITTEN seconds. Exit code 1 else.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import svg
from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.proof.idle_connections import memory

LOAD = 0.7
SAMPLE, FAULT = 5.0, 20.0  # seconds
CONNECTIONS = 50  # to the sink
UNWRITTEN = 0.1  # seconds from a reply read to its record in the kernel, on a busy machine
SINK = ["--latency", "5ms", "--defer", "3%", "--disconnect", "0.5%", "--ids"]
MIB = 1024 * 1024


class Sample(NamedTuple):
    """at: seconds since the begin; memory in MiB; the rest are counts."""

    at: float
    memory: float
    descriptors: int
    threads: int
    tasks: float
    segments: int


class Limit(NamedTuple):
    """How much the mean of the last quarter may be above that of the third: a share of it, or so many."""

    name: str
    share: float
    more: float


LIMITS = (
    Limit("memory", 0.05, 5.0),
    Limit("descriptors", 0.1, 20),
    Limit("threads", 0.0, 4),
    Limit("tasks", 0.1, 20),
    Limit("segments", 0.1, 10),
)


def look(relay: RelayProcess, began: float) -> Sample | None:
    """None while a worker is being replaced."""
    try:
        workers = relay.workers()
        descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers)
        threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in workers)
        held = memory(relay) / MIB
        tasks = relay.metric("fastrelay_tasks")
    except (OSError, ValueError, KeyError):
        return None
    segments = len(list((relay.folder / "spool").glob("**/segment-*.log")))
    return Sample(time.monotonic() - began, held, descriptors, threads, tasks, segments)


class Faults:
    """One at a time, by chance. done: how often each was."""

    def __init__(self, relay: RelayProcess, sink: subprocess.Popen[bytes], chance: random.Random) -> None:
        self._relay = relay
        self._sink = sink
        self._chance = chance
        self.done: dict[str, int] = {}

    def one(self, *, kill: bool) -> None:
        faults: list[Callable[[], None]] = [
            self.sink_stands,
            self.clients_leave,
            self.admin_dies,
            self.reload,
            self.hold,
        ]
        fault = self._chance.choice([*faults, self.worker_dies] if kill else faults)
        self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1
        try:
            fault()
        except (OSError, subprocess.TimeoutExpired) as why:
            print(f"{fault.__name__} was not done to its end: {why}", flush=True)

    def sink_stands(self) -> None:
        self._sink.send_signal(signal.SIGSTOP)
        time.sleep(3)
        self._sink.send_signal(signal.SIGCONT)

    def clients_leave(self) -> None:
        clients = [socket.create_connection(("127.0.0.1", self._relay.port), timeout=10) for _ in range(50)]
        for client in clients:
            client.recv(512)
            client.sendall(b"EHLO gone.example\r\n")
            client.recv(4096)
            client.sendall(b"MAIL FROM:<>\r\nRCPT TO:<x@gone.example>\r\nDATA\r\n")
            client.recv(512)
            client.sendall(b"Subject: half\r\n\r\n" + b"x" * self._chance.randrange(100_000))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

    def _workers(self) -> list[int]:
        """An admin child that died often comes back after half a minute: until then nobody tells who they are."""
        found: list[int] = []

        def told() -> bool:
            with contextlib.suppress(OSError, ValueError):
                found[:] = self._relay.workers()
            return bool(found)

        debian.wait_until(told, 120, "the admin port")
        return found

    def admin_dies(self) -> None:
        workers = self._workers()
        for pid in self._relay.children():
            if pid not in workers:
                os.kill(pid, signal.SIGKILL)

    def reload(self) -> None:
        os.kill(self._relay.pid, signal.SIGHUP)

    def hold(self) -> None:
        self._relay.command("queue", "hold", "--domain", "recipient.invalid", "--reason", "soak")
        self._relay.command("queue", "release", "--domain", "recipient.invalid", "--reason", "soak")

    def worker_dies(self) -> None:
        os.kill(self._chance.choice(self._workers()), signal.SIGKILL)


def bench(relay: RelayProcess, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, "bench", "--to", f"127.0.0.1:{relay.port}", "--sessions", "50", "--json", *words],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def said(process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
    """What a program printed as JSON once it has ended."""
    out, _ = process.communicate(timeout=seconds)
    return dict(json.loads(out))


def growth(samples: list[Sample], limit: Limit) -> tuple[float, float, bool]:
    """Means of the third quarter and the last, and whether that is flat."""
    end = samples[-1].at
    before = statistics.fmean(getattr(sample, limit.name) for sample in samples if end / 2 <= sample.at < end * 3 / 4)
    after = statistics.fmean(getattr(sample, limit.name) for sample in samples if sample.at >= end * 3 / 4)
    return before, after, after <= before + max(limit.share * before, limit.more)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, help="messages a second, instead of 70 %% of full load")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    seconds = chosen.minutes * 60
    with tempfile.TemporaryDirectory(prefix="fastrelay-soak-", dir=os.environ.get("FASTRELAY_PROOF_DIR")) as name:
        folder = Path(name)
        port, pairs = debian.free_port(), folder / "accepted"
        pairs.touch()
        sink = subprocess.Popen(
            [*PROGRAM, "sink", "--listen", f"127.0.0.1:{port}", *SINK, "--against", str(pairs), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        debian.wait_until(lambda: debian.listens(port), 20, "the sink")
        relay = RelayProcess(folder, next_hop=f"127.0.0.1:{port}", delivery=[f"connections = {CONNECTIONS}"]).start()
        try:
            rate = chosen.rate or LOAD * said(bench(relay, "--duration", "10s"), 60)["messages_per_second"]
            relay.wait_empty()
            load = bench(relay, "--rate", f"{rate:.0f}", "--duration", f"{seconds:.0f}s", "--pairs", str(pairs))
            faults = Faults(relay, sink, random.Random(chosen.seed))
            samples: list[Sample] = []
            began = time.monotonic()
            next_fault = began + FAULT
            while load.poll() is None:
                time.sleep(SAMPLE)
                sample = look(relay, began)
                if sample is not None:
                    samples.append(sample)
                if time.monotonic() >= next_fault:
                    next_fault += FAULT
                    faults.one(kill=time.monotonic() - began < seconds / 4)
            offered = said(load, 60)
            relay.wait_empty(120)
            code = relay.stop()
            sink.send_signal(signal.SIGINT)
            taken = said(sink, 120)
        finally:
            relay.kill()
            if sink.poll() is None:
                sink.kill()
        twice = faults.done.get("worker_dies", 0) * (CONNECTIONS + rate * UNWRITTEN)
        good = code == 0 and not taken["lost"] and taken["duplicates"] <= twice
        done = ", ".join(f"{count} x {fault}" for fault, count in sorted(faults.done.items()))
        print(f"{rate:.0f} messages a second for {chosen.minutes:g} min; {done}")
        print(
            f"accepted {offered['accepted']:,}, lost {taken['lost']}, twice {taken['duplicates']}, orphans "
            f"{sum(orphans for _, orphans in relay.audits())}, exit code {code}"
        )
        for limit in LIMITS:
            before, after, flat = growth(samples, limit)
            good = good and flat
            print(f"{limit.name:12} {before:8.1f} -> {after:8.1f}  {'flat' if flat else 'GROWS'}")
        if chosen.plot:
            some = samples[:: max(1, len(samples) // 24)]
            series = {
                limit.name: [(round(one.at / 60, 1), getattr(one, limit.name)) for one in some] for limit in LIMITS
            }
            title = f"{chosen.minutes:g} minutes at {rate:.0f} messages a second, with faults"
            chosen.plot.write_text(svg.lines(title, series, x_name="minutes", y_name="MiB, or count"))
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
