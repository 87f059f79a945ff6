"""The fork, and the first steps of a child: its own signals, its own user, no way back into the master's code.

Between the fork and the reset all signals are blocked, so none meant for the master is swallowed by the child and none
meant for the child runs the master's handler. A child ends by os._exit with its code, whatever happens: an error of
ours in one line with the code of its family, any other with its traceback.
"""

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Final

from fastrelay.errors import ConfigError, MachineShort, MisuseError
from fastrelay.process.announce import announce, reason
from fastrelay.process.privileges import Identity, drop

EXIT_OK: Final = 0
EXIT_USAGE: Final = 64  # sysexits.h, here and below
EXIT_SOFTWARE: Final = 70
EXIT_TEMPORARY: Final = 75
EXIT_CONFIG: Final = 78

_ENDING: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)  # may end a child before it listens
_TELLING: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)  # must not end it
HANDLED: Final = _ENDING + _TELLING  # by the master


def exit_code(error: BaseException) -> int:
    """The sysexits code an error ends a process with."""
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    if isinstance(error, MisuseError):
        return EXIT_USAGE
    if isinstance(error, MachineShort):
        return EXIT_TEMPORARY
    return EXIT_SOFTWARE


def ending(code: int) -> str:
    """How a process ended, in words: its exit code, or minus the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def spawn(identity: Identity, enter: Callable[[], None], body: Callable[[], int]) -> int:
    """Fork; the child calls `enter` (close what is not its own), becomes `identity` and runs `body`. Returns its pid.

    OSError when the machine cannot fork.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(identity, enter, body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    return pid


def _live(identity: Identity, enter: Callable[[], None], body: Callable[[], int]) -> None:
    code = EXIT_SOFTWARE
    try:
        signal.set_wakeup_fd(-1)
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        for number in (*_TELLING, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        enter()
        drop(identity)
        faulthandler.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = body()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else EXIT_SOFTWARE
    except (MisuseError, MachineShort) as error:
        code = exit_code(error)
        announce(reason(error))
    except BaseException as error:
        announce(f"a child ended with an error, please report it: {reason(error)}")
        traceback.print_exc()
    finally:
        _leave(code)


def _leave(code: int) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)
