"""A stream that lets somebody listen: the same face, every octet shown on its way. Used only while a trace runs.

What is sent and received is seen as the protocol sees it, inside TLS. Everything else goes to the stream behind.
"""

import ssl
from collections.abc import Callable, Sequence
from typing import Any

from fastrelay.runtime.stream import Stream


class Tapped:
    """sent, received: called with the octets. note(text): something that is no octet, as a handshake or the end."""

    __slots__ = ("_note", "_received", "_sent", "_stream")

    def __init__(
        self,
        stream: Stream,
        *,
        sent: Callable[[bytes | memoryview], None],
        received: Callable[[bytes], None],
        note: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._sent = sent
        self._received = received
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def deadline(self) -> float:
        """As that of the stream behind."""
        return self._stream.deadline

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._stream.deadline = at

    def read(self) -> bytes:
        """As Stream."""
        return self._shown(self._stream.read())

    def read_waiting_first(self) -> bytes:
        """As Stream."""
        return self._shown(self._stream.read_waiting_first())

    def _shown(self, octets: bytes) -> bytes:
        if octets:
            self._received(octets)
        else:
            self._note("closed by the peer")
        return octets

    def write(self, data: bytes) -> None:
        """As Stream."""
        self._sent(data)
        self._stream.write(data)

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """As Stream."""
        for part in parts:
            self._sent(part)
        self._stream.write_parts(parts)

    def write_nowait(self, data: bytes) -> bool:
        """As Stream."""
        self._sent(data)
        return self._stream.write_nowait(data)

    def start_tls(self, context: ssl.SSLContext, **how: Any) -> None:
        """As Stream."""
        self._stream.start_tls(context, **how)
        layer = self._stream.tls
        self._note(f"TLS: {(layer.version() if layer is not None else None) or 'begun'}")

    def close(self) -> None:
        """As Stream."""
        if not self._stream.closed:
            self._note("closed")
        self._stream.close()
