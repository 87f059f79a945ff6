"""JSON messages on a stream between our own processes: four octets of length (big-endian), then that many of JSON.

Only for local sockets whose file permission says who may speak. Either side may send at most MAX octets in one message;
a longer or unreadable one raises PeerError, and the caller hangs up.
"""

from typing import Any

import msgspec

from fastrelay.errors import PeerClosed, PeerError
from fastrelay.runtime.stream import Stream

MAX = 8 * 1024 * 1024  # a page of 1,000 queue rows with long addresses is under 2 MiB

_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder().decode


def send(stream: Stream, value: object) -> None:
    """Send one message; waits while the peer is slow. PeerError when it would be too long."""
    octets = _encode(value)
    if len(octets) > MAX:
        raise PeerError(f"a message of {len(octets)} octets is more than {MAX}")
    stream.write_parts([len(octets).to_bytes(4, "big"), octets])


class Reader:
    """The messages a stream brings, in order."""

    __slots__ = ("_left", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = b""

    def receive(self) -> Any:
        """The next message; None when the peer closed between two. PeerClosed when it closed inside one."""
        head = self._octets(4, at_start=True)
        if not head:
            return None
        size = int.from_bytes(head, "big")
        if size > MAX:
            raise PeerError(f"a message of {size} octets was announced, more than {MAX}")
        try:
            return _decode(self._octets(size, at_start=False))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PeerError(f"not JSON: {error}") from None

    def _octets(self, count: int, *, at_start: bool) -> bytes:
        pieces, have = [self._left], len(self._left)
        while have < count:
            piece = self._stream.read()
            if not piece:
                if at_start and not have:
                    return b""
                raise PeerClosed("closed in the middle of a message")
            pieces.append(piece)
            have += len(piece)
        octets = b"".join(pieces)
        self._left = octets[count:]
        return octets[:count]
