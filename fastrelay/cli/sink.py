"""`fastrelay sink`: a mail server that takes everything, counts it and throws it away; misbehaving on request."""

import sys
from dataclasses import replace
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from fastrelay.cli import exits
from fastrelay.cli.address import ADDRESS
from fastrelay.cli.options import AS_JSON
from fastrelay.load import profile as profiles
from fastrelay.load import sinks
from fastrelay.load.limits import NO_LIMITS
from fastrelay.load.providers import PROFILES
from fastrelay.load.sink import EXTENSIONS
from fastrelay.load.tally import Difference, Tally


@click.command()
@click.option(
    "--listen", type=ADDRESS, multiple=True, default=("127.0.0.1:2526",), show_default=True, help="Repeatable."
)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N", help="On the same addresses."
)
@click.option(
    "--latency", "--latency-at", "latency", multiple=True, metavar="[PHASE=]TIME",
    help="Wait before answering, as dot=50ms (default: dot).",
)  # fmt: skip
@click.option("--defer", multiple=True, metavar="[PHASE=]SHARE", help="Answer 4xx, as rcpt=5% (default: rcpt).")
@click.option("--reject", multiple=True, metavar="[PHASE=]SHARE", help="Answer 5xx, as rcpt=1% (default: rcpt).")
@click.option("--disconnect", multiple=True, metavar="[PHASE=]SHARE", help="Hang up (default: dot).")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="Limits as such a mailbox provider has told them.")
@click.option("--max-connections", type=click.IntRange(1), metavar="N", help="421 to those above, over all processes.")
@click.option("--max-per-client", type=click.IntRange(1), metavar="N", help="The same for each client address.")
@click.option("--max-recipients", type=click.IntRange(1), metavar="N", help="Of a message; 452 to the others.")
@click.option("--max-messages", type=click.IntRange(1), metavar="N", help="Of a connection; then 421.")
@click.option("--one-domain", is_flag=True, help="451 to recipients of a second domain in a message.")
@click.option("--certificate", type=click.Path(dir_okay=False), default="", help="PEM, leaf first: offer TLS with it.")
@click.option("--key", type=click.Path(dir_okay=False), default="", help="PEM; in the certificate's file by default.")
@click.option(
    "--tls", type=click.Choice(["starttls", "implicit"]), default="starttls", show_default=True,
    help="With --certificate.",
)  # fmt: skip
@click.option("--without", multiple=True, metavar="EXTENSION", help="Do not offer it, as PIPELINING.")
@click.option("--name", default="sink.invalid", show_default=True, help="Host name in greeting and EHLO.")
@click.option("--ids", is_flag=True, help="Remember each marked message and recipient; count duplicates.")
@click.option(
    "--pairs", type=click.Path(dir_okay=False, writable=True), help="Write COUNT IDENT ADDRESS lines here. Takes --ids."
)
@click.option(
    "--against", type=click.Path(dir_okay=False), help="What bench --pairs wrote: count what is lost. Takes --ids."
)
@click.option(
    "--seed", default=0, show_default=True, metavar="N", help="Of the shares: the same seed, the same behaviour."
)
@AS_JSON
def sink(
    listen: tuple[tuple[str, int], ...],
    processes: int,
    latency: tuple[str, ...],
    defer: tuple[str, ...],
    reject: tuple[str, ...],
    disconnect: tuple[str, ...],
    profile: str | None,
    max_connections: int | None,
    max_per_client: int | None,
    max_recipients: int | None,
    max_messages: int | None,
    one_domain: bool,
    certificate: str,
    key: str,
    tls: str,
    without: tuple[str, ...],
    name: str,
    ids: bool,
    pairs: str | None,
    against: str | None,
    seed: int,
    as_json: bool,
) -> int:
    """Take mail, count it, throw it away.

    Phases: connect, ehlo, mail, rcpt, data, dot, quit. Ctrl-C or TERM ends it and prints the statistics; SIGUSR1 prints
    them on the way. Messages of `fastrelay bench` carry a mark: of those it tells the time from end to end, with --ids
    what came twice, and with --against what never came (read at the end; exit code 69 for either).

    \b
    Example:  fastrelay sink --listen 127.0.0.1:2526 --latency 50ms --defer 5%
    fastrelay sink --latency connect=2s --disconnect data=1% --max-connections 100
    fastrelay sink --profile gmail-like --certificate mx.pem --processes 2
    """
    if key and not certificate:
        raise click.UsageError("--key goes with --certificate")
    told = PROFILES[profile] if profile is not None else NO_LIMITS
    limits = replace(
        told,
        connections=max_connections or told.connections,
        per_client=max_per_client or told.per_client,
        recipients=max_recipients or told.recipients,
        messages=max_messages or told.messages,
        one_domain=one_domain or told.one_domain,
    )
    settings = sinks.Settings(
        listen=listen,
        processes=processes,
        profile=profiles.parse(latency=latency, defer=defer, reject=reject, disconnect=disconnect),
        name=name,
        extensions=tuple(e for e in EXTENSIONS if e.split()[0] not in {word.upper() for word in without}),
        keep_pairs=ids or pairs is not None or against is not None,
        seed=seed,
        limits=limits,
        certificate=certificate,
        key=key,
        implicit=tls == "implicit",
    )
    tally = sinks.run(settings, opened=_opened, shown=lambda some: _show(some, None, as_json))
    difference = tally.difference(_accepted(against)) if against is not None else None
    _show(tally, difference, as_json)
    if pairs is not None:
        with open(pairs, "w", encoding="utf-8") as file:
            file.writelines(f"{count} {pair}\n" for pair, count in sorted(tally.pairs.items()))
    if difference is not None and (difference.lost or difference.duplicated):
        return exits.UNAVAILABLE
    return exits.OK


def _accepted(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8") as lines:
            return [line.rstrip("\n") for line in lines]
    except OSError as error:
        raise click.UsageError(f"--against {file}: {error.strerror}") from None


def _opened(addresses: list[str]) -> None:
    print(f"sink: listening on {', '.join(addresses)}", file=sys.stderr, flush=True)


def _show(tally: Tally, difference: Difference | None, as_json: bool) -> None:
    shown: dict[str, Any] = tally.statistics()
    if difference is not None:
        shown |= {"lost": len(difference.lost), "unknown": len(difference.unknown)}
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
