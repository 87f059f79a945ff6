"""Keeps a run in bench/results, and makes tables and plots of it: `python bench/tables.py [FILE] [--readme]`.

Without FILE the newest run kept. Written are bench/results/latest.md and the plots beside it; with --readme also what
stands between the markers in README.md.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

from bench import plots, report  # noqa: E402
from bench.measure import FLOOR  # noqa: E402
from bench.report import Run  # noqa: E402
from bench.summary import Summary  # noqa: E402

RESULTS = ROOT / "bench/results"
BEGIN, END = "<!-- measured: made by bench/tables.py -->", "<!-- end of measured -->"
_README = ("one_per_connection", "kept_open")


def store(run: Run) -> Path:
    """Keep a run under its name, make its tables and plots; where it is."""
    path = RESULTS / f"{run.name}.json"
    report.write(run, path)
    make(run)
    return path


def make(run: Run) -> None:
    """latest.md and the plots of a run."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for old in RESULTS.glob("*.svg"):
        old.unlink()
    drawn = plots.draw(run)
    for name, svg in drawn.items():
        (RESULTS / f"{name}.svg").write_text(svg, encoding="utf-8")
    (RESULTS / "latest.md").write_text(page(run, list(drawn)), encoding="utf-8")


def page(run: Run, drawn: list[str]) -> str:
    """latest.md."""
    lines = [
        f"# Run of {run.began[:10]}: {run.suite}, {run.duration:g} s a round",
        "",
        f"Made by `python bench/tables.py` from [{run.name}.json]({run.name}.json). Medians over the rounds; ratios "
        "are medians of the ratios of rounds with the same number. [The method](../README.md).",
        "",
        *(f"- {line}" for line in report.describe(run)),
    ]
    for scenario in run.scenarios:
        heads, rows = report.table_of(run, scenario)
        if rows:
            lines += ["", f"## {scenario.title}", "", *_markdown(heads, rows)]
    if run.broken:
        lines += ["", "## Broken", "", *(f"- {words.splitlines()[0]}" for words in run.broken)]
    if drawn:
        lines += ["", "## Plots", "", *(f"![{name.replace('_', ' ')}]({name}.svg)" for name in drawn)]
    return "\n".join(lines) + "\n"


def excerpt(run: Run) -> str:
    """The table for README.md."""
    first, second = _README
    rows = []
    for name in ("fastrelay", "compiled", "postfix", "exim", "haraka", "slimta", "bare", FLOOR):
        one, other = _summary(run, first, name), _summary(run, second, name)
        if one is None:
            continue
        version = f"{name} {run.versions[name]}" if name in run.versions else "floor: generator straight into the sink"
        rows.append([version, *_cells(one), *_cells(other)])
    heads = ["relay", "delivered/s", "CPU ms a message", "connection kept open: delivered/s", "CPU ms"]
    return "\n".join(
        [
            *_markdown(heads, rows),
            "",
            f"5 KB messages, 50 sessions, {run.workers} workers, every message synced before its 250; medians of "
            f"{max(one.rounds for one in run.summaries)} alternating rounds of {run.duration:g} s on one "
            f"{run.machine.cpus}-core {'virtual ' if run.machine.virtual else ''}machine that generator and sink share "
            f"(commit {run.machine.commit[:12]}, {run.began[:10]}). The whole run: "
            f"[bench/results/latest.md](bench/results/latest.md).",
        ]
    )


def _cells(one: Summary | None) -> list[str]:
    if one is None:
        return ["-", "-"]
    return [f"{one.figures['delivered_per_second'].median:,.0f}", f"{one.figures['cpu_ms'].median:.2f}"]


def _summary(run: Run, scenario: str, relay: str) -> Summary | None:
    return next((one for one in run.summaries if (one.scenario, one.relay) == (scenario, relay)), None)


def _markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def between_markers(text: str, inside: str) -> str:
    """`text` with `inside` between BEGIN and END. click.ClickException where they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise click.ClickException(f"README.md has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{after}"


@click.command(help=__doc__)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--readme", is_flag=True, help="Also the table in README.md.")
def main(file: Path | None, readme: bool) -> None:
    kept = sorted(RESULTS.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if file is None and not kept:
        raise click.ClickException("no run is kept in bench/results: python bench/run.py full --store")
    run = report.read(file or kept[-1])
    make(run)
    if readme:
        path = ROOT / "README.md"
        path.write_text(between_markers(path.read_text(encoding="utf-8"), excerpt(run)), encoding="utf-8")


if __name__ == "__main__":
    main()
