"""Tables and quantities as a person reads them, for commands that must start fast and whose output is piped.

Columns are aligned with spaces and nothing else, so awk can take them apart; rich (0.1 s to import) draws for the
commands that run longer.
"""

import os
import sys
import time
from collections.abc import Iterable, Sequence

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


def lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table as lines; numbers stand to the right. Control characters of what strangers wrote are blanked.

    On a terminal that it does not fit in, columns stand closer.
    """
    table = [list(head), *([_text(cell) for cell in row] for row in rows)]
    right = [
        len(table) > 1 and all(row[n].replace(",", "").replace(".", "").isdigit() or not row[n] for row in table[1:])
        for n in range(len(head))
    ]
    widths = [max(len(row[n]) for row in table) for n in range(len(head))]
    between = len(head) - 1
    gap = " " if 0 < room() < sum(widths) + 2 * between else "  "
    return [
        gap.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]


def room() -> int:
    """Columns of the terminal that standard output is; 0 where it is none: as many as there are."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def clean(text: str) -> str:
    """Text of strangers without anything that could steer a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def span(seconds: float) -> str:
    """ "12s", "3m", "1h 20m", "4d 2h": at most two units."""
    seconds = max(0.0, seconds)
    for n, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            below, name = _UNITS[n + 1] if n + 1 < len(_UNITS) else (1.0, "s")
            return f"{whole:.0f}{unit}" + (f" {rest // below:.0f}{name}" if rest >= below else "")
    return f"{seconds:.0f}s"


def size(octets: float) -> str:
    """ "512B", "4.9KB", "1.2MB": decimal, as disks and mail limits are told."""
    for unit in ("B", "KB", "MB", "GB"):
        if octets < 1000 or unit == "GB":
            break
        octets /= 1000
    return f"{octets:.0f}{unit}" if unit == "B" else f"{octets:.1f}{unit}"


def counted(number: int, what: str) -> str:
    """ "1 message", "2,000 messages"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(wall: float) -> str:
    """A time of day with its date, local."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def _text(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else clean(str(cell))
