"""Commands of fastrelay as processes: `fastrelay sink` on a free port, `fastrelay bench` to its end, any other."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers import debian


def command(name: str, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "fastrelay.cli.main", name, *map(str, words)]


def bench(to: int, *words: str | Path) -> tuple[int, dict[str, Any]]:
    """`fastrelay bench` at a port of this machine, to its end: exit code and result."""
    done = subprocess.run(
        command("bench", "--to", f"127.0.0.1:{to}", "--json", *words), capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


class SinkProcess:
    """`fastrelay sink --json` on a free port."""

    def __init__(self, *words: str | Path) -> None:
        self.port = debian.free_port()
        self._process = subprocess.Popen(
            command("sink", "--listen", f"127.0.0.1:{self.port}", "--json", *words),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stderr is not None and self._process.stdout is not None
        assert "listening" in self._process.stderr.readline()

    def so_far(self) -> dict[str, Any]:
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def stop(self, code: int = 0) -> dict[str, Any]:
        out, err = "", ""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=20)
        assert self._process.returncode == code, err
        return dict(json.loads(out.splitlines()[-1]))

    def kill(self) -> None:
        """Gone, whatever it was doing; harmless when it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
