"""Messages that were in hand when a worker crashed are tried one at a time, each named while it is.

So the one that crashes workers is told from the bystanders, which go through and are known to be harmless; other mail
goes on beside them. The price is theirs alone: a slow peer keeps the others of them waiting.
"""

from collections.abc import Callable, Iterable
from typing import Any

from fastrelay.runtime import tasks
from fastrelay.schedule.item import Item


class Singly:
    """wary: their idents. attempt(hands, item): the work. interrupted(hands, item): who waited for its turn was killed.
    name(ident): this one is tried now, b"" for none."""

    __slots__ = ("_attempt", "_interrupted", "_name", "_turn", "_wary")

    def __init__(
        self,
        wary: Iterable[bytes],
        attempt: Callable[[Any, Item], float],
        interrupted: Callable[[Any, Item], None],
        name: Callable[[bytes], None],
    ) -> None:
        self._wary = set(wary)
        self._attempt = attempt
        self._interrupted = interrupted
        self._name = name
        self._turn = tasks.Permits(1)

    def attempt(self, hands: Any, item: Item) -> float:
        """The work; of a wary one in its turn. May wait."""
        if item.ident not in self._wary:
            return self._attempt(hands, item)
        begun = False
        try:
            with self._turn:
                begun = True
                self._name(item.ident)
                try:
                    rest = self._attempt(hands, item)
                finally:
                    self._name(b"")
                self._wary.discard(item.ident)
                return rest
        except BaseException:
            if not begun:
                self._interrupted(hands, item)
            raise
