"""`fastrelay demo`: a relay, an internet for it and mail, all on this machine, and what came of it.

The relay is the real program on its embedded defaults, with a spool in a temporary folder; only what the stage needs is
configured: ports, the name server, permission to deliver to loopback, and retries after a second.
"""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fastrelay.cli import columns, exits
from fastrelay.cli.api import Api
from fastrelay.cli.options import AS_JSON
from fastrelay.config import load
from fastrelay.errors import MachineShort, PeerError
from fastrelay.load import generator
from fastrelay.load.account import Account
from fastrelay.load.internet import DOMAINS, Internet
from fastrelay.load.plan import Plan

CONFIG = """\
[server]
hostname = "relay.example"
workers = {workers}
runtime_dir = "{folder}/run"
[[listener]]
address = "127.0.0.1:{port}"
[spool]
path = "{folder}/spool"
[dns]
nameservers = ["{name_server}"]
[delivery]
port = {mail_port}
allow_private = true
[retry]
first = "1s"
max = "1s"
[admin]
address = ""
[log]
events = "{folder}/events.jsonl"
"""
_START = 30.0  # seconds for the relay to be ready
_STILL = 30.0  # seconds without a delivery after which we stop waiting for the rest
_LOOK = 0.05  # seconds between two looks


class Relay:
    """`fastrelay serve` in `folder`; a context manager that ends it. MachineShort when it does not start."""

    def __init__(self, folder: Path, internet: Internet, workers: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.file = folder / "fastrelay.toml"
        self.file.write_text(
            CONFIG.format(
                folder=folder,
                workers=workers,
                port=self.port,
                name_server=internet.name_server,
                mail_port=internet.port,
            )
        )
        self._said = folder / "stderr"
        with self._said.open("wb") as stderr:
            command = [sys.executable, "-m", "fastrelay.cli.main", "serve", "-c", str(self.file)]
            # a session of its own: Ctrl-C is ours to hear
            self._process = subprocess.Popen(command, stdout=stderr, stderr=stderr, start_new_session=True)
        self._api = Api(load(self.file))

    def __enter__(self) -> Self:
        latest = time.monotonic() + _START
        while "ready:" not in self._said.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > latest:
                self.stop()
                words = self._said.read_text(errors="replace").strip().splitlines()
                raise MachineShort(f"the relay did not start: {words[-1] if words else 'no word of it'}")
            time.sleep(_LOOK)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def queued(self) -> int:
        """Messages it has not done with."""
        try:
            told = self._api.get("status") or {}
        except PeerError:
            raise MachineShort(f"the relay has ended: {self._said.read_text(errors='replace')[-500:]}") from None
        return int(told["messages"])

    def stop(self) -> int:
        """TERM, and its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@click.command()
@click.option("--messages", default=1000, show_default=True, type=click.IntRange(1), help="In all, 5 KB each.")
@click.option("--sessions", default=20, show_default=True, type=click.IntRange(1, 1000), help="At the same time.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 128), help="Of the relay.")
@click.option("--keep", is_flag=True, help="Keep the folder with configuration, spool and event log.")
@AS_JSON
def demo(messages: int, sessions: int, workers: int, keep: bool, as_json: bool) -> int:
    """Relay mail through a small internet on this machine.

    Starts a relay, a name server and mail servers of five domains on loopback, sends messages through it and accounts
    for every one of them. Nothing leaves this machine. Exit code 69 if any was lost, came twice or was not taken.

    Example:  fastrelay demo --messages 10000
    """
    folder = Path(tempfile.mkdtemp(prefix="fastrelay-demo-"))
    account = None
    try:
        with Internet() as internet, Relay(folder, internet, workers) as relay:
            plan = Plan(
                host="127.0.0.1",
                port=relay.port,
                sessions=sessions,
                messages=messages,
                domains=tuple((domain.name, domain.weight) for domain in DOMAINS),
                sender="app@sender.example",
                hello="app.sender.example",
                keep_pairs=True,
            )
            account = _carry(plan, internet, relay)
    finally:
        good = account is not None and account.good
        if good and not keep:
            shutil.rmtree(folder)
    if as_json:
        print(msgspec.json.encode(account.statistics()).decode())
    else:
        _show(account, plan, workers)
    if keep or not good:
        print(f"configuration, spool and event log: {folder}", file=sys.stderr)
    return exits.OK if good else exits.UNAVAILABLE


def _carry(plan: Plan, internet: Internet, relay: Relay) -> Account:
    """Send, wait until all has arrived or nothing moves any more, and compare."""
    shape = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*shape, console=console, transient=True, disable=not console.is_terminal) as shown:
        taken = shown.add_task("accepted", total=plan.messages)
        arrived = shown.add_task("delivered", total=plan.messages)

        def progress(done: int) -> None:
            shown.update(taken, completed=done)
            shown.update(arrived, completed=internet.delivered())

        result = generator.run(plan, progress=progress)
        moved, before = time.monotonic(), -1
        while True:
            delivered, queued = internet.delivered(), relay.queued()
            shown.update(arrived, completed=delivered)
            if delivered != before:
                moved, before = time.monotonic(), delivered
            if (delivered >= result.recipients and not queued) or time.monotonic() - moved > _STILL:
                return Account(result, internet.tallies(), queued)
            time.sleep(_LOOK)


def _show(account: Account, plan: Plan, workers: int) -> None:
    shown, console = account.statistics(), Console(highlight=False, soft_wrap=True)
    print(
        f"{account.result.done:,} messages of {plan.sizes.text} from {plan.sessions} sessions through {workers} "
        f"workers,\neach synced to disk before its 250:\n"
    )
    ways = {domain.name: domain.way for domain in DOMAINS}
    rows: list[tuple[object, ...]] = [(name, ways[name], *line) for name, line in account.domains.items()]
    head = ("domain", "found by", "accepted", "delivered", "deferred", "lost", "twice")
    print("\n".join(columns.lines(head, [*rows, ("all", "", *account.total)])))
    times = (
        ("connect -> greeting", "connect_ms"),
        ("final dot -> 250", "accept_ms"),
        ("offered -> at its mail server", "delivery_ms"),
    )
    rows = [(words, *(f"{shown[key][name]:,.1f}" for name in ("p50", "p99", "max"))) for words, key in times]
    print("", *columns.lines(("milliseconds", "p50", "p99", "longest"), rows), "", sep="\n")
    print(
        f"{shown['sessions_per_second']:,.0f} sessions/s in, {shown['connections_out']:,} connections out, "
        f"{shown['seconds']:.1f} s until the last deferred one had arrived"
    )
    if account.good:
        console.print("Every message was accepted, and every accepted message arrived, once.", style="bold green")
        return
    for words, count in account.result.errors.items():
        console.print(f"{count:,} x {columns.clean(words)}", markup=False)
    console.print(
        f"NOT all well: {shown['refused']:,} not taken, {shown['lost']:,} lost, {shown['twice']:,} twice, "
        f"{shown['queued']:,} still queued",
        style="bold red",
    )
