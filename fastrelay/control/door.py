"""The socket by which requests reach a worker: runtime_dir/slot-NNN.sock, 0600, length-prefixed JSON.

The socket is made under another name and renamed, so it never stands there with a wider permission, and it replaces
what a killed worker left. It belongs to whoever holds the slot's lock: close it before letting go of the slot. At most
CONNECTIONS askers at once; one too many is hung up on.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from fastrelay.errors import MisuseError, PeerError
from fastrelay.runtime import clock, messages, tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream

CONNECTIONS = 16  # the admin process dials one per request it carries out
_PATIENCE = 60.0  # seconds for a request to arrive, and for an answer to leave


class Door:
    """Serves `answer(request)` on `path` until closed. MisuseError when it cannot listen there."""

    __slots__ = ("_answer", "_listener", "_path", "_serving")

    def __init__(self, answer: Callable[[object], object], path: Path) -> None:
        self._answer = answer
        self._path = path
        self._serving = 0
        self._listener = Listener(_listen(path), self._converse, spawn=tasks.spawn)
        self._listener.start()

    def close(self) -> None:
        """Serve no more; whoever is being answered still is."""
        self._listener.close()
        with contextlib.suppress(OSError):  # a successor may have replaced it, or the directory is gone: nothing to do
            os.unlink(self._path)

    def _converse(self, stream: Stream) -> None:
        self._serving += 1
        try:
            reader = messages.Reader(stream)
            while self._serving <= CONNECTIONS:
                stream.expire_in(_PATIENCE)
                request = reader.receive()
                if request is None:
                    return
                stream.expire_at(clock.NEVER)
                answer = self._answer(request)
                stream.expire_in(_PATIENCE)
                messages.send(stream, answer)
        except PeerError:
            return  # the asker is gone or speaks something else: there is nobody to tell
        finally:
            self._serving -= 1
            stream.close()


def _listen(path: Path) -> socket.socket:
    fresh = f"{path}.new"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        sock.bind(fresh)
        os.chmod(fresh, 0o600)
        sock.listen(CONNECTIONS)
        os.rename(fresh, path)
    except OSError as error:
        sock.close()
        raise MisuseError(f"cannot listen on {path}: {error.strerror or error}; is runtime_dir writable?") from None
    return sock
