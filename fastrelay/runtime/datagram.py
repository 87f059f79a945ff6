"""A connected UDP socket on the event loop: one question, its reply, and nothing kept.

Connecting lets the kernel drop what comes from elsewhere and report a closed port (ECONNREFUSED), and gives a fresh
random source port (Linux chooses it at random from ip_local_port_range), which with the random id is what an attacker
off the path has to guess. Five system calls a question besides the loop's own. Waits are milliseconds to seconds, so
they stand on a timer of their own, not on the deadline wheel. No select(): descriptors above 1,024 are normal.

Only one task uses a Datagram. Errors: PeerClosed (unreachable, refused), PeerTimeout, MachineShort (no descriptor).
"""

import errno
import socket
from typing import Any

import greenlet
from gevent import get_hub

from fastrelay.errors import MachineShort, PeerClosed, PeerTimeout
from fastrelay.runtime.stream import READ

MAX_DATAGRAM = 4096  # octets; what we ask for is 1,232, what is cut off fails to parse
_NOWAIT = socket.MSG_DONTWAIT
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Datagram:
    """A socket that speaks to `address` (text, either family) and `port` alone. Close it, or use `with`."""

    __slots__ = ("_late", "_reader", "_sock", "_task", "_timer")

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError as error:
            raise _told(error, address, port) from None
        self._reader: Any = None
        self._timer: Any = None
        self._task: greenlet.greenlet | None = None
        self._late = False
        try:
            self._sock.connect((address, port))
        except OSError as error:
            self._sock.close()
            raise _told(error, address, port) from None

    def __enter__(self) -> "Datagram":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        """Send one datagram. A full send buffer loses it, as the network may: the asker repeats anyway."""
        try:
            self._sock.send(octets, _NOWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise _told(error) from None

    def wait_datagram(self, seconds: float) -> bytes:
        """The next datagram from the peer; PeerTimeout after `seconds`. Waits first: nothing can be there yet."""
        loop = get_hub().loop
        if self._reader is None:
            self._reader = loop.io(self._sock.fileno(), READ)
        self._late = False
        self._timer = timer = loop.timer(max(seconds, 0.0))
        timer.start(self._expire, update=True)
        try:
            while True:
                self._wait()
                if self._late:
                    raise PeerTimeout(f"no datagram within {seconds:g} s")
                try:
                    return self._sock.recv(MAX_DATAGRAM, _NOWAIT)
                except BlockingIOError:
                    continue  # the checksum was wrong: the kernel dropped it after waking us
                except OSError as error:
                    raise _told(error) from None
        finally:
            self._timer = None
            timer.stop()
            timer.close()

    def _wait(self) -> None:
        self._task = task = greenlet.getcurrent()
        self._reader.start(task.switch)
        try:
            get_hub().switch()
        finally:
            self._task = None
            self._reader.stop()

    def _expire(self) -> None:
        task = self._task
        if task is not None:
            self._late = True
            task.switch()

    def close(self) -> None:
        """Release socket and watcher; again is harmless."""
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
            self._reader = None
        self._sock.close()


def _told(error: OSError, address: str = "", port: int = 0) -> PeerClosed | MachineShort:
    words = error.strerror or str(error)
    if error.errno in _SHORT:
        return MachineShort("System resources exhausted", code=451, enhanced="4.3.0", detail=words)
    return PeerClosed(f"{address} port {port}: {words}" if address else words)
