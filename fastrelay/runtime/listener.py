"""A listening socket on the event loop: several accepts per wake-up, a pause that leaves connections to siblings.

The socket is shared with the other workers of the house (opened before the fork), so a wake-up may find nothing: no
error. At descriptor exhaustion accepting rests for a second instead of spinning (EMFILE stays readable).
"""

import errno
import socket
from collections.abc import Callable

from gevent import get_hub

from fastrelay.runtime.stream import READ, Stream

_REST = 1.0  # seconds without accepting after EMFILE/ENFILE/ENOBUFS/ENOMEM
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Accepts on `sock` and hands each connection to `serve(stream)` in a task of its own.

    `spawn` starts that task; `on_short(errno)` hears of exhausted descriptors. max_accept: connections taken per
    wake-up (4, measured: more lets one worker drain the queue while siblings sleep).
    """

    def __init__(
        self,
        sock: socket.socket,
        serve: Callable[[Stream], object],
        *,
        spawn: Callable[..., object],
        max_accept: int = 4,
        on_short: Callable[[int], object] = lambda code: None,
    ) -> None:
        self._sock = sock
        self._serve = serve
        self._spawn = spawn
        self._max_accept = max_accept
        self._on_short = on_short
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        self._family, self._type, self._proto = sock.family, sock.type & ~socket.SOCK_NONBLOCK, sock.proto
        loop = get_hub().loop
        self._watcher = loop.io(sock.fileno(), READ)
        self._rest = loop.timer(_REST)
        self.accepting = False
        self._open = True

    def start(self) -> None:
        """Accept from now on. Harmless when already accepting."""
        if self._open and not self.accepting:
            self.accepting = True
            self._rest.stop()
            self._watcher.start(self._ready)

    def pause(self) -> None:
        """Leave new connections to the siblings until `start`."""
        if self.accepting:
            self.accepting = False
            self._rest.stop()
            self._watcher.stop()

    def close(self) -> None:
        """Stop for good and close this process's descriptor; the siblings' stay."""
        if self._open:
            self.pause()
            self._open = False
            self._watcher.close()
            self._rest.close()
            self._sock.close()

    def _ready(self) -> None:
        accept = self._sock._accept  # type: ignore[attr-defined]
        for _ in range(self._max_accept):
            if not self.accepting:
                return
            try:
                fd, name = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._watcher.stop()
                    self._rest.start(self._rested, update=True)
                    self._on_short(error.errno)
                    return
                continue  # ECONNABORTED and kin: that peer is gone, the next may not be
            sock = socket.SocketType(self._family, self._type, self._proto, fd)
            self._spawn(self._serve, Stream(sock, (name[0], name[1]) if isinstance(name, tuple) else ("unix", 0)))

    def _rested(self) -> None:
        if self.accepting:
            self._watcher.start(self._ready)
