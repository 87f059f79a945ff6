"""The generator and the sink: Postfix's smtp-source and smtp-sink, C programs of a third party, the same for all.

smtp-source ends with an error at the first reply it does not like, so its exit code 0 says that every message was
accepted. smtp-sink -c rewrites "sess=N quit=N mesg=N" at each event; the file it goes to is how arrivals are counted.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from bench.measure import wait_greeting
from bench.processes import Broken, Program
from tests.peers import debian

SINK_USER = "nobody"
PATIENCE = 60.0  # seconds without a new arrival, then the rest is given up as lost


def find(name: str) -> Path:
    """A Debian program; Broken when it is nowhere."""
    path = debian.find(name)
    if path is None:
        raise Broken(f"{name} is missing: run .ci/peers")
    return path


def wait_count(arrived: Callable[[], int], count: int, relay: Program | None, *, every: float) -> float:
    """Wait until `arrived()` is `count`, looking `every` so many seconds; the monotonic instant it was seen."""
    seen, latest = -1, 0.0
    while (now_there := arrived()) < count:
        now = time.monotonic()
        if now_there > seen:
            seen, latest = now_there, now + PATIENCE
        elif now > latest:
            raise Broken(
                f"{count - now_there} of {count} messages have not arrived and nothing came for {PATIENCE:.0f} s"
            )
        if relay is not None:
            relay.check_alive()
        time.sleep(every)
    return time.monotonic()


class Sink:
    """smtp-sink on `port` of 127.0.0.1, or of every address; what it counted since it started."""

    def __init__(self, folder: Path, *, everywhere: bool = False) -> None:
        self.port = debian.free_port()
        host = "" if everywhere else "127.0.0.1"
        user = ["-u", SINK_USER] if debian.is_root() else []
        command: list[str | Path] = [find("smtp-sink"), *user, "-c", "-m", "2000", f"{host}:{self.port}", "1024"]
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
        return wait_count(self.arrived, count, relay, every=0.005)

    def close(self) -> None:
        """End it."""
        self.program.end()
        os.close(self._file)


def source(
    port: int, folder: Path, *, messages: int, size: int, sessions: int, recipients: int = 1, kept_open: bool = False
) -> Program:
    """Start smtp-source: `messages` to `port` of 127.0.0.1, `recipients` of one domain each."""
    options = [*(["-d"] if kept_open else []), *(["-r", str(recipients)] if recipients > 1 else [])]
    command: list[str | Path] = [
        find("smtp-source"), *options, "-s", str(min(sessions, messages)), "-m", str(messages), "-l", str(size),
        "-M", "source.invalid", "-f", "sender@example.com", "-t", "recipient@example.net", f"127.0.0.1:{port}",
    ]  # fmt: skip
    return Program(command, folder / f"source-{size}", debian.environment())
