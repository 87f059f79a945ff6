"""A disk that can lose its power: what was not synced is dropped or torn, unlinked files come back, new ones vanish.

Works on a real directory. Until the power goes it is the real disk, and notes what would be durable: of each file the
octets at its last sync, of each directory the names at its last sync. `lose` then makes a state the file system might
have kept: any choice among what was pending, file by file and name by name.
"""

import os
import random
from collections.abc import Sequence
from pathlib import Path

from fastrelay.spool.disk import How
from tests.peers.strongbox import TellingDisk

_BLOCK = 512


class PowerCut(BaseException):
    """The power goes, now. Nothing may catch it."""


class PowerDisk(TellingDisk):
    """cut_after: deeds until the power goes; negative = it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.cut_after = -1
        self._safe: dict[int, int] = {}  # inode -> octets synced
        self._pending: dict[str, list[tuple[str, str, str, bytes]]] = {}  # directory -> deeds on its names

    def _deed(self, verb: str, path: str) -> None:
        if self.cut_after == 0:
            raise PowerCut
        self.cut_after -= 1
        super()._deed(verb, path)

    def _note(self, path: str, verb: str, other: str = "", octets: bytes = b"") -> None:
        self._pending.setdefault(path.rpartition("/")[0], []).append((verb, path, other, octets))

    def open(self, path: str, how: How) -> int:
        fd = super().open(path, how)
        if how is How.CREATE:
            self._safe[os.fstat(fd).st_ino] = 0
            self._note(path, "create")
        return fd

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        if self.cut_after == 0:  # the cut falls into the write
            super(TellingDisk, self).write(fd, parts)
        return super().write(fd, parts)

    def sync(self, target: int | str) -> None:
        super().sync(target)
        if isinstance(target, int):
            found = os.fstat(target)
            self._safe[found.st_ino] = found.st_size
        else:
            self._pending.pop(target, None)

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        if not Path(new).is_dir():
            self._note(new, "rename", old)

    def remove(self, path: str, *, directory: bool = False) -> None:
        octets = b"" if directory else self._kept(path)
        super().remove(path, directory=directory)
        if not directory:
            self._note(path, "remove", "", octets)

    def _kept(self, path: str) -> bytes:
        file = Path(path)
        return file.read_bytes() if file.exists() else b""

    def lose(self, root: Path, chance: random.Random) -> None:
        """The power is gone; this is what is left when it comes back."""
        self.cut_after = -1
        for path in [path for path in root.rglob("*") if path.is_file()]:
            self._tear(path, chance)
        for deeds in self._pending.values():
            for verb, path, other, octets in reversed(deeds):
                if chance.random() < 0.5:
                    continue
                here = Path(path)
                if not here.parent.is_dir():
                    continue
                if verb == "create" and here.exists():
                    here.unlink()
                elif verb == "remove" and not here.exists():
                    here.write_bytes(octets)
                    self._safe[here.stat().st_ino] = len(octets)
                elif verb == "rename" and here.exists() and not Path(other).exists():
                    here.rename(other)
        self._pending.clear()

    def _tear(self, path: Path, chance: random.Random) -> None:
        found = path.stat()
        safe = min(self._safe.get(found.st_ino, found.st_size), found.st_size)
        if safe < found.st_size and chance.random() < 0.8:
            octets = bytearray(path.read_bytes()[: chance.randint(safe, found.st_size)])
            for start in range(safe - safe % _BLOCK, len(octets), _BLOCK):
                if chance.random() < 0.3:  # this block never got there
                    begin, end = max(start, safe), min(start + _BLOCK, len(octets))
                    octets[begin:end] = chance.choice([bytes(end - begin), chance.randbytes(end - begin)])
            with path.open("r+b") as file:
                file.truncate(0)
                file.write(octets)
        self._safe[found.st_ino] = path.stat().st_size
