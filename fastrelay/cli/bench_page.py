"""What `fastrelay bench` says at its end: tables for people, one tree for scripts."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fastrelay.load.delivery import Delivery
from fastrelay.load.plan import Plan
from fastrelay.load.result import Result

_BUSY = 0.9  # share of a processor above which the generator may be what is measured
_ROWS = {
    "connect": "connect to 220",
    "accept": "final dot to 250",
    "whole": "whole message",
    "late": "begun after due",
}
_MOST_ERRORS = 10


def tree(plan: Plan, processes: int, result: Result, delivery: Delivery | None) -> dict[str, Any]:
    """The JSON of a run."""
    shown = result.statistics()
    if delivery is not None:
        shown["delivered"] = delivery.statistics()
    shown["plan"] = {
        "to": f"{plan.host}:{plan.port}",
        "sessions": plan.sessions,
        "messages": plan.messages,
        "seconds": plan.seconds,
        "rate": plan.rate,
        "size": plan.sizes.text,
        "recipients": plan.recipients,
        "domains": len(plan.domains),
        "messages_per_session": plan.messages_per_session,
        "pipelining": plan.pipelining,
        "connect_only": plan.connect_only,
        "tls": plan.access.security.value,
        "auth": plan.access.credentials is not None,
        "warmup": plan.warmup,
        "processes": processes,
        "seed": plan.seed,
    }
    return shown


def show(plan: Plan, result: Result, delivery: Delivery | None, console: Console) -> None:
    """The tables of a run."""
    shown = result.statistics()
    loop = f"open loop, {plan.rate:g}/s" if plan.rate is not None else "closed loop"
    what = "connect, EHLO, QUIT" if plan.connect_only else f"{plan.sizes.text}, {plan.recipients} recipient(s)"
    console.print(f"{loop}, {plan.sessions} sessions, {what}", highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=SIMPLE, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name in ("sessions", "messages", "megabytes"):
        table.add_row(f"{name}/s", f"{shown[f'{name}_per_second']:,}")
    if delivery is not None:
        table.add_row("delivered/s", f"{delivery.per_second:,.1f}")
    for name in ("accepted", "visited", "refused", "failed", "missed", "warmed", "refused_recipients"):
        if shown[name] or name == "accepted":
            table.add_row(name.replace("_", " "), f"{shown[name]:,}")
    if delivery is not None:
        for name in ("arrived", "lost", "twice", "unknown"):
            table.add_row(name, f"{getattr(delivery, name):,}")
    table.add_row("seconds", f"{shown['seconds']:,}")
    console.print(table)
    times = Table("milliseconds", box=SIMPLE, pad_edge=False)
    for name in ("mean", "p50", "p90", "p99", "p99.9", "max"):
        times.add_column(name, justify="right", no_wrap=True)
    figures = {_ROWS[name]: shown[f"{name}_ms"] for name in _ROWS}
    if delivery is not None:
        figures["end to end"] = delivery.end_to_end.summary()
    for words, one in figures.items():
        if one["count"]:
            times.add_row(words, *(f"{value:,.2f}" for key, value in one.items() if key != "count"))
    console.print(times)
    errors = list(result.errors.items())
    for words, count in sorted(errors, key=lambda item: -item[1])[:_MOST_ERRORS]:
        console.print(f"{count:>8,}  {words}", markup=False, highlight=False)
    if len(errors) > _MOST_ERRORS:
        console.print(f"     and {len(errors) - _MOST_ERRORS} other texts: --json has them", highlight=False)
    if result.missed:
        console.print(f"{result.missed:,} messages were due and never sent: all sessions were busy. More --sessions?")
    if result.busiest > _BUSY:
        console.print("The generator was busy all the time: it may be what was measured. More --processes?")
