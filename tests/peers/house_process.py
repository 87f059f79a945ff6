"""A house of toy workers as a process: tests/integration/house_program.py, its stderr read line by line."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "integration" / "house_program.py"
PATIENCE = 40.0  # seconds before a test that waits for a line gives up; on a busy machine a start takes several


class House:
    """One run of house_program.py. admin: the TCP address of [admin]; passed: a listening descriptor handed over as
    systemd does; server: keys of [server]."""

    def __init__(
        self, folder: Path, behaviour: str, *extra: str, admin: str = "127.0.0.1:0", passed: int = -1, **server: object
    ) -> None:
        self.folder = folder
        self.socket = folder / "door"
        settings = {"workers": 2, "runtime_dir": str(folder / "run"), "drain_timeout": "10s", **server}
        lines = ["[server]", *(f"{k} = {v if isinstance(v, int) else repr(v)}" for k, v in settings.items())]
        lines += ["[[listener]]", f"address = 'unix:{self.socket}'", "[spool]", f"path = '{folder / 'spool'}'"]
        lines += ["[admin]", f"address = '{admin}'"]
        config = folder / "config.toml"
        config.write_text("\n".join(lines))
        command = [sys.executable, str(PROGRAM), str(config), behaviour, *extra]
        if passed >= 0:
            script = 'exec 3<&"$0"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
            command = ["bash", "-c", script, str(passed), *command]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=[passed] if passed >= 0 else [],
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self.fd = self.process.stderr.fileno()
        self.lines: list[str] = []
        self.rest = b""

    def read(self, seconds: float) -> bool:
        """More of stderr into `lines`; False at its end."""
        poll = select.poll()  # select() takes no descriptor above 1,023, and a long run of tests may have as many
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            raise AssertionError("nothing said in time; so far:\n" + "\n".join(self.lines))
        octets = os.read(self.fd, 65536)
        *whole, self.rest = (self.rest + octets).split(b"\n")
        self.lines += [line.decode() for line in whole]
        return bool(octets)

    def expect(self, pattern: str) -> str:
        """The first line from here on that matches; those before it stay in `lines`."""
        deadline = time.monotonic() + PATIENCE
        seen = 0
        while True:
            while seen < len(self.lines):
                if re.search(pattern, self.lines[seen]):
                    line = self.lines[seen]
                    del self.lines[: seen + 1]
                    return line
                seen += 1
            if not self.read(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"ended without {pattern!r}; so far:\n" + "\n".join(self.lines))

    def ready(self) -> "House":
        self.expect(r"\]: ready: ")
        return self

    def call(self) -> tuple[socket.socket, int, int]:
        """A connection that stays: its socket, the slot and pid of the worker that took it."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.socket))
        slot, pid = sock.recv(100).split()
        return sock, int(slot), int(pid)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        while self.read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    @property
    def master(self) -> int:
        """The pid in the pid file: another one than ours after an upgrade. 0 when there is none."""
        return int((self.folder / "run" / "fastrelay.pid").read_text() or "0")

    def next_is(self, behaviour: str) -> None:
        """What the program of an upgrade shall be like."""
        (self.folder / "spool" / "behaviour").write_text(behaviour)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the programs of upgrades too
        self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()

    @property
    def admin_sock(self) -> Path:
        """Where the API is."""
        return self.folder / "run" / "admin.sock"

    def ask(self, path: str, method: str = "GET", body: object = None) -> tuple[int, Any]:
        """Status and JSON of a request on admin.sock."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(self.admin_sock))
            status, octets = exchange(sock, path, method, b"" if body is None else json.dumps(body).encode())
        return status, json.loads(octets)


def exchange(sock: socket.socket, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP request on a connection of its own; status and body of the answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall(head.encode() + body)
    answer = b""
    while piece := sock.recv(65536):
        answer += piece
    head_octets, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_octets.split(b" ")[1]), rest


@contextlib.contextmanager
def service_manager(folder: Path) -> Iterator[socket.socket]:
    """The socket a service manager hears a house on, for NOTIFY_SOCKET (its getsockname())."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(PATIENCE)
        yield manager


@contextlib.contextmanager
def houses(folder: Path) -> Iterator[Callable[..., House]]:
    """Starts houses in `folder`; all are killed at the end of the block."""
    open_ones: list[House] = []

    def start(behaviour: str = "accepting", *extra: str, **settings: Any) -> House:
        one = House(folder, behaviour, *extra, **settings)
        open_ones.append(one)
        return one

    try:
        yield start
    finally:
        for one in open_ones:
            one.close()
