"""A disk that can lose its power: what was not synced is dropped or torn, unlinked files come back, new ones vanish.

Works on a real directory, and writes down what was done to it: `Past` is that record, and makes from its first n deeds
any state a file system might be left in. Each name made, moved or removed is on disk for sure once its directory was
synced (a move between two directories once both were: it is done in one step or not at all), each octet once its file
was; before that, each by itself, it may be there or not.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fastrelay.spool.disk import How
from tests.peers.strongbox import TellingDisk

_BLOCK = 512


class PowerCut(BaseException):
    """The power goes, now. Nothing may catch it."""


class File:
    """Its octets, and how many of them are synced."""

    def __init__(self, octets: bytes = b"", synced: int = 0) -> None:
        self.octets = octets
        self.synced = synced


class Folder:
    """What is in it, by name."""

    def __init__(self) -> None:
        self.names: dict[str, File | Folder] = {}


Node = File | Folder
Loss = Callable[[File], bytes]
"""What is left of a file."""


class Deed:
    """Names changed in one step: (folder, name, what it means now). open: folders whose sync is still needed."""

    def __init__(self, changes: list[tuple[Folder, str, Node | None]]) -> None:
        self.changes = changes
        self.open = {id(folder) for folder, _, _ in changes}


class Step(NamedTuple):
    """One thing done: a deed on names; or octets added to a file; or a sync of either."""

    deed: Deed | None = None
    written: tuple[File, bytes] | None = None
    synced: Node | None = None


class Past:
    """Deeds in order on what was there before. `advance` goes on by one; `left` makes what may be left just then."""

    def __init__(self, start: Folder) -> None:
        self.steps: list[Step] = []
        self._start = start
        self._at = 0
        self._deeds: list[Deed] = []

    def advance(self) -> bool:
        """One step on; False when there is none. Files change as they did then."""
        if self._at == len(self.steps):
            return False
        deed, written, synced = self.steps[self._at]
        self._at += 1
        if deed is not None:
            self._deeds.append(deed)
        if written is not None:
            written[0].octets += written[1]
        if isinstance(synced, File):
            synced.synced = len(synced.octets)
        elif synced is not None:
            for one in self._deeds:
                one.open.discard(id(synced))
        return True

    @property
    def newest(self) -> tuple[File, int] | None:
        """The file that the last step has written to, and how many octets; None where it wrote none."""
        written = self.steps[self._at - 1].written if self._at else None
        return (written[0], len(written[1])) if written is not None else None

    @property
    def unsure(self) -> list[Deed]:
        """Deeds that may have come to be or not."""
        return [deed for deed in self._deeds if deed.open]

    def left(self, target: Path, loss: Loss, keep: Callable[[Deed], bool]) -> None:
        """Write into the empty `target` what is left: `loss` says what of files, `keep` which open deeds came to be."""
        names: dict[int, dict[str, Node]] = {}

        def inside(folder: Folder) -> dict[str, Node]:
            return names.setdefault(id(folder), dict(folder.names))

        for deed in self._deeds:
            gone = [node for folder, name, node in deed.changes if node is None and name not in inside(folder)]
            if gone or (deed.open and not keep(deed)):
                continue  # what it would move or remove never came to be
            for folder, name, node in deed.changes:
                if node is None:
                    del inside(folder)[name]
                else:
                    inside(folder)[name] = node
        self._write(target, inside(self._start), inside, loss)

    def _write(
        self, target: Path, names: dict[str, Node], inside: Callable[[Folder], dict[str, Node]], loss: Loss
    ) -> None:
        target.mkdir(exist_ok=True)
        for name, node in names.items():
            if isinstance(node, File):
                (target / name).write_bytes(loss(node))
            else:
                self._write(target / name, inside(node), inside, loss)


class PowerDisk(TellingDisk):
    """Below `root`. cut_after: deeds until the power goes; negative = it does not. Syncs cost nothing: nothing is lost
    but by the model."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.cut_after = -1
        self._root = root
        self.begin()

    def begin(self) -> None:
        """What lies there now is safe; the past begins here."""
        self._tree = _safe(self._root)
        self._files: dict[int, File] = {}
        self._now: dict[int, dict[str, Node]] = {}
        self.past = Past(self._tree)

    # names as they are now, beside the tree of the start, which stays as it was

    def _inside(self, folder: Folder) -> dict[str, Node]:
        return self._now.setdefault(id(folder), dict(folder.names))

    def _folder(self, path: str) -> Folder:
        folder = self._tree
        for name in Path(path).relative_to(self._root).parts:
            found = self._inside(folder)[name]
            assert isinstance(found, Folder)
            folder = found
        return folder

    def _node(self, path: str) -> Node:
        return self._inside(self._folder(path.rpartition("/")[0]))[path.rpartition("/")[2]]

    def _change(self, *changes: tuple[str, Node | None]) -> None:
        done: list[tuple[Folder, str, Node | None]] = []
        for path, node in changes:
            folder, name = self._folder(path.rpartition("/")[0]), path.rpartition("/")[2]
            done.append((folder, name, node))
        for folder, name, node in done:
            if node is None:
                del self._inside(folder)[name]
            else:
                self._inside(folder)[name] = node
        self.past.steps.append(Step(deed=Deed(done)))

    # -- the verbs --------------------------------------------------------------------------------------------------

    def _deed(self, verb: str, path: str) -> None:
        if self.cut_after == 0:
            raise PowerCut
        self.cut_after -= 1
        super()._deed(verb, path)

    def open(self, path: str, how: How) -> int:
        fd = super().open(path, how)
        self._files.pop(fd, None)
        if how is How.CREATE:
            self._files[fd] = File()
            self._change((path, self._files[fd]))
        elif how is How.READ:
            node = self._node(path)
            assert isinstance(node, File)
            self._files[fd] = node
        return fd

    def write(self, fd: int, parts: Sequence[bytes]) -> int:
        if self.cut_after == 0:  # the cut falls into the write
            self.past.steps.append(Step(written=(self._files[fd], b"".join(parts))))
        taken = super().write(fd, parts)
        self.past.steps.append(Step(written=(self._files[fd], b"".join(parts)[:taken])))
        return taken

    def sync(self, target: int | str) -> None:
        self._deed("sync", self._names.get(target, "") if isinstance(target, int) else target)
        node: Node = self._files[target] if isinstance(target, int) else self._folder(target)
        self.past.steps.append(Step(synced=node))

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._change((old, None), (new, self._node(old)))

    def remove(self, path: str, *, directory: bool = False) -> None:
        super().remove(path, directory=directory)
        self._change((path, None))

    def make_directory(self, path: str) -> bool:
        made = super().make_directory(path)
        if made:
            self._change((path, Folder()))
        return made

    # -- the loss ---------------------------------------------------------------------------------------------------

    def lose(self, chance: random.Random) -> None:
        """The power is gone; this is what is left when it comes back, any one of all states there may be."""
        self.cut_after = -1
        while self.past.advance():
            pass
        for path in sorted(self._root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.past.left(self._root, torn(chance), lambda deed: chance.random() < 0.5)
        self.begin()


def torn(chance: random.Random) -> Loss:
    """What was not synced is dropped from any octet on, and blocks of it never got there: zeros or others' octets."""

    def loss(file: File) -> bytes:
        safe = file.synced
        if safe == len(file.octets) or chance.random() < 0.2:
            return file.octets
        octets = bytearray(file.octets[: chance.choice([len(file.octets), chance.randint(safe, len(file.octets))])])
        for start in range(safe - safe % _BLOCK, len(octets), _BLOCK):
            if chance.random() < 0.3:
                begin, end = max(start, safe), min(start + _BLOCK, len(octets))
                octets[begin:end] = chance.choice([bytes(end - begin), chance.randbytes(end - begin)])
        return bytes(octets)

    return loss


def kept(file: File) -> bytes:
    """All of it, synced or not."""
    return file.octets


def dropped(file: File) -> bytes:
    """What was synced."""
    return file.octets[: file.synced]


def cut(file: File) -> bytes:
    """All but the last few octets."""
    return file.octets[: max(file.synced, len(file.octets) - 8)]


def cut_at(torn_file: File, octets: int) -> Loss:
    """All of it, but so many octets of that file."""
    return lambda file: file.octets[: max(file.synced, octets)] if file is torn_file else file.octets


def zeroed(file: File) -> bytes:
    """As long as it was, but what was not synced never got there."""
    return file.octets[: file.synced] + bytes(len(file.octets) - file.synced)


def _safe(root: Path) -> Folder:
    folder = Folder()
    for path in root.iterdir():
        if path.is_dir():
            folder.names[path.name] = _safe(path)
        else:
            octets = path.read_bytes()
            folder.names[path.name] = File(octets, len(octets))
    return folder
