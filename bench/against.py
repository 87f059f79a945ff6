"""A run held against an earlier one, for before and after a change.

Two runs stand in different minutes of a machine that others use too, so beside the plain ratio stands the one that
divides the drift out: what the bare relay, whose code rarely changes, did in both runs.
"""

from rich.console import Console
from rich.table import Table

from bench.report import Run

YARDSTICK = "bare"


def compare(before: Run, after: Run) -> list[tuple[str, str, str, float, float, float, float | None]]:
    """(scenario, relay, figure, before, after, after/before, the same with the yardstick's drift divided out)."""
    found = []
    for one in after.summaries:
        scenario = next(scenario for scenario in after.scenarios if scenario.name == one.scenario)
        for path in dict.fromkeys((scenario.figure, "cpu_ms")):
            old, new = before.figure(one.scenario, one.relay, path), one.figures.get(path)
            if old is None or new is None or not old.median or not new.median:
                continue
            ratio = new.median / old.median
            drift = _drift(before, after, one.scenario, path)
            found.append(
                (one.scenario, one.relay, path, old.median, new.median, ratio, ratio / drift if drift else None)
            )
    return found


def _drift(before: Run, after: Run, scenario: str, path: str) -> float | None:
    old, new = before.figure(scenario, YARDSTICK, path), after.figure(scenario, YARDSTICK, path)
    return new.median / old.median if old and new and old.median and new.median else None


def show(before: Run, after: Run, console: Console) -> None:
    """As a table."""
    table = Table(title=f"against {before.name}", title_justify="left", title_style="bold")
    table.add_column("scenario")
    table.add_column("relay")
    table.add_column("figure")
    for head in ("before", "after", "after/before", f"less the drift of {YARDSTICK}"):
        table.add_column(head, justify="right")
    for scenario, relay, path, old, new, ratio, steady in compare(before, after):
        table.add_row(
            scenario, relay, path, f"{old:,.3f}", f"{new:,.3f}", f"{ratio:.3f}", f"{steady:.3f}" if steady else "-"
        )
    console.print(table)
