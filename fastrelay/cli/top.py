"""`fastrelay top`: what a running relay does, on a screen that lives."""

import time
from typing import Any

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastrelay.cli import exits
from fastrelay.cli.api import Api
from fastrelay.cli.columns import clean, span
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import load

_EVERY = 1.0  # seconds; the workers count by the second
_COUNTED = ("received", "delivered", "deferred", "bounced", "sessions")  # in the order of a message's life
_WIDE = 110  # columns; on fewer the tables are set closer
_SITES = 15  # that are shown; --json has up to 50 a worker
Answer = dict[str, Any]


@click.command()
@click.option("--once", is_flag=True, help="Print it once and end.")
@CONFIG_FILE
@AS_JSON
def top(file: str | None, as_json: bool, once: bool) -> int:
    """Show rates, workers, sites and commits, live; Ctrl-C ends it.

    Rates are per second: over the last three seconds, the last minute, and its best second. COMMIT is the time of one
    batch on disk. With --json, or into a pipe, it is printed once.

    Example:  fastrelay top --once
    """
    api = Api(load(file))
    told = api.get("top") or {}
    if as_json:
        print(msgspec.json.encode(told).decode())
        return _code(told)
    console = Console(highlight=False)
    if once or not console.is_terminal:
        if not console.is_terminal:
            console.width = _WIDE
        console.print(drawn(told, narrow=console.width < _WIDE))
        return _code(told)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(drawn(told, narrow=console.width < _WIDE), refresh=True)
                time.sleep(_EVERY)
                told = api.get("top") or {}
    except KeyboardInterrupt:
        return exits.OK


def _code(told: Answer) -> int:
    return exits.TEMPORARY if told.get("incomplete") else exits.OK


def drawn(told: Answer, *, narrow: bool = False) -> Group:
    """The answer of /api/v1/top; narrow: for 80 columns."""
    open_ = told["connections"]
    head = Text(
        f"{told['queued']:,} queued, oldest {span(told['oldest_seconds'])}; connections {open_['in']:,} in, "
        f"{open_['out']:,} out, {open_['idle']:,} idle; commit {_commit(told['commit'])}"
    )
    if told.get("incomplete"):
        slots = ", ".join(f"slot-{slot:03d}" for slot in told["incomplete"])
        head.append(f"\nincomplete: {slots} did not answer", style="red")
    return Group(head, "", _rates(told), "", _workers(told, narrow), "", _sites(told, narrow))


def _rates(told: Answer) -> Table:
    table = _table("PER SECOND", "NOW", "1 MIN", "PEAK", "SINCE START")
    for name in _COUNTED:
        rate = told["rates"][name]
        table.add_row(
            name, f"{rate['now']:,.1f}", f"{rate['minute']:,.1f}", f"{rate['peak']:,.0f}", f"{told['totals'][name]:,}"
        )
    return table


def _workers(told: Answer, narrow: bool) -> Table:
    heads = ("IN", "OUT", "QUEUED", "OLDEST", "RECEIVED/S", "DELIVERED/S", "DEFERRED/S")
    table = _table("WORKER", *heads, "COMMIT P99" if narrow else "COMMIT", narrow=narrow)
    for one in told["workers"]:
        rates = one["rates"]
        table.add_row(
            f"slot-{one['slot']:03d}",
            f"{one['connections']['in']:,}",
            f"{one['connections']['out']:,}",
            f"{one['queued']:,}",
            span(one["oldest_seconds"]) if one["queued"] else "",
            *(f"{rates[name]['now']:,.1f}" for name in ("received", "delivered", "deferred")),
            _milliseconds(one["commit"]["p99"]) if narrow else _commit(one["commit"]),
        )
    return table


def _sites(told: Answer, narrow: bool) -> Table:
    table = _table("SITE", "READY", "SENDING", "WINDOW", "DELIVERED", "STATE", narrow=narrow)
    for row in told["sites"][:_SITES]:
        delivered = "" if row["delivered"] is None else f"{row['delivered']:,}"
        rest = f"at rest for {span(row['rest_seconds'])}" if row["rest_seconds"] else ""
        table.add_row(
            clean(row["site"]), f"{row['ready']:,}", f"{row['sending']:,}", f"{row['window']:,}", delivered, rest
        )
    return table


def _commit(commit: Answer) -> str:
    if commit["median"] is None:
        return "none"
    return f"{_milliseconds(commit['median'])}, p99 {_milliseconds(commit['p99'])}"


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:g} ms"


def _table(first: str, *others: str, narrow: bool = False) -> Table:
    """Where there is no room it is the first column, a name, that goes on in the next line."""
    table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=narrow)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="left" if name in ("COMMIT", "STATE") else "right", no_wrap=True)
    return table
