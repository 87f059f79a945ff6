"""The HTTP server of the admin child: one task per connection, bounded in connections, octets and time.

At most CONNECTIONS at once on each listener. One more takes the place of the one that has been waited for longest, its
request not begun or not whole; where all are being answered it gets a 503. So connections that say nothing, however
many, keep nobody out. A head and its body must arrive
within PATIENCE, an idle connection lives for IDLE. An error of ours in a handler is a 500 for the asker and a crash
report for us; the server goes on.
"""

import socket
from collections.abc import Callable

from fastrelay.admin.http import MAX_HEAD, HttpError, Request, Response, parse_head, response_octets
from fastrelay.errors import MachineShort, PeerError
from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream

CONNECTIONS = 64  # a handful of scrapers and operators; each costs 10 KB
PATIENCE = 10.0  # seconds for a request
IDLE = 75.0  # seconds between requests; Prometheus scrapes every 15 to 60 s on one connection
ANSWER = 60.0  # seconds for the peer to take an answer

Handler = Callable[[Request, bytes], Response]


class Server:
    """Serves `handle(request, body)` on `sock` until closed. The handler may wait."""

    __slots__ = ("_connections", "_handle", "_leaving", "_listener", "_reading", "busy")

    def __init__(self, sock: socket.socket, handle: Handler) -> None:
        self._handle = handle
        self._connections = 0
        self._reading: dict[Stream, None] = {}  # those whose request is waited for, the longest first
        self._leaving: set[Stream] = set()  # those that make room
        self.busy = 0  # requests in hand
        self._listener = Listener(sock, self._converse, spawn=tasks.spawn)
        self._listener.start()

    def close(self) -> None:
        """Accept no more; connections in hand finish their request."""
        self._listener.close()

    def _converse(self, stream: Stream) -> None:
        self._connections += 1
        try:
            if self._connections - len(self._leaving) > CONNECTIONS and not self._make_room():
                stream.expire_in(PATIENCE)
                busy = HttpError(503, "too many connections, try again")
                stream.write_parts(response_octets(busy.response, keep_alive=False))
                return
            left = b""
            while (rest := self._one(stream, left)) is not None:
                left = rest
        except PeerError:
            return  # gone or too slow: nobody is there to be told
        finally:
            self._connections -= 1
            self._leaving.discard(stream)
            stream.close()

    def _make_room(self) -> bool:
        """Send away whom we wait for longest. False where all are being answered."""
        stream = next(iter(self._reading), None)
        if stream is None:
            return False
        del self._reading[stream]
        self._leaving.add(stream)
        stream.perish()
        return True

    def _one(self, stream: Stream, left: bytes) -> bytes | None:
        """One request and its answer. Returns what was read past it, None when the connection ends."""
        try:
            self._reading[stream] = None
            received = _request(stream, left)
        except HttpError as error:
            stream.write_parts(response_octets(error.response, keep_alive=False))
            return None
        finally:
            self._reading.pop(stream, None)
        if received is None:
            return None
        request, body, rest = received
        self.busy += 1
        try:
            response = self._answer(request, body)
            stream.expire_in(ANSWER)
            head_only = request.method == "HEAD"
            stream.write_parts(response_octets(response, keep_alive=request.keep_alive, head_only=head_only))
        finally:
            self.busy -= 1
        return rest if request.keep_alive and stream not in self._leaving else None

    def _answer(self, request: Request, body: bytes) -> Response:
        try:
            return self._handle(request, body)
        except HttpError as error:
            return error.response
        except MachineShort as error:
            return HttpError(503, error.text).response
        except Exception as error:
            tasks.on_crash(f"admin {request.method} {request.path[:100]}", error)
            return HttpError(500, "internal error, see the relay's log").response


def _request(stream: Stream, octets: bytes) -> tuple[Request, bytes, bytes] | None:
    """Request, its body, and what came behind it. None when the peer closed between two requests."""
    stream.expire_in(PATIENCE if octets else IDLE)
    while (end := octets.find(b"\r\n\r\n")) < 0:
        if len(octets) > MAX_HEAD:
            raise HttpError(431, f"at most {MAX_HEAD} octets of header")
        piece = stream.read()
        if not piece:
            return None
        if not octets:
            stream.expire_in(PATIENCE)
        octets += piece
    if end > MAX_HEAD:
        raise HttpError(431, f"at most {MAX_HEAD} octets of header")
    request = parse_head(octets[:end])
    body = octets[end + 4 :]
    while len(body) < request.length:
        piece = stream.read()
        if not piece:
            return None
        body += piece
    return request, body[: request.length], body[request.length :]
