"""The plots of a run: name -> SVG. Only what the run has figures for is drawn."""

from bench import svg
from bench.report import Run

QUANTILES = ("p50", "p90", "p99", "p999", "max")
_COMPARED = ("one_per_connection", "kept_open", "large", "mixed_sizes", "ten_recipients")
# what grows -> its name on the axis; scenarios say in `curves` where they stand
_GROWING = {
    "sessions": "sessions at a time",
    "size": "octets of a message",
    "queued": "messages queued behind",
    "domains": "recipient domains",
}


def draw(run: Run) -> dict[str, str]:
    """Every plot."""
    drawn = {}
    for path, name, title, form in (
        ("delivered_per_second", "throughput", "Messages delivered a second", "{:,.0f}"),
        ("cpu_ms", "cpu", "CPU milliseconds a message, all processes of the relay", "{:.2f}"),
    ):
        groups = {
            _short(scenario.title): {
                one.relay: one.figures[path].median
                for one in run.summaries
                if one.scenario == scenario.name and path in one.figures
            }
            for scenario in run.scenarios
            if scenario.name in _COMPARED
        }
        if any(groups.values()):
            drawn[name] = svg.bars(title, {group: series for group, series in groups.items() if series}, form)
    drawn |= _latencies(run)
    for quantity, words in _GROWING.items():
        drawn |= _curve(run, quantity, words)
    return drawn


def _latencies(run: Run) -> dict[str, str]:
    """For each scenario with latencies: by quantile, its baseline beside it where it has one."""
    drawn = {}
    bases = {scenario.beside for scenario in run.scenarios}
    for scenario in run.scenarios:
        if scenario.name in bases:
            continue
        for kind, title in (("end_to_end", "from end to end"), ("accept", "from the final dot to the 250")):
            series = {
                one.relay if one.scenario == scenario.name else f"{one.relay}, baseline": [
                    (float(n), one.figures[f"latencies.{kind}.{quantile}"].median)
                    for n, quantile in enumerate(QUANTILES)
                    if f"latencies.{kind}.{quantile}" in one.figures
                ]
                for one in run.summaries
                if one.scenario in (scenario.name, scenario.beside)
            }
            series = {name: line for name, line in series.items() if line}
            if series:
                drawn[f"latency_{kind}_{scenario.name}"] = svg.lines(
                    f"{scenario.title}: {title}", series, x_name="quantile", y_name="milliseconds", log_y=True,
                    x_words={float(n): quantile.replace("p999", "p99.9") for n, quantile in enumerate(QUANTILES)},
                )  # fmt: skip
    return drawn


def _curve(run: Run, quantity: str, words: str) -> dict[str, str]:
    """CPU per message as something grows."""
    series: dict[str, list[tuple[float, float]]] = {}
    for scenario in run.scenarios:
        if quantity in scenario.curves:
            for one in run.summaries:
                if one.scenario == scenario.name and "cpu_ms" in one.figures:
                    point = (scenario.curves[quantity], one.figures["cpu_ms"].median)
                    series.setdefault(one.relay, []).append(point)
    series = {name: line for name, line in series.items() if len(line) > 1 and name != "floor"}
    if not series:
        return {}
    title = f"CPU milliseconds a message, by {words}"
    return {f"cost_by_{quantity}": svg.lines(title, series, x_name=words, y_name="ms", log_x=True)}


def _short(title: str) -> str:
    return title if len(title) <= 32 else title[:31].rstrip(" ,:") + "…"
