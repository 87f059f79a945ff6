"""`fastrelay bench`: load for a server, and how it stood it."""

import sys

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastrelay.cli import exits
from fastrelay.cli.address import ADDRESS
from fastrelay.config import parse_quantity
from fastrelay.load import generator
from fastrelay.load.plan import DOMAINS, Plan, Result


@click.command()
@click.option("--to", type=ADDRESS, default="127.0.0.1:2525", show_default=True, help="The server.")
@click.option("--sessions", default=50, show_default=True, type=click.IntRange(1, 20_000), help="At the same time.")
@click.option("--messages", type=click.IntRange(1), help="In all.  [default: 10000, or what --duration allows]")
@click.option("--duration", metavar="TIME", help="End after this time, as 30s.")
@click.option("--size", default="5KB", show_default=True, help="Octets of a message, headers included.")
@click.option("--recipients", default=1, show_default=True, type=click.IntRange(1, 1000), help="Per message.")
@click.option("--domain", "domains", multiple=True, metavar="NAME[=WEIGHT]", help="Recipient domain; repeatable.")
@click.option("--sender", default="sender@load.invalid", show_default=True, help="Envelope sender.")
@click.option("--reuse/--no-reuse", default=False, show_default=True, help="Keep each session's connection open.")
@click.option("--pipelining/--no-pipelining", default=True, show_default=True, help="Where it is offered.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="Of the generator.")
@click.option("--seed", default=0, show_default=True, help="Of the mix of domains.")
@click.option(
    "--pairs", type=click.Path(dir_okay=False, writable=True), help="Write IDENT ADDRESS of all accepted here."
)
@click.option("--i-own-this-target", "own", is_flag=True, help="The server is not this machine, and it is yours.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def bench(
    to: tuple[str, int],
    sessions: int,
    messages: int | None,
    duration: str | None,
    size: str,
    recipients: int,
    domains: tuple[str, ...],
    sender: str,
    reuse: bool,
    pipelining: bool,
    processes: int,
    seed: int,
    pairs: str | None,
    own: bool,
    as_json: bool,
) -> None:
    """Put load on a server and measure.

    Test messages from a fixed number of sessions at a time. Counts and latencies are of the way in: connect is the time
    to the greeting, accept the time from the end of the message to the answer. Exit code 69 when not every message was
    accepted.

    Example:  fastrelay bench --to 127.0.0.1:2525 --sessions 50 --duration 30s
    """
    plan = Plan(
        host=to[0],
        port=to[1],
        sessions=sessions,
        messages=messages if messages or duration else 10_000,
        seconds=parse_quantity(duration, "duration", "--duration") if duration else None,
        size=int(parse_quantity(size, "size", "--size")),
        recipients=recipients,
        domains=tuple(map(_weighted, domains)) or DOMAINS,
        sender=sender,
        reuse=reuse,
        pipelining=pipelining,
        keep_pairs=pairs is not None,
        seed=seed,
    )
    plan.check(own_target=own)
    result = _run(plan, processes)
    _show(result, as_json)
    if pairs is not None:
        with open(pairs, "w", encoding="utf-8") as file:
            file.writelines(f"{pair}\n" for pair in result.pairs)
    if result.refused or result.failed or result.refused_recipients:
        sys.exit(exits.UNAVAILABLE)


def _weighted(text: str) -> tuple[str, float]:
    name, equals, weight = text.partition("=")
    try:
        return name, float(weight) if equals else 1.0
    except ValueError:
        raise click.UsageError(f"--domain {text}: write a weight like example.com=2.5") from None


def _run(plan: Plan, processes: int) -> Result:
    columns = (
        TextColumn("{task.completed:,.0f} messages"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.speed:,.0f}/s"), TimeElapsedColumn(),
    )  # fmt: skip
    shown = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with shown:
        bar = shown.add_task("", total=plan.messages)
        return generator.run(plan, processes=processes, progress=lambda done: shown.update(bar, completed=done))


def _show(result: Result, as_json: bool) -> None:
    shown = result.statistics()
    if as_json:
        print(msgspec.json.encode(shown).decode())
        return
    errors, latencies = shown.pop("errors"), {name: shown.pop(f"{name}_ms") for name in ("connect", "accept")}
    table = Table(title="bench", show_header=False)
    for key, value in shown.items():
        table.add_row(key.replace("_", " "), f"{value:,}")
    console = Console()
    console.print(table)
    times = Table("milliseconds", "mean", "p50", "p90", "p99", "p99.9", "max")
    for name, one in latencies.items():
        times.add_row(name, *(f"{value:,.2f}" for key, value in one.items() if key != "count"))
    console.print(times)
    for words, count in list(errors.items())[:10]:
        console.print(f"{count:>8,}  {words}", markup=False, highlight=False)
