"""A control group of our own that counts the CPU time of everything in it, for programs /proc cannot be asked about.

A process whose parent ignores SIGCHLD is waited for by nobody, so its CPU time is in no "waited for" field: Exim's
deliveries are such. The kernel counts for a group whatever becomes of its members. Needs root and the cpuacct
controller (version 1) or version 2 mounted; `make` gives None without.
"""

import contextlib
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class Group:
    """One group. `join` is for the process itself; its children are then born into it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, name: str) -> "Group | None":
        """A new group; None where the kernel or our rights do not give one."""
        for parent, file in ((_ROOT / "cpuacct", "cpuacct.usage"), (_ROOT, "cpu.stat")):
            path = parent / name
            try:
                path.mkdir()
            except OSError:
                continue
            if (path / file).exists():
                return cls(path)
            path.rmdir()
        return None

    def join(self) -> None:
        """Put the calling process in."""
        (self.path / "cgroup.procs").write_text(f"{os.getpid()}\n")

    def cpu(self) -> float:
        """Seconds of user and system time of all that was ever in it."""
        usage = self.path / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        for line in (self.path / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
        return 0.0

    def remove(self) -> None:
        """When all in it have ended."""
        with contextlib.suppress(OSError):
            self.path.rmdir()
