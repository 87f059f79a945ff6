"""What the service manager hears: sd_notify(3) datagrams, without a library. Silent where nobody asked.

Nothing here fails: a lost notice must not stop a relay. READY comes when all workers are ready, STOPPING at the first
TERM, WATCHDOG from the master's own loop at half the interval asked for.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

_STATUS_LIMIT: Final = 200  # octets of a status line; systemd shows one line


class Notifier:
    """Speaks to NOTIFY_SOCKET of the environment, and takes the variables out of it: children must not speak."""

    __slots__ = ("_address", "_socket", "environment", "watchdog_interval")

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        usec = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        self.environment = {"NOTIFY_SOCKET": address} if address else {}  # for the next master
        if usec:
            self.environment["WATCHDOG_USEC"] = usec
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        meant_for_us = not pid or pid == str(os.getpid())
        self.watchdog_interval = int(usec) / 2e6 if usec.isdigit() and int(usec) and meant_for_us else 0.0

    def ready(self, status: str) -> None:
        """All workers accept."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={_one_line(status)}")

    def main_pid(self, pid: int) -> None:
        """That process is the master from now on. Only the master there was may say so (NotifyAccess=main)."""
        self._send(f"MAINPID={pid}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={_one_line(text)}")

    def stopping(self) -> None:
        """No new mail from now on."""
        self._send("STOPPING=1\nSTATUS=draining")

    def alive(self) -> None:
        """The watchdog's beat; at least every `watchdog_interval` seconds where that is not 0."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors a child has to close: not its to speak."""
        return () if self._socket is None else (self._socket.fileno(),)

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_STATUS_LIMIT]
