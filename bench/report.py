"""A run as JSON, and as tables for a terminal."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.machine import Machine
from bench.measure import FLOOR, Round
from bench.scenario import Scenario
from bench.summary import Spread, Summary

# path of a figure, head of its column, how it is written; a column stands where a relay has the figure
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("delivered_per_second", "delivered/s", "{:,.0f}"),
    ("more.calls_per_second", "calls/s", "{:,.0f}"),
    ("accepted_per_second", "accepted/s", "{:,.0f}"),
    ("cpu_ms", "CPU ms/msg", "{:.3f}"),
    ("latencies.call.p99", "call p99 ms", "{:,.1f}"),
    ("latencies.accept.p50", "accept p50 ms", "{:,.1f}"),
    ("latencies.accept.p99", "accept p99 ms", "{:,.1f}"),
    ("latencies.end_to_end.p50", "end to end p50 ms", "{:,.1f}"),
    ("latencies.end_to_end.p99", "end to end p99 ms", "{:,.1f}"),
    ("more.accepting_s", "accepting s", "{:.1f}"),
    ("more.loaded_s", "loaded s", "{:.1f}"),
    ("more.octets_per_message", "octets/msg", "{:,.0f}"),
    ("more.octets_per_client", "octets/client", "{:,.0f}"),
    ("more.idle_cpu_percent", "idle CPU %", "{:.1f}"),
    ("batches_per_second", "batches/s", "{:,.0f}"),
    ("messages_per_batch", "msg/batch", "{:.1f}"),
)
_NOT_OF_THE_FLOOR = frozenset({"accepted_per_second"})


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run found, as it is written. versions and configs: by relay (configs of its latest round).

    left_out: rounds that time did not allow. Nothing in it names a place on the machine (see `portable`).
    """

    began: str  # UTC, ISO 8601
    suite: str
    duration: float
    machine: Machine
    workers: int
    versions: dict[str, str]
    configs: dict[str, dict[str, str]]
    scenarios: list[Scenario]
    rounds: list[Round]
    summaries: list[Summary]
    broken: list[str] = []
    left_out: int = 0

    @property
    def name(self) -> str:
        """Date and commit, as its file is called; "changed" where the work tree differed from the commit."""
        return f"{self.began[:10]}-{self.machine.commit[:12] or 'unknown'}{'-changed' if self.machine.changed else ''}"

    def figure(self, scenario: str, relay: str, path: str) -> Spread | None:
        """What one relay showed in one scenario."""
        for one in self.summaries:
            if (one.scenario, one.relay) == (scenario, relay):
                return one.figures.get(path)
        return None


def portable(text: str, places: dict[str, Path]) -> str:
    """`text` with each of the `places` (longest first) replaced by its name in braces."""
    for name, place in sorted(places.items(), key=lambda item: -len(str(item[1]))):
        text = text.replace(str(place), "{" + name + "}")
    return text


def write(run: Run, path: Path) -> None:
    """As indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


def read(path: Path) -> Run:
    """What `write` wrote. msgspec.ValidationError when it is of another form."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def describe(run: Run) -> list[str]:
    """What the figures depend on, in lines."""
    machine = run.machine
    changed = " with changes" if machine.changed else ""
    return [
        f"commit {machine.commit[:12] or 'unknown'}{changed}; {machine.cpus} CPUs ({machine.cpu})"
        f"{' of a virtual machine' if machine.virtual else ''}, Linux {machine.kernel}; {run.workers} workers; "
        f"load {machine.load:.1f} before the run",
        f"{machine.disk.filesystem}: a sync alone takes {machine.disk.sync_p50_us:.0f} us "
        f"(p99 {machine.disk.sync_p99_us:.0f} us); "
        + ", ".join(f"{name} {version}" for name, version in run.versions.items()),
    ]


def table_of(run: Run, scenario: Scenario) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of one scenario, relays in their order; [] where nobody ran it."""
    ones = [one for one in run.summaries if one.scenario == scenario.name]
    columns = [column for column in COLUMNS if any(column[0] in one.figures for one in ones)]
    figure = scenario.figure
    heads = ["relay", *(head for _, head, _ in columns), "lowest-highest", "MB"]
    shown_form = next((form for path, _, form in COLUMNS if path == figure), "{:,.2f}")
    rivals = [name for name in ("bare", "postfix") if any(one.relay == name for one in ones)]
    word = "speed" if figure.endswith("per_second") else figure.rpartition(".")[2].replace("_", " ")
    heads += [f"CPU / {name}" for name in rivals] + [f"{word} / {name}" for name in rivals if figure != "cpu_ms"]
    if scenario.beside:
        heads.append("beside baseline")
    rows = []
    for one in ones:
        floor = one.relay == FLOOR
        row = [one.relay]
        for path, _, form in columns:
            spread = one.figures.get(path)
            row.append(form.format(spread.median) if spread and not (floor and path in _NOT_OF_THE_FLOOR) else "-")
        spread = one.figures.get(figure)
        row.append(f"{shown_form.format(spread.lowest)}-{shown_form.format(spread.highest)}" if spread else "-")
        pss = one.figures.get("pss")
        row.append(f"{pss.median / 2**20:,.0f}" if pss else "-")
        row += [_times(one.times.get(name, {}).get("cpu_ms")) for name in rivals]
        row += [_times(one.times.get(name, {}).get(figure)) for name in rivals if figure != "cpu_ms"]
        if scenario.beside:
            row.append(_times(one.beside.get(figure)))
        rows.append(row)
    return heads, rows


def show(run: Run, console: Console) -> None:
    """A table for each scenario, under lines about the machine."""
    for line in describe(run):
        console.print(line, highlight=False)
    for scenario in run.scenarios:
        heads, rows = table_of(run, scenario)
        if not rows:
            continue
        table = Table(title=scenario.title, title_justify="left", title_style="bold")
        table.add_column(heads[0])
        for head in heads[1:]:
            table.add_column(head, justify="right")
        for row in rows:
            table.add_row(*row, style="dim" if row[0] == FLOOR else "")
        console.print(table)
    for words in run.broken:
        console.print(f"BROKEN {words.splitlines()[0]}", style="red", highlight=False, markup=False)
    if run.left_out:
        console.print(f"{run.left_out} rounds were left out: the time was over", style="yellow")


def _times(ratio: float | None) -> str:
    return f"{ratio:.2f}" if ratio else "-"
