"""The whole program as processes: `fastrelay serve` on free ports in a folder of its own, and what a test asks of it.

The folder holds config.toml, spool/, run/, events.jsonl and stderr. A relay that was killed is started again with
`start`, on the same spool and ports.
"""

import contextlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.peers import debian

PROGRAM = (sys.executable, "-m", "fastrelay.cli.main")


def told(done: "subprocess.CompletedProcess[bytes]", code: int = 0) -> Any:
    """What a command with --json printed, where its exit code is that."""
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def p99(before: dict[float, float], after: dict[float, float]) -> float:
    """The bound below which 99 % of what a histogram got between two looks lies; infinity beyond its last bound."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = max(counts.values(), default=0.0)
    return min((bound for bound, count in counts.items() if count >= 0.99 * total), default=math.inf)


class RelayProcess:
    """One relay. tables: TOML text added to the config; server, delivery, retry: keys of those tables."""

    def __init__(
        self,
        folder: Path,
        *,
        next_hop: str = "",
        workers: int = 2,
        server: Sequence[str] = (),
        listener: Sequence[str] = (),
        spool: Sequence[str] = (),
        delivery: Sequence[str] = (),
        retry: Sequence[str] = ("first = '1s'", "max = '2s'"),
        tables: str = "",
    ) -> None:
        self.folder = folder
        self.port = debian.free_port()
        self.admin_port = debian.free_port()
        self.config = folder / "config.toml"
        self.events = folder / "events.jsonl"
        self._errors = folder / "stderr"
        lines = [
            "[server]", "hostname = 'relay.test'", f"workers = {workers}", f"runtime_dir = '{folder / 'run'}'", *server,
            "[[listener]]", f"address = '127.0.0.1:{self.port}'", *listener,
            "[spool]", f"path = '{folder / 'spool'}'", *spool,
            "[retry]", *retry,
            "[delivery]", "connect_rate = '100000/s'", *delivery,
            "[admin]", f"address = '127.0.0.1:{self.admin_port}'",
            "[log]", f"events = '{self.events}'",
        ]  # fmt: skip
        if next_hop:
            lines += ["[[route]]", "domain = '*'", f"next_hop = ['{next_hop}']"]
        self.config.write_text("\n".join([*lines, tables]) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *wrapper: str | Path, seconds: float = 20, program: Sequence[str | Path] = ()) -> "RelayProcess":
        """From here to "ready" on stderr. wrapper: a command to run it under (strace). program: instead of `serve`."""
        already = len(self.said())
        running = self.launch(*wrapper, *(program or (*PROGRAM, "serve", "-c", self.config)))
        debian.wait_until(
            lambda: "ready:" in self.said()[already:] or running.poll() is not None, seconds, "the relay to be ready"
        )
        assert running.poll() is None, self.said()
        return self

    def launch(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Begin a life and wait for nothing: one that may not come to "ready"."""
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*map(str, command)], stderr=errors, stdout=errors, env=debian.environment(), start_new_session=True
            )
        return self.process

    def said(self) -> str:
        """Everything on its stderr so far."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    def audits(self) -> list[tuple[int, int]]:
        """Places taken and orphans, as each worker that came to an orderly end counted them last. Fails where a patrol
        found an orphan."""
        said = self.said()
        assert "stands nowhere" not in said, said
        found = re.findall(r"audit: (\d+) places taken, (\d+) orphans", said)
        return [(int(places), int(orphans)) for places, orphans in found]

    @property
    def pid(self) -> int:
        """The master's."""
        return int((self.folder / "run" / "fastrelay.pid").read_text().split()[0])

    def children(self) -> list[int]:
        """Every child of the master."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def children_of_others(self, master: int) -> int:
        """Processes of this relay that neither are `master` nor its children."""
        assert self.process is not None
        found = 0
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    rest = (folder / "stat").read_text().rpartition(")")[2].split()
                    ours = int(rest[2]) == self.process.pid and rest[0] != "Z"
                    found += ours and int(folder.name) != master and int(rest[1]) != master
        return found

    def workers(self) -> list[int]:
        """The workers' pids, by slot."""
        health = self.get("/healthz")
        return [int(worker["pid"]) for worker in health["workers"]]

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 40) -> int:
        """A signal to the master; its exit code."""
        assert self.process is not None
        os.kill(self.pid, number)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """-9 to every process of it at once, those of an upgrade too. Harmless when it is gone."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def get(self, path: str) -> dict[str, Any]:
        """A page of the admin port, as JSON whatever its status."""
        return dict(json.loads(self.page(path)))

    def page(self, path: str) -> str:
        """A page of the admin port."""
        with socket.create_connection(("127.0.0.1", self.admin_port), timeout=10) as sock:
            return self._ask(sock, path)

    def queued(self) -> int:
        """Messages in all workers now, as the queue API counts them; -1 while a worker does not answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder / "run" / "admin.sock"))
            status = json.loads(self._ask(sock, "/api/v1/status"))
        return -1 if status["incomplete"] else int(status["messages"])

    def _ask(self, sock: socket.socket, path: str) -> str:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        octets = b""
        while piece := sock.recv(65536):
            octets += piece
        return octets.partition(b"\r\n\r\n")[2].decode()

    def metric(self, name: str) -> float:
        """The sum over labels of one metric, 0 when it is not there yet."""
        total = 0.0
        for line in self.page("/metrics").splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rpartition(" ")[2])
        return total

    def histogram(self, name: str) -> dict[float, float]:
        """One histogram over all workers: how many observations were at most each bound, in order of bounds."""
        counts: dict[float, float] = {}
        for line in self.page("/metrics").splitlines():
            if line.startswith(f"{name}_bucket"):
                bound = float(line.partition('le="')[2].partition('"')[0])
                counts[bound] = counts.get(bound, 0.0) + float(line.rpartition(" ")[2])
        return dict(sorted(counts.items()))

    def command(self, *words: str, seconds: float = 30) -> subprocess.CompletedProcess[bytes]:
        """`fastrelay WORDS -c CONFIG`."""
        return debian.run([*PROGRAM, *words, "-c", self.config], seconds=seconds)

    def lines(self, kind: str = "") -> Iterator[dict[str, Any]]:
        """The event lines so far, of one type or all."""
        if not self.events.exists():
            return
        for line in self.events.read_text().splitlines():
            event = json.loads(line)
            if not kind or event["type"] == kind:
                yield event

    def wait_empty(self, seconds: float = 60) -> None:
        """Until nothing is queued in any worker."""
        debian.wait_until(lambda: self.queued() == 0, seconds, "the queue to be empty")

    def wait_until_sessions(self, count: int) -> None:
        """Until so many sessions have come since the start."""
        debian.wait_until(lambda: self.metric("fastrelay_sessions_total") >= count, 30, f"{count} sessions")

    def wait_metric(self, name: str, value: float, seconds: float = 20) -> None:
        """Until a metric has come to `value`: workers write theirs once a second."""
        debian.wait_until(lambda: self.metric(name) >= value, seconds, f"{name} to be {value:g}")
        assert self.metric(name) == value
