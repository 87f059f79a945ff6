"""Several processes that do the same job: forked here, told words, heard through a socket pair each.

The parent keeps no event loop and starts no thread before the fork. A child runs `body(wire)` and exits when it
returns; it ignores Ctrl-C (the parent decides and tells it) and is told "stop" when the parent is gone. Messages are
JSON lines. A child that ends with an error ends the crew with Impossible; its own words are on stderr.
"""

import gc
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fastrelay.errors import FastrelayError, Impossible
from fastrelay.runtime import tasks

STOP = "stop"
_READ = 256 * 1024
_GC = 50_000  # objects between two collections: at the default of 700 they took 4 % of a generator's time


class Wire:
    """A child's end. `say` sends a message to the parent; `listen` calls back with each word the parent tells."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""
        self._watch: tasks.DescriptorWatch | None = None

    def say(self, message: Any) -> None:
        """Blocks until the parent has taken it: it always reads."""
        self._sock.sendall(msgspec.json.encode(message) + b"\n")

    def listen(self, hear: Callable[[str], object]) -> None:
        """From now on, on the loop. "stop" also when the parent has ended."""
        self._watch = tasks.DescriptorWatch(self._sock.fileno(), lambda: self._ready(hear))

    def _ready(self, hear: Callable[[str], object]) -> None:
        octets = self._sock.recv(4096)
        if not octets:
            assert self._watch is not None
            self._watch.close()
            hear(STOP)
            return
        *words, self._pending = (self._pending + octets).split(b"\n")
        for word in words:
            hear(word.decode())


class Crew:
    """`count` children running `body(number, wire)`. A context manager: at its end every child is gone."""

    def __init__(self, count: int, body: Callable[[int, Wire], object]) -> None:
        self._selector = selectors.DefaultSelector()
        self._pending: dict[int, list[bytes]] = {}
        self._ends: dict[int, socket.socket] = {}
        self._children: dict[int, int] = {}
        sys.stdout.flush()
        sys.stderr.flush()
        for number in range(count):
            here, there = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                here.close()
                for sock in self._ends.values():
                    sock.close()
                _child(number, Wire(there), body)
            there.close()
            self._children[number] = pid
            self._ends[number] = here
            self._pending[number] = []
            self._selector.register(here, selectors.EVENT_READ, number)
        self._handlers: dict[signal.Signals, Any] = {}
        self._bell, ring = socket.socketpair()
        ring.setblocking(False)
        self._bell.setblocking(False)
        self._ring = ring
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *exc: object) -> None:
        self.tell(STOP)
        if self._handlers:
            signal.set_wakeup_fd(-1)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        for sock in (*self._ends.values(), self._bell, self._ring):
            sock.close()
        self._ends.clear()
        self._selector.close()
        for pid in self._children.values():
            os.waitpid(pid, 0)

    def on_signals(self, *numbers: signal.Signals) -> list[int]:
        """From now on these only end a wait of `hear`; their numbers are appended to the list that is returned."""
        came: list[int] = []
        signal.set_wakeup_fd(self._ring.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            self._handlers[number] = signal.signal(number, lambda caught, frame: came.append(caught))
        return came

    def tell(self, word: str) -> None:
        """Say a word to every child that is still there."""
        for sock in self._ends.values():
            try:
                sock.sendall(word.encode() + b"\n")
            except BrokenPipeError:
                continue  # it has ended; `hear` reports how

    def hear(self) -> Iterator[tuple[int, Any]]:
        """Waits; messages that have come, as (child, message): none after a signal.

        Impossible when a child ended with an error.
        """
        for key, _ in self._selector.select():
            if key.data is None:
                self._bell.recv(4096)
                continue
            octets = self._ends[key.data].recv(_READ)
            if not octets:
                self._gone(key.data)
                continue
            pending = self._pending[key.data]
            pending.append(octets)
            if b"\n" not in octets:  # of a long message: joined once, when its end has come
                continue
            *lines, rest = b"".join(pending).split(b"\n")
            self._pending[key.data] = [rest]
            for line in lines:
                yield key.data, msgspec.json.decode(line)

    @property
    def working(self) -> int:
        """Children that have not ended."""
        return len(self._ends)

    def _gone(self, number: int) -> None:
        self._selector.unregister(self._ends[number])
        self._ends.pop(number).close()
        _, status = os.waitpid(self._children.pop(number), 0)
        if status:
            raise Impossible(f"process {number} ended with {os.waitstatus_to_exitcode(status)}: see the lines above")


def _crashed(name: str, error: BaseException) -> None:
    """A task ended with an error: figures without its work would lie, so the process ends with it."""
    sys.stderr.write(f"task {name} ended with an error, please report it:\n")
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)


def _child(number: int, wire: Wire, body: Callable[[int, Wire], object]) -> None:
    """Runs in the child and never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        tasks.on_crash = _crashed
        gc.freeze()
        gc.set_threshold(_GC)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every session is a descriptor
        body(number, wire)
        code = 0
    except FastrelayError as error:
        sys.stderr.write(f"{error}\n")
    except ConnectionError:
        pass  # the parent has ended: nobody wants to know
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
