"""fastrelay's own generator and sink as programs, where smtp-source and smtp-sink cannot do what a scenario wants:
loads at a rate, many domains, latencies, a share of refusals, slowness."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from bench import tools
from bench.measure import wait_greeting
from bench.processes import Broken, Program
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[1]
_FASTRELAY = (sys.executable, "-m", "fastrelay.cli.main")
_LOOK = 0.1  # seconds between two questions to a sink: each costs it a merge of its processes' counts
QUANTILES = ("p50", "p90", "p99", "p999", "max")


def _environment() -> dict[str, str]:
    return debian.environment(PYTHONPATH=str(ROOT))


class Load:
    """`fastrelay bench` under way against `port`; `wait` gives its JSON, which has to say that all was accepted."""

    def __init__(self, folder: Path, port: int, *words: str | int | float | Path) -> None:
        self.program = Program(
            [*_FASTRELAY, "bench", "--to", f"127.0.0.1:{port}", "--json", *map(str, words)], folder / "load",
            _environment(), only_out=True,
        )  # fmt: skip

    def wait(self, seconds: float) -> dict[str, Any]:
        """Wait for its end; its JSON, and `cpu_seconds` beside it."""
        try:
            cpu = self.program.wait(seconds)
        finally:
            self.program.end()
        found: dict[str, Any] = json.loads(self.program.output.read_bytes().splitlines()[-1])
        return found | {"cpu_seconds": cpu}

    def end(self) -> None:
        """Harmless when it has ended."""
        self.program.end()


class Sink:
    """`fastrelay sink` on `port`, one process; `words` make it misbehave."""

    def __init__(self, folder: Path, *words: str, name: str = "our-sink") -> None:
        self.port = debian.free_port()
        command = [*_FASTRELAY, "sink", "--listen", f"127.0.0.1:{self.port}", "--json", *words]
        self.program = Program(command, folder / name, _environment(), only_out=True)
        self._seen = 0
        try:
            wait_greeting(self.port, self.program)
        except Broken:
            self.close()
            raise

    def look(self) -> dict[str, Any]:
        """What it counted so far."""
        self.program.signal(signal.SIGUSR1)
        latest = time.monotonic() + 30
        while True:
            lines = self.program.output.read_bytes().split(b"\n")[:-1]
            if len(lines) > self._seen:
                self._seen = len(lines)
                found: dict[str, Any] = json.loads(lines[-1])
                return found
            self.program.check_alive()
            if time.monotonic() > latest:
                raise Broken("the sink does not tell what it counted")
            time.sleep(0.002)

    def arrived(self) -> int:
        """Messages taken so far."""
        return int(self.look()["messages"])

    def wait_arrived(self, count: int, relay: Program | None) -> float:
        """Wait for message number `count`; the monotonic instant it was seen (looked for ten times a second)."""
        return tools.wait_count(self.arrived, count, relay, every=_LOOK)

    def close(self) -> None:
        """End it."""
        self.program.end()


def milliseconds(shown: dict[str, float]) -> dict[str, float]:
    """The quantiles of one of the tools' latency objects."""
    return {name: float(shown[name]) for name in QUANTILES if name in shown}
