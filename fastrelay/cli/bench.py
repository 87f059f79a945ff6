"""`fastrelay bench`: load for a server, and how it stood it."""

from contextlib import ExitStack

import click
import msgspec
from rich.console import Console

from fastrelay.cli import bench_page, exits
from fastrelay.cli.address import ADDRESS
from fastrelay.cli.bars import Bars
from fastrelay.cli.options import AS_JSON
from fastrelay.cli.quantity import DURATION, SHARE
from fastrelay.cli.way_in import AUTH, TLS, access_of
from fastrelay.load import generator
from fastrelay.load.delivery import Delivery
from fastrelay.load.mix import parse_domains
from fastrelay.load.plan import Plan
from fastrelay.load.result import Result
from fastrelay.load.sinks import Settings, Sinks
from fastrelay.load.sizes import parse_sizes


@click.command()
@click.option("--to", type=ADDRESS, default="127.0.0.1:2525", show_default=True, help="The server.")
@click.option(
    "--sessions", default=50, show_default=True, type=click.IntRange(1, 20_000), metavar="N", help="At the same time."
)
@click.option(
    "--messages", type=click.IntRange(1), metavar="N", help="In all.  [default: 10000, or what --duration allows]"
)
@click.option("--duration", type=DURATION, help="End after this time, as 30s.")
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), metavar="R", help="Open loop: so many a second, come what may."
)
@click.option(
    "--size",
    default="5KB",
    show_default=True,
    metavar="SIZES",
    help="Of a message, headers included; or a distribution.",
)
@click.option(
    "--recipients", default=1, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Per message."
)
@click.option(
    "--domain", "--domains", "domains", multiple=True, metavar="NAME[=WEIGHT],...|N[:PARENT]",
    help="Recipient domains by weight, or N of them; repeatable.",
)  # fmt: skip
@click.option("--sender", default="sender@load.invalid", show_default=True, help="Envelope sender.")
@click.option(
    "--messages-per-session", type=click.IntRange(1), metavar="N", help="Then a new connection.  [default: 1]"
)
@click.option("--reuse/--no-reuse", default=False, show_default=True, help="Keep each session's connection open.")
@click.option("--pipelining/--no-pipelining", default=True, show_default=True, help="Where it is offered.")
@click.option("--connect-only", is_flag=True, help="Connect, EHLO, QUIT; --messages counts those.")
@TLS
@AUTH
@click.option("--warmup", type=SHARE, default=0.0, help="Share that is sent first and not measured, as 10%.")
@click.option("--sink", type=ADDRESS, help="Be the server's next hop here, and measure from end to end.")
@click.option("--wait", type=DURATION, default="30s", show_default=True, help="With --sink: for the next arrival.")
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N", help="Of the generator."
)
@click.option(
    "--seed", default=0, show_default=True, metavar="N", help="Of sizes and domains: the same seed, the same messages."
)
@click.option(
    "--pairs", type=click.Path(dir_okay=False, writable=True), help="Write IDENT ADDRESS of all accepted here."
)
@click.option("--i-own-this-target", "own", is_flag=True, help="The server is not this machine, and it is yours.")
@AS_JSON
def bench(
    to: tuple[str, int],
    sessions: int,
    messages: int | None,
    duration: float | None,
    rate: float | None,
    size: str,
    recipients: int,
    domains: tuple[str, ...],
    sender: str,
    messages_per_session: int | None,
    reuse: bool,
    pipelining: bool,
    connect_only: bool,
    tls: str,
    auth: str | None,
    warmup: float,
    sink: tuple[str, int] | None,
    wait: float,
    processes: int,
    seed: int,
    pairs: str | None,
    own: bool,
    as_json: bool,
) -> int:
    """Put load on a server and measure.

    A closed loop keeps --sessions busy: each offers its next message when the last is answered. With --rate the loop is
    open: every message has its instant, and latencies count from there, so that a server that falls behind cannot slow
    the questions down and look fast.

    Latencies: connect, to the greeting; accept, from the final dot to its reply; whole, all of a message from when it
    was due; end to end, until its recipient's server had it (--sink, which must be the next hop of the server). They
    are told at most 0.8 % too high.

    \b
    Sizes: 5KB, uniform:1KB-20MB, lognormal:20KB,1.5 (median, sigma)
    or 5KB=90,1MB=9,20MB=1 (weights).

    Exit codes: 0, all was accepted (and arrived, once); 69, not all was, or it could not be offered in time; 130, ended
    by Ctrl-C.

    \b
    Example:  fastrelay bench --sessions 50 --duration 30s
    fastrelay bench --sink 127.0.0.1:2526 --rate 200 --messages 5000 --warmup 10%
    fastrelay bench --reuse --size 5KB=90,1MB=9,20MB=1 --domains a.test=3,b.test=1
    fastrelay bench --to 192.0.2.25:25 --i-own-this-target --tls --connect-only
    """
    plan = Plan(
        host=to[0],
        port=to[1],
        sessions=sessions,
        messages=messages if messages or duration else 10_000,
        seconds=duration,
        rate=rate,
        sizes=parse_sizes(size),
        recipients=recipients,
        domains=parse_domains(domains),
        sender=sender,
        messages_per_session=messages_per_session or (None if reuse else 1),
        pipelining=pipelining,
        connect_only=connect_only,
        access=access_of(tls, auth),
        warmup=warmup,
        keep_pairs=pairs is not None or sink is not None,
        seed=seed,
    )
    plan.check(own_target=own)
    if sink is not None and connect_only:
        raise click.UsageError("--connect-only sends no messages for a --sink")
    result, delivery = _run(plan, processes, sink, wait)
    if as_json:
        print(msgspec.json.encode(bench_page.tree(plan, processes, result, delivery)).decode())
    else:
        bench_page.show(plan, result, delivery, Console())
    if pairs is not None:
        with open(pairs, "w", encoding="utf-8") as file:
            file.writelines(f"{pair}\n" for pair in result.pairs)
    if result.stopped:
        return exits.INTERRUPTED
    return exits.OK if result.good and (delivery is None or delivery.good) else exits.UNAVAILABLE


def _run(plan: Plan, processes: int, sink: tuple[str, int] | None, patience: float) -> tuple[Result, Delivery | None]:
    with ExitStack() as stack:
        sinks = stack.enter_context(Sinks(Settings(listen=(sink,), keep_pairs=True))) if sink is not None else None
        bars = stack.enter_context(Bars())
        bars.begin("sessions" if plan.connect_only else "messages", plan.messages, plan.seconds)
        result = generator.run(plan, processes=processes, progress=bars.show)
        if sinks is None:
            return result, None
        bars.begin("arrived", len(result.pairs))
        tally, difference = sinks.wait(result.pairs, patience, bars.show)
        return result, Delivery.of(result, tally, difference)
