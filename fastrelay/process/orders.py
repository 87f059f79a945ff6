"""What master and worker say to each other over the socketpair of a seat, one datagram each.

    master -> worker   prepare N   with the new configuration and every listening socket of it, as descriptors
                       swap N      what was prepared is in force from now on
                       forget N    it is not, and never will be
                       retire      you will be told to drain, and siblings go on accepting: let short sessions end
    worker -> master   prepared N, swapped N, refused N why; and "ready", once (seat.py)

The configuration travels in a memfd, so no buffer bounds it. Nothing here waits: a datagram that does not fit is an
OSError for the master, which takes it for a worker that does not answer.
"""

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from fastrelay.config import Config

MOST_LISTENERS: Final = 250  # SCM_MAX_FD of Linux is 253, and the configuration takes one
_OCTETS: Final = 4096
_ANSWER: Final = 1000  # octets of a reason
_INT: Final = array.array("i").itemsize


class Order(NamedTuple):
    """One datagram. serial: which reload, 0 for none. text: why, of a refusal. config, sockets: of `prepare`."""

    word: str
    serial: int = 0
    text: str = ""
    config: Config | None = None
    sockets: Sequence[socket.socket] = ()


def sealed(config: Config) -> int:
    """A descriptor that holds the configuration, the same for every worker."""
    fd = os.memfd_create("fastrelay-config", os.MFD_CLOEXEC)
    with contextlib.ExitStack() as failing:
        failing.callback(os.close, fd)
        octets = msgspec.msgpack.encode(config)
        while octets:
            octets = octets[os.write(fd, octets) :]
        failing.pop_all()
    return fd


def send(control: socket.socket, word: str, serial: int = 0, text: str = "", fds: Sequence[int] = ()) -> None:
    """One order or answer. OSError when it cannot go now."""
    words = f"{word} {serial} {text}".encode("utf-8", "replace")[:_ANSWER]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    control.sendmsg([words], rights, socket.MSG_DONTWAIT)


def receive(control: socket.socket) -> Order | None:
    """The next datagram, None at the end of the other side. BlockingIOError when there is none."""
    octets, rights, _, _ = control.recvmsg(
        _OCTETS, socket.CMSG_SPACE((MOST_LISTENERS + 1) * _INT), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    if not octets:
        return None
    word, _, rest = octets.decode("utf-8", "replace").partition(" ")
    number, _, text = rest.partition(" ")
    serial = int(number) if number.isdigit() else 0
    if not fds:
        return Order(word, serial, text)
    config = _unsealed(fds[0])
    return Order(word, serial, text, config, [socket.socket(fileno=fd) for fd in fds[1:]])


def _unsealed(fd: int) -> Config:
    try:
        return msgspec.msgpack.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=Config)
    finally:
        os.close(fd)
