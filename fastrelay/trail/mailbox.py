"""Heads of the messages in a stream of octets: one message, or an mbox of many. Bodies are read past, not kept.

An mbox (RFC 4155) begins with a line "From "; a further message begins with such a line behind an empty one. At most
MAX_HEADER octets of each head are kept, and MAX_LINE of each line.
"""

from collections.abc import Iterator
from typing import BinaryIO

from fastrelay.mail.headers import MAX_HEADER

MAX_LINE = 64 * 1024  # octets read at a time where lines have no end


def heads(stream: BinaryIO) -> Iterator[bytes]:
    """The header section of each message, its empty line left out; of an empty stream one empty head."""
    kept: list[bytes] = []
    size = 0
    in_head, empty, box, first = True, False, False, True
    while line := stream.readline(MAX_LINE):
        if line.startswith(b"From ") and (first or (box and empty)):
            if not first:
                yield b"".join(kept)
            kept, size, in_head, box, empty, first = [], 0, True, True, False, False
            continue
        first = False
        empty = line in (b"\n", b"\r\n")
        if in_head and empty:
            in_head = not kept
        elif in_head and size < MAX_HEADER:
            kept.append(line)
            size += len(line)
    yield b"".join(kept)
