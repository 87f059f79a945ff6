"""Runs a program that sees another name server: `python bench/rivals/with_resolver.py ADDRESS COMMAND...`.

For rivals that ask where /etc/resolv.conf says, at port 53, and nowhere else. In a mount namespace of its own, a file
with the one name server lies over /etc/resolv.conf; nobody else on the machine sees it. Needs root.
"""

import ctypes
import os
import sys
import tempfile

_NEW_NAMESPACE = 0x20000  # CLONE_NEWNS, linux/sched.h
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18  # MS_BIND, MS_REC, MS_PRIVATE, linux/mount.h


def main() -> None:
    address, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"nameserver {address}\n")
        file.flush()
        os.chmod(file.name, 0o644)
        done = [
            libc.unshare(_NEW_NAMESPACE),
            libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None),
            libc.mount(file.name.encode(), b"/etc/resolv.conf", None, _BIND, None),
        ]
        if any(done):
            sys.exit(f"with_resolver: {os.strerror(ctypes.get_errno())}: it needs root")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
