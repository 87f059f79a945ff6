"""A run as JSON and as tables."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import Machine
from bench.measure import FLOOR, Round, Summary
from bench.scenario import Scenario


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run found, as it is written. versions and configs: by relay."""

    began: str  # UTC, ISO 8601
    machine: Machine
    workers: int
    versions: dict[str, str]
    configs: dict[str, str]
    scenarios: list[Scenario]
    rounds: list[Round]
    summaries: list[Summary]
    broken: list[str] = []


def write(run: Run, path: Path) -> None:
    """As indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def show(run: Run, console: Console) -> None:
    """A table for each scenario, under a line about the machine."""
    machine = run.machine
    changed = " with changes" if machine.changed else ""
    console.print(
        f"commit {machine.commit[:12] or 'unknown'}{changed}; {machine.cpus} CPUs"
        f"{' of a virtual machine' if machine.virtual else ''}, Linux {machine.kernel}; {run.workers} workers; "
        f"load {machine.load:.1f} before the run",
        f"{machine.disk.filesystem} at {machine.disk.folder}: a sync alone takes {machine.disk.sync_p50_us:.0f} us"
        f" (p99 {machine.disk.sync_p99_us:.0f} us)",
        sep="\n",
        highlight=False,
    )
    for scenario in run.scenarios:
        table = Table(title=f"{scenario.title}; {scenario.sessions} sessions", title_justify="left", title_style="bold")
        table.add_column("relay")
        columns = ("delivered/s", "lowest-highest", "accepted/s", "CPU ms/msg", "MB", "x bare CPU", "x Postfix/s",
                   "Postfix/own CPU")  # fmt: skip
        for name in columns:
            table.add_column(name, justify="right")
        for one in run.summaries:
            if one.scenario == scenario.name:
                table.add_row(*_row(one), style="dim" if one.relay == FLOOR else "")
        console.print(table)
    for words in run.broken:
        console.print(f"BROKEN {words.splitlines()[0]}", style="red", highlight=False, markup=False)


def _row(one: Summary) -> list[str]:
    floor = one.relay == FLOOR
    fewer = one.times_cpu.get("postfix", 0.0)
    return [
        one.relay,
        f"{one.delivered_per_second:,.0f}",
        f"{one.lowest:,.0f}-{one.highest:,.0f}",
        "-" if floor else f"{one.accepted_per_second:,.0f}",
        f"{one.cpu_ms:.3f}",
        "-" if floor else f"{one.pss / 2**20:.0f}",
        _times(one.times_cpu.get("bare", 0.0)),
        "-" if floor else _times(one.times_delivered.get("postfix", 0.0)),
        "-" if floor or not fewer else _times(1 / fewer),
    ]


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio else "-"
