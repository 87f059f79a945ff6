"""Where and with what a run was made, for its record: commit, machine, versions, and what a sync costs on the disk."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.measure import sync_microseconds
from bench.processes import Broken

ROOT = Path(__file__).resolve().parents[1]
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_SYNCS = 200


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of an append of one 5 KB message and its fdatasync, with nothing else of ours running."""

    filesystem: str
    options: str
    sync_p50_us: float
    sync_p99_us: float


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures depend on."""

    commit: str
    changed: bool  # the work tree differed from the commit
    cpus: int
    cpu: str
    memory_mb: int
    kernel: str
    virtual: bool
    load: float  # average of the minute before: other work on the machine
    versions: dict[str, str]
    disk: Disk


def describe(folder: Path) -> Machine:
    """The record of this machine; syncs are measured in `folder`. Broken where that is not on a disk."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    return Machine(
        commit=_git("rev-parse", "HEAD"),
        changed=bool(_git("status", "--porcelain", "--untracked-files=no")),
        cpus=len(os.sched_getaffinity(0)),
        cpu=_field(cpuinfo, "model name"),
        memory_mb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        kernel=platform.release(),
        virtual="hypervisor" in _field(cpuinfo, "flags").split(),
        load=os.getloadavg()[0],
        versions={
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("gevent", "dnspython", "msgspec", "prometheus-client")},
        },
        disk=_disk(folder),
    )


def _disk(folder: Path) -> Disk:
    filesystem, options = _mounted(folder)
    if filesystem in _IN_MEMORY:
        raise Broken(f"{folder} is on {filesystem}, where a sync costs nothing: name a folder on a disk with --folder")
    p50, p99 = sync_microseconds(folder, _SYNCS)
    return Disk(filesystem=filesystem, options=options, sync_p50_us=p50, sync_p99_us=p99)


def _mounted(folder: Path) -> tuple[str, str]:
    """File system and mount options of the mount that holds `folder`, without those that name places."""
    best = ("", "unknown", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind, ",".join(word for word in options.split(",") if "/" not in word))
    return best[1], best[2]


def _field(cpuinfo: str, name: str) -> str:
    for line in cpuinfo.splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
