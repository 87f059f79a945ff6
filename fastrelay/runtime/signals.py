"""Signals on the event loop: the handler runs between two tasks, never inside one, and may do what any callback may."""

import signal
from collections.abc import Callable

from gevent import get_hub


class SignalWatch:
    """Calls `function()` on the loop when `number` arrives, until closed. It must not wait."""

    __slots__ = ("_watcher",)

    def __init__(self, number: signal.Signals, function: Callable[[], object]) -> None:
        self._watcher = get_hub().loop.signal(number)
        self._watcher.start(function)

    def close(self) -> None:
        """Watch no more; the signal's default action is back."""
        self._watcher.stop()
        self._watcher.close()
