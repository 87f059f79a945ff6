"""The master's hatch: runtime_dir/master.sock, where commands about the house itself are handed in and answered.

A command is one line ("reload" or "upgrade"); the answer, when the matter is decided, one JSON object: {"code": an exit
code, "lines": what to tell the operator}. The socket belongs to whoever runs the master (0600), not to `server.user`:
a worker must not be able to make its master do anything. The master never waits here: sockets are polled with its own,
and a caller that does not read its answer loses it.
"""

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from fastrelay.config import Config
from fastrelay.process import sockets
from fastrelay.process.privileges import STAY

FILE: Final = "master.sock"  # in runtime_dir
WORDS: Final = ("reload", "upgrade")
CALLERS: Final = 16  # at once; one too many is hung up on
_LINE: Final = 64  # octets of a command
_MODE: Final = 0o600


class Answer(msgspec.Struct, frozen=True):
    """What the caller hears."""

    code: int
    lines: tuple[str, ...]


class Poll(Protocol):
    """select.poll, as far as it is used here."""

    def register(self, fd: int, eventmask: int, /) -> object: ...
    def unregister(self, fd: int, /) -> object: ...


class Hatch:
    """`hear(fd)` is told of each descriptor of `fds` that is readable and returns the command that came, if one did."""

    __slots__ = ("_callers", "_mask", "_poll", "_waiting", "socket")

    def __init__(self, sock: socket.socket, poll: Poll, mask: int) -> None:
        self.socket = sock
        self._poll = poll
        self._mask = mask
        self._callers: dict[int, socket.socket] = {}  # have not said what they want
        self._waiting: dict[str, list[socket.socket]] = {}
        poll.register(sock.fileno(), mask)

    @property
    def fds(self) -> list[int]:
        """All descriptors here: no child's business."""
        waiting = [one.fileno() for callers in self._waiting.values() for one in callers]
        return [self.socket.fileno(), *self._callers, *waiting]

    def owns(self, fd: int) -> bool:
        """Is a descriptor that became readable one of ours?"""
        return fd == self.socket.fileno() or fd in self._callers

    def hear(self, fd: int) -> str:
        """A caller came, or said something: the command, "" for none yet."""
        if fd == self.socket.fileno():
            self._admit()
            return ""
        caller = self._callers.pop(fd)
        self._poll.unregister(fd)
        try:
            word = caller.recv(_LINE).decode("ascii", "replace").strip()
        except OSError:
            word = ""
        if word not in WORDS:
            caller.close()
            return ""
        self._waiting.setdefault(word, []).append(caller)
        return word

    def _admit(self) -> None:
        try:
            caller, _ = self.socket.accept()
        except OSError:
            return  # gone again, or no descriptor left: it tries again
        if len(self.fds) > CALLERS:
            caller.close()
            return
        caller.setblocking(False)
        self._callers[caller.fileno()] = caller
        self._poll.register(caller.fileno(), self._mask)

    def take(self, word: str) -> list[socket.socket]:
        """All who wait for the answer to that command: to be given to `answer`."""
        return self._waiting.pop(word, [])

    def release(self) -> None:
        """Serve no more; the socket stays open for another master."""
        for fd in self._callers:
            self._poll.unregister(fd)
        for one in (*self._callers.values(), *(one for callers in self._waiting.values() for one in callers)):
            one.close()
        self._callers.clear()
        self._waiting.clear()
        with contextlib.suppress(KeyError):
            self._poll.unregister(self.socket.fileno())

    def close(self) -> None:
        """Serve no more."""
        self.release()
        self.socket.close()


def answer(callers: Sequence[socket.socket], code: int, lines: Sequence[str]) -> None:
    """Tell them, and hang up."""
    octets = msgspec.json.encode(Answer(code, tuple(lines)))
    for caller in callers:
        with contextlib.suppress(OSError):  # it went away: the log has the same lines
            caller.send(octets)
        caller.close()


def path_of(config: Config) -> Path:
    """Where the hatch of this config's master is."""
    return Path(os.path.abspath(config.server.runtime_dir)) / FILE


def listen(config: Config) -> socket.socket:
    """A new one. MachineShort or ConfigError as any listener."""
    return sockets.bind(f"unix:{path_of(config)}", STAY, key="server.runtime_dir", mode=_MODE, backlog=CALLERS)
