"""Filled spools: made once a run by bench/seed.py, then given to each round as hard links.

The relay appends to no segment of an earlier life and only ever unlinks one, so links cost nothing and the filled spool
stays as it is; that it did is checked by sizes and times of change each time it is given out.
"""

import os
import shutil
import sys
from pathlib import Path

from bench.processes import Broken, Program
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 1800.0  # seconds for one filling


class Backlogs:
    """In `folder`, on the disk that is measured; for `workers` slots each."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._workers = workers
        self._made: dict[int, dict[str, tuple[int, int]]] = {}

    def of(self, messages: int) -> Path:
        """A spool with so many messages; made when first asked for. To be linked, never to be started on."""
        spool = self._folder / str(messages)
        if messages not in self._made:
            self._folder.mkdir(exist_ok=True)
            shutil.rmtree(spool, ignore_errors=True)  # of an earlier instance
            words = ["--spool", spool, "--messages", messages, "--slots", self._workers]
            command: list[str | Path] = [sys.executable, ROOT / "bench/seed.py", *map(str, words)]
            program = Program(command, self._folder / "output", debian.environment(PYTHONPATH=str(ROOT)))
            try:
                program.wait(_PATIENCE)
            finally:
                program.end()
            self._made[messages] = _marks(spool)
        elif _marks(spool) != self._made[messages]:
            raise Broken("a relay has changed the segments of an earlier life: the next rounds would not start alike")
        return spool


def link(spool: Path, place: Path) -> None:
    """A spool at `place` that has the files of `spool`."""
    shutil.copytree(spool, place, copy_function=os.link)


def drop_from_cache(folder: Path) -> int:
    """Write out and forget every file below, so that it is read from the disk again; how many octets they hold."""
    octets = 0
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
            octets += path.stat().st_size
    return octets


def _marks(spool: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in spool.rglob("*") if path.is_file()}
