"""The old master's side of an upgrade: fork and exec the new program, wait for it to be ready, hand the house over.

    STARTING   the new program starts workers beside ours; both accept
    HANDED     it is the master; our workers drain, we end with the last of them

Until HANDED nothing has changed: a new program that ends, or is not ready in time, is told of in one line. After it,
the end of the new master before ours gives the house back (handover.py).

What is run: the program this process was started as. A script is run by the first line it has now, so a new Python
comes with it; else the interpreter under the name it was started by. Both may lead through a symbolic link that has
been moved to another version.
"""

import enum
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from fastrelay.errors import MachineShort, MisuseError
from fastrelay.process.handover import VARIABLE, Handover, Link

LAST_BREATH: Final = 1.0  # seconds from the end of the link to that of the process; it takes milliseconds
PATIENCE: Final = 60.0  # seconds until every worker of the new program must be ready


class Phase(enum.Enum):
    """Where it is."""

    STARTING = "starting"
    HANDED = "handed"


def command(words: Sequence[str], executable: str) -> list[str]:
    """What to run, given how this process was started (sys.orig_argv)."""
    if len(words) > 1 and not words[1].startswith("-") and os.path.isfile(words[1]) and os.access(words[1], os.X_OK):
        return list(words[1:])
    return [executable, *words[1:]]


class Upgrade:
    """One under way. pid: of the new master."""

    __slots__ = ("deadline", "link", "phase", "pid")

    def __init__(self, handover: Handover, ours: socket.socket, extra: Mapping[str, str], now: float, patience: float):
        self.link = Link(ours)
        self.phase = Phase.STARTING
        self.deadline = now + patience
        words = command(sys.orig_argv, sys.executable)
        environment = {**os.environ, **extra, VARIABLE: handover.text()}
        try:
            self.pid = _run(words, environment, handover.fds)
        except OSError as error:
            raise MachineShort(f"cannot start the new program: {error.strerror}") from None

    def kill(self) -> None:
        """It takes too long, or the house ends. Its workers see the end of its life pipe, and stop in order."""
        os.kill(self.pid, signal.SIGKILL)


def end(pid: int) -> int:
    """How that child ended: an exit code, or minus the signal. It is about to; one that only hung up is killed."""
    deadline = time.monotonic() + LAST_BREATH
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def may_begin(pid: int) -> None:
    """MisuseError where an upgrade cannot work at all."""
    if pid == 1:
        raise MisuseError("no upgrade as process 1: with its end the container would end; start a new container")


def _run(words: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]) -> int:
    """Fork and exec. The child has default signals, none blocked, and `fds` beside 0, 1 and 2."""
    sys.stdout.flush()
    sys.stderr.flush()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                    if number < signal.SIGRTMIN:
                        signal.signal(number, signal.SIG_DFL)
                for fd in fds:
                    os.set_inheritable(fd, True)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                os.execve(words[0], list(words), environment)
            except BaseException as error:
                os.write(2, f"fastrelay: cannot run {words[0]}: {error}\n".encode("utf-8", "replace"))
            finally:
                os._exit(127)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    return pid
