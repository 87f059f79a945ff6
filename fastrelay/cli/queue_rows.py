"""The rows of `fastrelay queue list`, printed page by page as they come: millions of them fit no memory, and whoever
waits for them, or pipes them into head, wants the first now.

Columns are as wide as those of one page need. With --json the pages are one object, {"rows": [...], "next",
"incomplete"}; where an error ends it early it stays open, so no reader takes the part for the whole.
"""

import sys
import time
from typing import Any

import msgspec

from fastrelay.cli import queue_pages

Answer = dict[str, Any]


class Rows:
    """`add` the rows of each page, then `end`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.count = 0

    def add(self, rows: list[Answer]) -> None:
        """Print them now."""
        if not rows:
            return
        if self._as_json:
            text = ("," if self.count else '{"rows":[') + msgspec.json.encode(rows).decode()[1:-1]
        else:
            table = queue_pages.listing({"rows": rows, "next": None, "now": time.time()})
            text = "\n".join(table[1 if self.count else 0 :]) + "\n"
        self.count += len(rows)
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self, following: str | None, incomplete: list[int]) -> None:
        """following: the cursor of what was not asked for, None when that was all."""
        if self._as_json:
            rest = msgspec.json.encode({"next": following, "incomplete": incomplete}).decode()[1:]
            print(("" if self.count else '{"rows":[') + "]," + rest)
        elif not self.count:
            print("\n".join(queue_pages.listing({"rows": [], "next": None, "now": time.time()})))
        elif following is not None:
            print(queue_pages.MORE)
