"""How many workers `server.workers = 0` means: the CPUs this process may really use.

The smaller of the scheduling affinity and the CPU quota of every cgroup above us (version 2: cpu.max, version 1:
cpu.cfs_quota_us / cpu.cfs_period_us), rounded up; os.cpu_count() names the machine's, which a container seldom has.
"""

import math
import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


def workers(configured: int, root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The number of workers to start: `configured`, or one per usable CPU when that is 0. At least 1."""
    if configured:
        return configured
    quota = min((_quota(folder) for folder in _groups(root, own)), default=math.inf)
    affinity = len(os.sched_getaffinity(0))
    return max(1, min(affinity, math.ceil(quota)) if quota < math.inf else affinity)


def _groups(root: Path, own: Path) -> list[Path]:
    """Every folder that may limit us: our group and all above it, in both versions; the root itself in a container."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    folders = [root, root / "cpu", root / "cpu,cpuacct"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = (root / controllers, root / "cpu") if controllers else (root, root / "unified")
        for top in tops:
            here = top
            for part in path.strip("/").split("/"):
                here = here / part
                folders.append(here)
    return folders


def _quota(folder: Path) -> float:
    """CPUs' worth of time this group may use; inf without a quota."""
    try:
        words = (folder / "cpu.max").read_text().split()
        if len(words) == 2 and words[0] != "max":
            return int(words[0]) / int(words[1])
    except (OSError, ValueError):
        pass  # no version 2 group here: the next lines ask for version 1
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf
