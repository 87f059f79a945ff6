"""Runs a program and waits for all that descends from it: `python bench/reaper.py COMMAND...`.

Processes that outlive their parent (Exim's deliveries do) would go to init, and their CPU time with them. Here they
come to this process (PR_SET_CHILD_SUBREAPER), so that it is found in its "waited for" fields of /proc/PID/stat, and
none is left when the family is ended. TERM is passed to the program; the end is that of the last descendant.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


def main() -> int:
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        sys.stderr.write("reaper: the kernel does not let us\n")
        return 1
    program = subprocess.Popen(sys.argv[1:])

    def stop(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    code = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == program.pid:
            code = max(0, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    sys.exit(main())
