"""The backlog: what was in the slot when its store opened, and what is adopted later; first the tail, then the rest.

Promises: after `recover` commits work; `load` then brings every open message once, in slices of 5 ms; `adopt` takes an
unowned slot over in one step and brings its mail likewise. While something is not in the register yet no segment is
freed: nobody knows what is needed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from fastrelay.errors import Impossible, MisuseError
from fastrelay.spool import slots
from fastrelay.spool.bodies import Bodies
from fastrelay.spool.committer import Committer
from fastrelay.spool.disk import Disk, shortage
from fastrelay.spool.freeing import Freeing
from fastrelay.spool.journal import Journal
from fastrelay.spool.pace import Away
from fastrelay.spool.quarantine import Quarantine
from fastrelay.spool.recovery import Entry, Recovery
from fastrelay.spool.register import Register
from fastrelay.spool.replay import Replay
from fastrelay.spool.survey import Survey, survey
from fastrelay.spool.trip import Group


def look(disk: Disk, path: str) -> Survey:
    """What lies in the slot at `path`. MisuseError: a newer format, or files we may not read. MachineShort."""
    try:
        return survey(disk, path)
    except PermissionError as error:
        raise MisuseError(f"cannot read {error.filename}: make the spool readable for the user we run as") from None
    except OSError as error:
        raise shortage(error) from None


class Backlog:
    """Of one claimed slot; found: what was seen in it. rest: gives others a turn."""

    __slots__ = (
        "_adopted",
        "_away",
        "_bodies",
        "_committer",
        "_disk",
        "_found",
        "_freeing",
        "_journal",
        "_quarantine",
        "_recovery",
        "_register",
        "_replay",
        "_rest",
        "_slot",
    )

    def __init__(
        self,
        slot: slots.Slot,
        found: Survey,
        *,
        disk: Disk,
        away: Away,
        rest: Callable[[], None],
        register: Register,
        bodies: Bodies,
        quarantine: Quarantine,
        journal: Journal,
        committer: Committer,
        freeing: Freeing,
    ) -> None:
        self._slot = slot
        self._found: Survey | None = found
        self._disk = disk
        self._away = away
        self._rest = rest
        self._register = register
        self._bodies = bodies
        self._quarantine = quarantine
        self._journal = journal
        self._committer = committer
        self._freeing = freeing
        self._recovery: Recovery | None = None
        self._adopted: list[Recovery] = []
        self._replay: Replay | None = None

    def recover(self) -> None:
        """Settle the tail. Waits. MachineShort when the disk does not let us."""
        found, self._found = self._found, None
        if found is None:
            raise Impossible("this store has recovered already")
        try:
            self._bodies.prepare(self._slot.path)
        except OSError as error:
            raise shortage(error) from None
        self._recovery = self._recovery_of(found)
        self._replay = self._settle_tail(self._recovery)

    def load(self) -> Iterator[Entry]:
        """Then the backlog, message by message, to be read to its end. Waits; works in slices of 5 ms."""
        recovery, replay, self._replay = self._recovery, self._replay, None
        if recovery is None or replay is None:
            raise Impossible("load comes once, after recover")
        yield from self._load(recovery, replay)
        self._freeing.resume()

    def adopt(self, path: str | Path) -> Iterator[Entry]:
        """Take over the unowned slot at `path`; its mail, to be read to its end. Waits; works in slices of 5 ms.

        Nothing when somebody else was first. MisuseError: it is of a newer format, and left alone. MachineShort before
        the slot was taken over leaves it to others; after that its mail is safe here, and found at our next start.
        """
        failing = self._committer.failing
        if failing is not None:
            raise failing.with_traceback(None)
        self._away(look, self._disk, str(path))
        self._freeing.suspend()
        try:
            home = self._away(slots.adopt, self._slot, path, self._disk)
        except OSError as error:
            self._freeing.resume()
            raise shortage(error) from None
        if home is not None:
            recovery = self._recovery_of(self._away(look, self._disk, home))
            self._adopted.append(recovery)
            yield from self._load(recovery, self._settle_tail(recovery))
        self._freeing.resume()  # not after an error: as long as something is not in the register, nothing is freed

    def _settle_tail(self, recovery: Recovery) -> Replay:
        try:
            return recovery.settle(self._register)
        except OSError as error:
            raise shortage(error) from None

    def _load(self, recovery: Recovery, replay: Replay) -> Iterator[Entry]:
        try:
            yield from recovery.load(replay, self._register)
            for directory in slots.places(self._slot.path, self._disk)[:0:-1]:
                if not any(segment.directory == directory for segment in self._register.segments.values()):
                    self._away(slots.tidy, directory, self._disk)
        except OSError as error:
            raise shortage(error) from None

    def _recovery_of(self, found: Survey) -> Recovery:
        return Recovery(
            self._disk,
            found,
            away=self._away,
            bodies=self._bodies,
            quarantine=self._quarantine,
            submit=lambda frames: self._committer.submit(Group(frames)),
            write_index=self._journal.write_index,
            rest=self._rest,
        )

    @property
    def progress(self) -> int:
        """Octets read so far."""
        own = self._recovery.progress if self._recovery is not None else 0
        return own + sum(recovery.progress for recovery in self._adopted)

    @property
    def newest(self) -> int:
        """Wall second of the newest frame found at the start, 0 when there was none."""
        return self._recovery.newest if self._recovery is not None else 0
