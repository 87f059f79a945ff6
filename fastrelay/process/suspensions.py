"""Suspensions: what an operator has stopped (a site, a domain, a sender, a sender's domain, a client), in one file.

`spool/control.json` holds for the whole machine: whoever changes it takes the lock beside it, writes a new file, syncs
it, renames it over the old one and syncs the directory, so it is always whole and outlives a power loss. Each worker
reads it before its first delivery, when the admin process tells it to, and whenever the file has changed. It is read by
name, so a spool moved to another machine brings its suspensions along.

One that has come to its end is passed over by readers and dropped by the next change.
"""

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from fastrelay.errors import MachineShort, MisuseError

FILE: Final = "control.json"
KINDS: Final = ("site", "domain", "sender", "sender-domain", "client")
MOST: Final = 10_000  # suspensions at once: 2 MB of file; a whole domain or network is one
_LONGEST: Final = 1000  # characters of a name or a reason
_VERSION: Final = 1


class Suspension(msgspec.Struct, frozen=True, gc=False):
    """kind: one of KINDS. name: "" as a sender = the null sender. since, until: wall seconds, until 0 = until resumed.

    A client is an address or a network ("192.0.2.0/24").
    """

    kind: str
    name: str
    since: float
    until: float = 0.0
    reason: str = ""
    who: str = ""

    def is_over(self, now: float) -> bool:
        """now: wall seconds."""
        return 0.0 < self.until <= now


class _Content(msgspec.Struct, frozen=True):
    version: int
    suspensions: tuple[Suspension, ...]


_Signature = tuple[int, int, int]


class Suspensions:
    """The file of one spool. MachineShort where it cannot be read or written, or is not what we wrote."""

    __slots__ = ("_path", "_seen")

    def __init__(self, spool: Path) -> None:
        self._path = spool / FILE
        self._seen: _Signature | None = None

    def now(self, wall: float) -> tuple[Suspension, ...]:
        """Those in force."""
        return tuple(one for one in self._read() if not one.is_over(wall))

    def news(self, wall: float) -> tuple[Suspension, ...] | None:
        """Those in force when the file is another than at the last call (none at the first: no file); else None."""
        signature = self._signature()
        if signature == self._seen:
            return None
        found = self.now(wall)
        self._seen = signature
        return found

    def add(self, new: Suspension, wall: float) -> tuple[Suspension, ...]:
        """Suspend, or change what is suspended already. On stable storage when it returns those in force.

        MisuseError for what cannot be suspended.
        """
        new = checked(new)
        with self._locked():
            kept = [one for one in self.now(wall) if (one.kind, one.name) != (new.kind, new.name)]
            if len(kept) >= MOST:
                raise MachineShort(f"{MOST:,} suspensions at most: suspend a domain, a site or a network instead")
            return self._write((*kept, new))

    def end(self, kind: str, name: str, wall: float) -> tuple[bool, tuple[Suspension, ...]]:
        """Resume: whether it was suspended, and those still in force."""
        wanted = checked(Suspension(kind, name, 0.0, reason="-"))
        with self._locked():
            before = self.now(wall)
            kept = tuple(one for one in before if (one.kind, one.name) != (wanted.kind, wanted.name))
            return len(kept) < len(before), self._write(kept)

    def _signature(self) -> _Signature | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MachineShort(f"cannot look at {self._path}: {error.strerror}") from None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> tuple[Suspension, ...]:
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise MachineShort(f"cannot read {self._path}: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise MachineShort(
                f"{self._path} is damaged ({error}): mend it, or move it away and suspend anew"
            ) from None
        if content.version != _VERSION:
            raise MachineShort(f"{self._path} is of version {content.version}, of a later release than this one")
        return content.suspensions

    def _write(self, suspensions: tuple[Suspension, ...]) -> tuple[Suspension, ...]:
        octets = msgspec.json.format(msgspec.json.encode(_Content(_VERSION, suspensions)), indent=1) + b"\n"
        fresh = f"{self._path}.new"
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(octets)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(fresh, self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise MachineShort(f"cannot write {self._path}: {error.strerror}") from None
        return suspensions

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MachineShort(f"cannot write in {self._path.parent}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise MachineShort(f"somebody else is changing {self._path}; try again") from None
            yield
        finally:
            os.close(fd)


def checked(one: Suspension) -> Suspension:
    """Names as they are compared: domains and senders in lower case, clients in their one spelling. MisuseError."""
    if one.kind not in KINDS:
        raise MisuseError(f"{one.kind!r} cannot be suspended; there are {', '.join(KINDS)}")
    name = one.name.strip()
    if one.kind == "sender":
        name = "" if name == "<>" else name.lower()
    elif not name:
        raise MisuseError(f"which {one.kind}?")
    elif one.kind in ("domain", "sender-domain"):
        name = name.lower().rstrip(".").removeprefix("@")
        if len(name.split()) != 1:
            raise MisuseError(f"{one.name!r} is no domain")
    elif one.kind == "client":
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            raise MisuseError(f"{name!r} is no address or network of a client") from None
        name = str(network.network_address if network.prefixlen == network.max_prefixlen else network)
    if not one.reason.strip():
        raise MisuseError("a suspension needs a reason: whoever finds it later will want to know")
    if len(name) > _LONGEST or len(one.reason) > _LONGEST or len(one.who) > _LONGEST:
        raise MisuseError(f"{_LONGEST} characters at most for a name or a reason")
    return msgspec.structs.replace(one, name=name)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
