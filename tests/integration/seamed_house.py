"""A house seen through a seam: `python seamed_house.py CONFIG full|witness`. Everything is real but what the verb says.

full: while the file `full` lies beside the config, the spool's disk has no room.
troubled: while the file `trouble` lies beside the config, it says what the disk does: the name of an errno (EIO, EROFS)
with which writes, syncs and new files fail, or "slow": a sync takes a second. Each sync that a worker made on its event
loop once it served is a line in `on-loop`.
hanging: whoever finds the file `hang` beside the config takes it away, and looks for room on its disk for ever, on its
event loop.
witness: what each worker finds when it begins, and when it has ended, is written to `witness-PID` beside the config.
"""

import builtins
import errno
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
import gevent.monkey

from fastrelay.admin import run_admin
from fastrelay.config import load
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.process.seat import Seat
from fastrelay.spool.disk import Disk, How, Space
from fastrelay.worker import run_worker

FOLDER = Path(sys.argv[1]).parent


class SmallDisk(Disk):
    """Full while the marker is there: a write takes nothing, a new file is not made."""

    def _look(self, path: str) -> None:
        if (FOLDER / "full").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def open(self, path: str, how: How) -> int:
        if how is How.CREATE:
            self._look(path)
        return super().open(path, how)

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        self._look("")
        return super().write(fd, parts)

    def space(self, path: str) -> Space:
        found = super().space(path)
        return Space(found.free, found.total, -1)  # statvfs still speaks of room: the write itself must be believed


class TroubledDisk(Disk):
    """What the marker says, from one call to the next."""

    def __init__(self) -> None:
        self._loop = threading.get_ident()

    def _word(self) -> str:
        try:
            return (FOLDER / "trouble").read_text()
        except FileNotFoundError:
            return ""

    def _meet(self, path: str = "") -> None:
        word = self._word()
        if word.startswith("E"):
            number = getattr(errno, word)
            raise OSError(number, os.strerror(number), path)

    def open(self, path: str, how: How) -> int:
        if how is How.CREATE:
            self._meet(path)
        return super().open(path, how)

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        self._meet()
        return super().write(fd, parts)

    def sync(self, target: int | str) -> None:
        self._meet()
        if self._word() == "slow":
            if threading.get_ident() == self._loop:
                with (FOLDER / "on-loop").open("a") as file:
                    file.write(f"{target}\n")
            time.sleep(1.0)
        super().sync(target)


class HangingDisk(Disk):
    """Room is asked for on the event loop, by the task of a client that says MAIL."""

    def space(self, path: str) -> Space:
        try:
            (FOLDER / "hang").unlink()
        except FileNotFoundError:
            return super().space(path)
        while True:
            pass


def facts() -> dict[str, Any]:
    """What would give a monkey-patched process away, and what it has of an event loop and threads."""
    modules = ("socket", "threading", "time", "select", "os", "ssl", "subprocess", "signal", "queue", "builtins")
    return {
        "patched": [name for name in modules if gevent.monkey.is_module_patched(name)],
        "foreign": [
            f"{owner.__name__}.{name}"
            for owner, name in (
                (socket, "socket"), (time, "sleep"), (select, "select"), (select, "poll"),
                (threading, "_start_new_thread"), (threading, "Lock"), (os, "fork"), (os, "read"), (builtins, "open"),
            )
            if "gevent" in str(getattr(getattr(owner, name), "__module__", ""))
        ],
        "hub": gevent._hub_local.get_hub_if_exists() is not None,
        "threads": len(os.listdir("/proc/self/task")),
    }  # fmt: skip


def witnessed(seat: Seat) -> int:
    """A worker's life, with a look before it and one after it."""
    before = facts()
    code = run_worker(seat)
    path = FOLDER / f"witness-{os.getpid()}"
    path.write_text(json.dumps({"before": before, "after": facts()}))
    return code


def short(seat: Seat) -> int:
    return run_worker(seat, SmallDisk())


def troubled(seat: Seat) -> int:
    return run_worker(seat, TroubledDisk())


def hanging(seat: Seat) -> int:
    return run_worker(seat, HangingDisk())


HOUSES = {"full": short, "troubled": troubled, "hanging": hanging, "witness": witnessed}


def main() -> int:
    config = load(sys.argv[1])
    premises = Premises.take(config)
    try:
        return Master(config, premises, HOUSES[sys.argv[2]], run_admin).run()
    finally:
        premises.close()


if __name__ == "__main__":
    sys.exit(main())
