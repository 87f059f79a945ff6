"""What an operator has suspended, brought from its file (process/suspensions.py) before the schedule's lanes.

Looked at before the first delivery, once a second, and when the admin process says that it has changed. A file that
cannot be read leaves what was suspended so far as it is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastrelay.errors import MachineShort
from fastrelay.mail.envelope import Envelope
from fastrelay.runtime import clock
from fastrelay.schedule.bars import Bar, Bars


class File(Protocol):
    """Of this spool. news: those in force when it has changed, else None; MachineShort."""

    def news(self, wall: float) -> Sequence[Any] | None: ...


class Schedule(Protocol):
    """schedule/scheduler.py."""

    @property
    def bars(self) -> Bars | None: ...
    def bar(self, bars: Bars | None) -> None: ...


class Suspending:
    """One per worker. say(level, text): a line for a person."""

    __slots__ = ("_envelope_of", "_file", "_lost", "_say", "_schedule")

    def __init__(
        self,
        file: File,
        schedule: Schedule,
        envelope_of: Callable[[bytes], Envelope | None],
        say: Callable[[str, str], None],
    ) -> None:
        self._file = file
        self._schedule = schedule
        self._envelope_of = envelope_of
        self._say = say
        self._lost = False  # it cannot be read, and the operator was told

    def look(self) -> None:
        """Never waits but for the file, which is read when it has changed."""
        try:
            news = self._file.news(clock.wall())
        except MachineShort as error:
            if not self._lost:
                self._say("error", f"{error}; what was suspended so far stays so")
            self._lost = True
            return
        self._lost = False
        if news is not None:
            lag = clock.now() - clock.wall()
            bars = [Bar(one.kind, one.name, one.until + lag if one.until else math.inf, one.reason) for one in news]
            self._schedule.bar(Bars(bars, self._envelope_of, clock.now) if bars else None)
        elif (standing := self._schedule.bars) is not None and standing.over:
            self._schedule.bar(None)
