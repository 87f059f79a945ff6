"""Progress on a terminal's stderr for what is counted elsewhere: nothing at all where stderr is no terminal.

Drawn only when told: a thread of its own must not be there when the process forks.
"""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """One bar after the other. A context manager; the bars are wiped away at its end."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.fields[done]:>10,} {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeElapsedColumn(),
        )
        self._shown = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal, auto_refresh=False
        )
        self._bar: TaskID
        self._by_time = False
        self._started = 0.0

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.stop()

    def begin(self, what: str, total: int | None, seconds: float | None = None) -> None:
        """The next bar: so many of `what`, or as many as come in `seconds`."""
        self._by_time = total is None
        self._started = time.monotonic()
        self._bar = self._shown.add_task(what, total=seconds if total is None else total, done=0, rate=0.0)

    def show(self, done: int) -> None:
        """So many by now."""
        elapsed = time.monotonic() - self._started
        self._shown.update(
            self._bar,
            completed=elapsed if self._by_time else done,
            done=done,
            rate=done / elapsed if elapsed > 0 else 0.0,
            refresh=True,
        )
