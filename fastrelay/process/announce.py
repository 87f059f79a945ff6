"""The master's own words: one line to stderr, where the service manager's journal or the terminal has it.

No buffer, no thread, no lock: the master has neither, and a line must be out before a fork or an end.
"""

import contextlib
import os

from fastrelay.errors import FastrelayError

_LIMIT = 4000  # octets: a pipe takes up to 4,096 whole


def announce(text: str) -> None:
    """`fastrelay[pid]: text` on stderr. Control characters are blanked; a stderr that is gone loses the line."""
    line = "".join(c if c.isprintable() else " " for c in text)
    octets = f"fastrelay[{os.getpid()}]: {line}".encode("utf-8", "replace")[:_LIMIT] + b"\n"
    with contextlib.suppress(OSError):
        os.write(2, octets)


def reason(error: BaseException) -> str:
    """An error in one line: ours speak for themselves, others need their name."""
    return str(error) if isinstance(error, FastrelayError) else f"{type(error).__name__}: {error}"
