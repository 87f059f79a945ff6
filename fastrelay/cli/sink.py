"""`fastrelay sink`: a mail server that takes everything, counts it and throws it away; misbehaving on request."""

import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from fastrelay.cli.address import ADDRESS
from fastrelay.load import profile as profiles
from fastrelay.load import sinks
from fastrelay.load.sink import EXTENSIONS
from fastrelay.load.tally import Tally


@click.command()
@click.option(
    "--listen", type=ADDRESS, multiple=True, default=("127.0.0.1:2526",), show_default=True, help="Repeatable."
)
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="On the same addresses.")
@click.option(
    "--latency", multiple=True, metavar="[PHASE=]TIME", help="Wait before answering, as dot=50ms (default: dot)."
)
@click.option("--defer", multiple=True, metavar="[PHASE=]SHARE", help="Answer 4xx, as rcpt=5% (default: rcpt).")
@click.option("--reject", multiple=True, metavar="[PHASE=]SHARE", help="Answer 5xx, as rcpt=1% (default: rcpt).")
@click.option("--disconnect", multiple=True, metavar="[PHASE=]SHARE", help="Hang up (default: dot).")
@click.option("--without", multiple=True, metavar="EXTENSION", help="Do not offer it, as PIPELINING.")
@click.option("--name", default="sink.invalid", show_default=True, help="Host name in greeting and EHLO.")
@click.option("--ids", is_flag=True, help="Remember each marked message and recipient; count duplicates.")
@click.option(
    "--pairs", type=click.Path(dir_okay=False, writable=True), help="With --ids: write COUNT IDENT ADDRESS lines here."
)
@click.option("--seed", default=0, show_default=True, help="Of the shares: the same seed, the same behaviour.")
@click.option("--json", "as_json", is_flag=True, help="Statistics as one JSON line, at the end and on SIGUSR1.")
def sink(
    listen: tuple[tuple[str, int], ...],
    processes: int,
    latency: tuple[str, ...],
    defer: tuple[str, ...],
    reject: tuple[str, ...],
    disconnect: tuple[str, ...],
    without: tuple[str, ...],
    name: str,
    ids: bool,
    pairs: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Take mail, count it, throw it away.

    Phases: connect, ehlo, mail, rcpt, data, dot, quit. Ctrl-C ends it and prints the statistics; SIGUSR1 prints them
    on the way.

    Example:  fastrelay sink --listen 127.0.0.1:2526 --latency 50ms --defer 5%
    """
    settings = sinks.Settings(
        listen=listen,
        processes=processes,
        profile=profiles.parse(latency=latency, defer=defer, reject=reject, disconnect=disconnect),
        name=name,
        extensions=tuple(e for e in EXTENSIONS if e.split()[0] not in {word.upper() for word in without}),
        keep_pairs=ids or pairs is not None,
        seed=seed,
    )
    tally = sinks.run(settings, opened=_opened, shown=lambda some: _show(some, as_json))
    _show(tally, as_json)
    if pairs is not None:
        with open(pairs, "w", encoding="utf-8") as file:
            file.writelines(f"{count} {pair}\n" for pair, count in sorted(tally.pairs.items()))


def _opened(addresses: list[str]) -> None:
    print(f"sink: listening on {', '.join(addresses)}", file=sys.stderr, flush=True)


def _show(tally: Tally, as_json: bool) -> None:
    shown: dict[str, Any] = tally.statistics()
    if as_json:
        print(msgspec.json.encode(shown).decode(), flush=True)
        return
    table = Table(title="sink", show_header=False)
    domains, latencies = shown.pop("domains"), shown.pop("end_to_end_ms")
    for key, value in shown.items():
        table.add_row(key.replace("_", " "), f"{value:,}")
    if latencies["count"]:
        table.add_row("end to end ms", "  ".join(f"{k} {v:,}" for k, v in latencies.items() if k != "count"))
    for domain, count in list(domains.items())[:20]:
        table.add_row(f"  {domain}", f"{count:,}")
    if len(domains) > 20:
        table.add_row(f"  and {len(domains) - 20:,} more domains", "")
    Console().print(table)
