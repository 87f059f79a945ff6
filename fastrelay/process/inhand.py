"""The messages a worker has in hand, named in its row of the shared page, for whoever finds that it crashed.

Those on their way to a peer stand in cells that are used in turn: with more than CELLS - 1 at once the ones begun last
are named. One that is tried alone (schedule/singly.py) has a cell of its own besides. No system call; 1.3 us a
message (bench/micro).
"""

from fastrelay.process.heartbeat import ALONE, CELLS, Page


class InHand:
    """Of the worker that has claimed its row of `page`."""

    __slots__ = ("_idents", "_last", "_page")

    def __init__(self, page: Page) -> None:
        self._page = page
        self._idents = [b""] * CELLS
        self._last = 0

    def begin(self, ident: bytes) -> int:
        """It goes to a peer now. Returns the cell that names it."""
        cell = self._last = self._last % (CELLS - 1) + 1
        self._idents[cell] = ident
        self._page.note(cell, ident)
        return cell

    def end(self, cell: int, ident: bytes) -> None:
        """It has been. The cell may name another by now."""
        if self._idents[cell] == ident:
            self._idents[cell] = b""
            self._page.note(cell, b"")

    def alone(self, ident: bytes) -> None:
        """The one that is tried alone now; b"" for none."""
        self._page.note(ALONE, ident)
