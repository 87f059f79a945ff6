"""What `fastrelay top` shows: the answer of /api/v1/top as tables that fit a screen. Pure.

On fewer columns less is told, but no name of a worker and no number is ever cut: what matters least goes first. The
name of a site may be longer than any screen: on a live one it ends in an ellipsis, in print it goes on in the next
line. On fewer rows there are fewer workers and sites, and a line that says how many more.
"""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastrelay.cli.columns import clean, counted, span

COUNTED = ("received", "delivered", "deferred", "bounced", "sessions")  # in the order of a message's life
WIDE = 110  # columns of a page that is printed into a pipe
SITES = 15  # that are printed; --json has up to 50 a worker
_FEWEST = 3  # workers and sites that are shown on the smallest screen
_NAME = 16  # columns of a site's name below which another column has to go
Answer = dict[str, Any]
Heads = tuple[str, ...]

_WORKERS: tuple[Heads, ...] = (
    ("WORKER", "IN", "OUT", "QUEUED", "OLDEST", "RECEIVED/S", "DELIVERED/S", "DEFERRED/S", "COMMIT"),
    ("WORKER", "IN", "OUT", "QUEUED", "OLDEST", "RECEIVED/S", "DELIVERED/S", "DEFERRED/S", "COMMIT P99"),
    ("WORKER", "QUEUED", "OLDEST", "RECEIVED/S", "DELIVERED/S", "DEFERRED/S", "COMMIT P99"),
    ("WORKER", "QUEUED", "OLDEST", "DELIVERED/S", "DEFERRED/S", "COMMIT P99"),
)
_SITES: tuple[Heads, ...] = (
    ("SITE", "READY", "SENDING", "WINDOW", "DELIVERED", "STATE"),
    ("SITE", "READY", "SENDING", "STATE"),
)
_SITES_UNNAMED: tuple[Heads, ...] = (
    ("SITE", "READY", "SENDING", "WINDOW", "STATE"),
    ("SITE", "READY", "SENDING", "STATE"),
)


def drawn(told: Answer, width: int = WIDE, height: int = 0, *, note: str = "", keys: str = "") -> Group:
    """The answer of /api/v1/top. height: rows of a live screen, 0 = as many as it takes. note: what is wrong now."""
    head = _head(told, width, note)
    workers, sites = told["workers"], told["sites"][:SITES]
    shown = _shares(len(workers), len(sites), height - head.plain.count("\n") - len(COUNTED) - 9) if height else None
    parts: list[RenderableType] = [
        head,
        "",
        _rates(told, width),
        "",
        _workers(workers[: shown[0] if shown else None], width),
        *_more(len(workers) - shown[0] if shown else 0, "worker"),
        "",
        _sites(sites[: shown[1] if shown else None], width, live=bool(height)),
        *_more(len(told["sites"]) - (shown[1] if shown else len(sites)), "site"),
    ]
    return Group(*parts, *([Text(keys, style="dim")] if keys else []))


def _shares(workers: int, sites: int, room: int) -> tuple[int, int]:
    """How many of each fit into `room` lines: half for workers, the rest for sites, what they leave for workers."""
    few = max(_FEWEST, min(sites, room - min(workers, max(_FEWEST, room // 2))))
    return max(_FEWEST, min(workers, room - min(few, sites))), few


def _more(count: int, what: str) -> list[Text]:
    return [Text(f"and {counted(count, f'more {what}')}", style="dim")] if count > 0 else []


def _head(told: Answer, width: int, note: str) -> Text:
    """The sentence above the tables, broken where its parts end."""
    open_ = told["connections"]
    parts = [
        f"{told['queued']:,} queued, oldest {span(told['oldest_seconds'])}",
        f"connections {open_['in']:,} in, {open_['out']:,} out, {open_['idle']:,} idle",
        f"commit {_commit(told['commit'])}",
    ]
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    head = Text("\n".join(lines))
    if told.get("incomplete"):
        slots = ", ".join(f"slot-{slot:03d}" for slot in told["incomplete"])
        head.append(f"\nincomplete: {slots} did not answer", style="red")
    if note:
        head.append(f"\n{note}", style="red")
    return head


def _rates(told: Answer, width: int) -> Table:
    rows = []
    for name in COUNTED:
        rate = told["rates"][name]
        rows.append(
            {
                "PER SECOND": name,
                "NOW": f"{rate['now']:,.1f}",
                "1 MIN": f"{rate['minute']:,.1f}",
                "PEAK": f"{rate['peak']:,.0f}",
                "SINCE START": f"{told['totals'][name]:,}",
            }
        )
    return _table(rows, width, (("PER SECOND", "NOW", "1 MIN", "PEAK", "SINCE START"),))


def _workers(workers: list[Answer], width: int) -> Table:
    rows = []
    for one in workers:
        rates = one["rates"]
        rows.append(
            {
                "WORKER": f"slot-{one['slot']:03d}",
                "IN": f"{one['connections']['in']:,}",
                "OUT": f"{one['connections']['out']:,}",
                "QUEUED": f"{one['queued']:,}",
                "OLDEST": span(one["oldest_seconds"]) if one["queued"] else "",
                "RECEIVED/S": f"{rates['received']['now']:,.1f}",
                "DELIVERED/S": f"{rates['delivered']['now']:,.1f}",
                "DEFERRED/S": f"{rates['deferred']['now']:,.1f}",
                "COMMIT": _commit(one["commit"]),
                "COMMIT P99": _milliseconds(one["commit"]["p99"]),
            }
        )
    return _table(rows, width, _WORKERS)


def _sites(sites: list[Answer], width: int, *, live: bool) -> Table:
    rows = [
        {
            "SITE": clean(row["site"]),
            "READY": f"{row['ready']:,}",
            "SENDING": f"{row['sending']:,}",
            "WINDOW": f"{row['window']:,}",
            "DELIVERED": "" if row["delivered"] is None else f"{row['delivered']:,}",
            "STATE": f"at rest for {span(row['rest_seconds'])}" if row["rest_seconds"] else "",
        }
        for row in sites
    ]
    named = any(row["delivered"] is not None for row in sites)  # counted only for sites that have a name
    return _table(rows, width, _SITES if named else _SITES_UNNAMED, live=live)


def _commit(commit: Answer) -> str:
    if commit["median"] is None:
        return "none"
    return f"{_milliseconds(commit['median'])}, p99 {_milliseconds(commit['p99'])}"


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:g} ms"


def _table(rows: Sequence[dict[str, str]], width: int, heads: Sequence[Heads], *, live: bool = False) -> Table:
    """heads: the first of these that fit, else the last. The first column is a name: it has what the others leave of
    the width, and is cut there where the screen is `live`, else it goes on below."""
    for few in heads:
        widths = [max(len(head), *(len(row[head]) for row in rows)) if rows else len(head) for head in few]
        close = sum(widths) + 2 * (len(few) - 1) > width
        left = width - sum(widths[1:]) - (1 if close else 2) * (len(few) - 1)
        if left >= min(widths[0], _NAME):
            break
    name = max(len(few[0]), min(widths[0], left))
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=close)
    table.add_column(few[0], no_wrap=live, overflow="ellipsis" if live else "fold", min_width=name, max_width=name)
    for head, its in zip(few[1:], widths[1:], strict=True):
        at_left = head in ("COMMIT", "STATE")
        table.add_column(head, justify="left" if at_left else "right", no_wrap=True, min_width=its)
    for row in rows:
        table.add_row(*(row[head] for head in few))
    return table
