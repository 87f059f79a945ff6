"""The generator and the sink: Postfix's smtp-source and smtp-sink, C programs of a third party, the same for all.

smtp-source ends with an error at the first reply it does not like, so its exit code 0 says that every message was
accepted. smtp-sink -c rewrites "sess=N quit=N mesg=N" at each event; the file it goes to is how arrivals are counted.
"""

import os
import socket
import time
from pathlib import Path

from bench.processes import Broken, Program
from bench.scenario import Scenario
from tests.peers import debian

SINK_USER = "nobody"
PATIENCE = 60.0  # seconds without a new arrival, then the rest is given up as lost


def find(name: str) -> Path:
    """A Debian program; Broken when it is nowhere."""
    path = debian.find(name)
    if path is None:
        raise Broken(f"{name} is missing: run .ci/peers")
    return path


class Sink:
    """smtp-sink on `port`; what it counted since it started."""

    def __init__(self, folder: Path) -> None:
        self.port = debian.free_port()
        user = ["-u", SINK_USER] if debian.is_root() else []
        command: list[str | Path] = [find("smtp-sink"), *user, "-c", "-m", "2000", f"127.0.0.1:{self.port}", "1024"]
        self.program = Program(command, folder / "sink", debian.environment(), only_out=True)
        self._file = os.open(folder / "sink", os.O_RDONLY)
        try:
            wait_greeting(self.port, self.program)
        except Broken:
            self.close()
            raise

    def arrived(self) -> int:
        """Messages taken so far."""
        size = os.fstat(self._file).st_size
        shown = os.pread(self._file, 256, max(0, size - 256)).rpartition(b"\r")[0].rpartition(b"mesg=")[2]
        return int(shown) if shown else 0

    def wait_arrived(self, count: int, relay: Program | None) -> float:
        """Wait for message number `count`; the monotonic instant it was seen (looked for every 5 ms)."""
        seen, latest = -1, 0.0
        while (arrived := self.arrived()) < count:
            now = time.monotonic()
            if arrived > seen:
                seen, latest = arrived, now + PATIENCE
            elif now > latest:
                raise Broken(
                    f"{count - arrived} of {count} messages have not arrived and nothing came for {PATIENCE:.0f} s"
                )
            if relay is not None:
                relay.check_alive()
            time.sleep(0.005)
        return time.monotonic()

    def close(self) -> None:
        """End it."""
        self.program.end()
        os.close(self._file)


def source(scenario: Scenario, messages: int, port: int, folder: Path) -> Program:
    """Start smtp-source: `messages` of them to `port`, as the scenario says."""
    kept_open = ["-d"] if scenario.kept_open else []
    command: list[str | Path] = [
        find("smtp-source"), *kept_open, "-s", str(scenario.sessions), "-m", str(messages), "-l", str(scenario.size),
        "-M", "source.invalid", "-f", "sender@example.com", "-t", "recipient@example.net", f"127.0.0.1:{port}",
    ]  # fmt: skip
    return Program(command, folder / "source", debian.environment())


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
