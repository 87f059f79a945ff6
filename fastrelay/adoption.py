"""Slots without an owner: whose mail nobody would try, until a worker takes them over.

A slot is ripe once it has been seen unowned for ADOPT_AFTER seconds: one whose worker is about to be respawned is left
alone. One whose worker was ended for good (an upgrade, fewer workers) is ripe at once. The looking is done in a native
thread: a spool on a slow disk must not stop a worker. One is taken at a time, and only where `may_adopt` says so (the
least loaded worker). Its mail enters the schedule as that of our own slot does.

An error before the slot was renamed into ours leaves it to be tried again. After that, its mail is safe here, but not
all of it is known: `lost(why)` is called, and a new life reads it anew.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from fastrelay.errors import FastrelayError
from fastrelay.runtime import tasks
from fastrelay.spool import slots

ADOPT_AFTER = 10.0  # seconds a slot must have been seen without an owner: its worker may be on its way back


class Store(Protocol):
    """The spool (spool/store.py)."""

    def adopt(self, path: Path, /) -> Iterable[Any]: ...  # of Entry


class Adoption:
    """One per worker. recovered(entry): schedules it (intake.py). say(level, text): a line for a person. is_left(slot):
    its worker does not come back. away: calls a function that may block where that stops nobody."""

    __slots__ = (
        "_away",
        "_is_left",
        "_looking",
        "_lost",
        "_may_adopt",
        "_recovered",
        "_say",
        "_spool",
        "_store",
        "_unowned",
        "_unowned_in",
        "under_way",
    )

    def __init__(
        self,
        spool: Path,
        store: Store,
        recovered: Callable[[Any], object],
        *,
        may_adopt: Callable[[], bool],
        lost: Callable[[str], None],
        say: Callable[[str, str], None],
        is_left: Callable[[int], bool] = lambda slot: False,
        unowned_in: Callable[[Path], Iterable[Path]] = slots.unowned,
        away: Callable[..., Any] = tasks.in_thread_to_end,
    ) -> None:
        self._away = away
        self._is_left = is_left
        self._looking = False
        self._spool = spool
        self._store = store
        self._recovered = recovered
        self._may_adopt = may_adopt
        self._lost = lost
        self._say = say
        self._unowned_in = unowned_in
        self._unowned: dict[Path, float] = {}  # slots seen without an owner, and since when
        self.under_way = False

    def look(self, now: float) -> None:
        """Once a second. Never waits: looking is a task of its own, and so is an adoption."""
        if not self._looking:
            self._looking = True
            tasks.spawn(self._look, now)

    def _look(self, now: float) -> None:
        try:
            found = self._away(self._unowned_in, self._spool)
        except OSError:
            return  # the store has the same disk, and says so
        finally:
            self._looking = False
        self._unowned = {path: self._unowned.get(path, now) for path in found}
        ripe = next((path for path, since in self._unowned.items() if self._is_ripe(path, now - since)), None)
        if ripe is not None and not self.under_way and self._may_adopt():
            del self._unowned[ripe]
            self.under_way = True
            tasks.spawn(self._adopt, ripe)

    def _is_ripe(self, path: Path, seconds: float) -> bool:
        number = slots.slot_number(path.name)
        return seconds >= ADOPT_AFTER or (number is not None and self._is_left(number))

    def _adopt(self, path: Path) -> None:
        try:
            count = 0
            for entry in self._store.adopt(path):
                self._recovered(entry)
                count += 1
        except Exception as error:  # a bug too: mail that nobody knows of is worse than a worker that comes again
            if not isinstance(error, FastrelayError):
                tasks.on_crash("Adoption", error)
            if path.exists():
                self._say("error", f"cannot adopt {path.name}: {error}")
            else:  # it was renamed into our slot before
                self._lost(f"cannot read {path.name} after its adoption: {error}")
        else:
            what = f"{count} message{'s' if count > 1 else ''}" if count else "no mail was left in it"
            self._say("info" if count else "debug", f"adopted {path.name}: {what}")
        finally:
            self.under_way = False
