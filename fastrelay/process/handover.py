"""What one master gives to the next over an exec: descriptors, named in one environment variable.

The new program finds there: the listening sockets by configured address (those of the admin child and of the hatch
too), the locks of the premises, the shared page, the ledger with its eventfds, and a link to the old master (a
SOCK_SEQPACKET pair):

    new -> old   ready    every worker of mine accepts
    old -> new   yours    from now on you are the master; mine drain
    new -> old   stop     I was told to stop: drain, and do not take the house back
    end of file           the other master is gone. Whoever sees it is the master.

So whichever of them is killed, at whatever moment, the one that is left serves. MisuseError: not a handover of ours, or
another format: the new program ends, nothing has changed.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Literal

import msgspec

from fastrelay.errors import MisuseError

VARIABLE: Final = "FASTRELAY_HANDOVER"
VERSION: Final = 1
Word = Literal["ready", "yours", "stop"]


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors by number. sockets: by the address they were configured with. files: addresses whose socket files are
    ours to remove. locks: of the premises, in their order. suspects: idents to hold."""

    version: int = VERSION
    master: int
    spool: str
    runtime_dir: str
    locks: tuple[int, ...]
    page: int
    ledger: int
    eventfds: tuple[int, ...]
    sockets: dict[str, int]
    files: tuple[str, ...]
    link: int
    suspects: tuple[bytes, ...] = ()

    @property
    def fds(self) -> list[int]:
        """All of them."""
        return [*self.locks, self.page, self.ledger, *self.eventfds, *self.sockets.values(), self.link]

    def text(self) -> str:
        """For VARIABLE."""
        return msgspec.json.encode(self).decode()


def received(environment: MutableMapping[str, str]) -> Handover | None:
    """What an old master handed to this process, taken out of `environment`; None for an ordinary start."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    try:
        handover = msgspec.json.decode(text, type=Handover)
        for fd in handover.fds:
            os.set_inheritable(fd, False)
    except (msgspec.MsgspecError, OSError) as error:
        raise MisuseError(f"what {VARIABLE} names cannot be taken over: {error}; stop, then start") from None
    if handover.version != VERSION:
        raise MisuseError(f"handover of format {handover.version}, this program speaks {VERSION}: stop, then start")
    return handover


class Link:
    """Our end of the link. `heard` never waits."""

    __slots__ = ("socket",)

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def say(self, word: Word) -> None:
        """To the other master, if it is still there."""
        with contextlib.suppress(OSError):
            self.socket.send(word.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def heard(self) -> str | None:
        """A word, "" for nothing new, None when the other master is gone."""
        try:
            octets = self.socket.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return ""
        except OSError:
            return None
        return octets.decode("ascii", "replace") if octets else None

    def fileno(self) -> int:
        """For a poll."""
        return self.socket.fileno()

    def close(self) -> None:
        """Nothing more to say."""
        self.socket.close()
