"""Benchmarks of fastrelay beside the bare relay and its rivals. The method is told in bench/README.md."""

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # bench/ and tests/ are folders of the repository, not of the installed package

import click  # noqa: E402
from rich.console import Console  # noqa: E402

from bench import machine, measure, report  # noqa: E402
from bench.ours import Bare, Fastrelay  # noqa: E402
from bench.processes import Broken  # noqa: E402
from bench.relay import Relay  # noqa: E402
from bench.rivals.postfix import Postfix  # noqa: E402
from bench.scenario import Scenario, load_all  # noqa: E402

RELAYS: dict[str, Relay] = {relay.name: relay for relay in (Fastrelay(), Bare(), Postfix())}
EX_UNAVAILABLE, EX_SOFTWARE = 69, 70
_QUICK, _FULL = 2.0, 30.0  # seconds of load a round
_WIDTH = 120  # columns


@click.command(help=__doc__)
@click.argument("preset", type=click.Choice(["quick", "full"]))
@click.option("--relays", default=",".join(RELAYS), show_default=True, help="Which, in which order.")
@click.option("--scenarios", "names", default="", help="Names of files in bench/scenarios.  [default: the preset's]")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of each; medians are shown.")
@click.option("--duration", type=float, help="Seconds of load a round.  [default: 2 for quick, 30 for full]")
@click.option("--messages", type=click.IntRange(100), help="A round, instead of what fits in --duration.")
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1), help="Of fastrelay and the bare relay."
)
@click.option("--folder", default="/var/tmp", show_default=True, type=Path, help="On the disk to measure on.")
@click.option("--json", "json_file", type=Path, help="Write everything found there.")
@click.option("--floor/--no-floor", default=True, show_default=True, help="Also smtp-source straight to smtp-sink.")
def main(
    preset: str, relays: str, names: str, rounds: int, duration: float | None, messages: int | None, workers: int,
    folder: Path, json_file: Path | None, floor: bool,
) -> None:  # fmt: skip
    console, progress = _console(), _console(stderr=True)
    scenarios = _scenarios(preset, names)
    chosen = _relays(relays, progress)
    amount = measure.Amount(duration or (_QUICK if preset == "quick" else _FULL), messages or 0)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    work = Path(tempfile.mkdtemp(prefix="fastrelay-bench-", dir=folder))
    work.chmod(0o755)  # Postfix's processes run as another account and must walk through
    found: list[measure.Round] = []
    configs: dict[str, str] = {}
    broken: dict[str, str] = {}
    try:
        about = machine.describe(work)
        for number in range(1, rounds + 1):
            for scenario in scenarios:
                turn = chosen[(number - 1) % len(chosen) :] + chosen[: (number - 1) % len(chosen)]
                for relay in turn:
                    if relay.name in broken:
                        continue
                    try:
                        one, setup = measure.relay_round(relay, scenario, number, amount, work / "round", workers)
                    except Broken as error:
                        broken[relay.name] = str(error)
                        progress.print(f"BROKEN, no more of it: {error}", style="red", highlight=False, markup=False)
                        continue
                    configs[relay.name] = setup.config
                    found.append(one)
                    _tell(progress, one)
                if floor:
                    found.append(measure.floor_round(scenario, number, amount, work / "round"))
                    _tell(progress, found[-1])
    except Broken as error:
        raise SystemExit(f"bench: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names_in_order = {name: n for n, name in enumerate((measure.FLOOR, *(relay.name for relay in chosen)))}
    run = report.Run(
        began=began,
        machine=about,
        workers=workers,
        versions={relay.name: relay.version() for relay in chosen},
        configs=configs,
        scenarios=scenarios,
        rounds=found,
        summaries=sorted(measure.summarise(found), key=lambda one: names_in_order[one.relay]),
        broken=list(broken.values()),
    )
    report.show(run, console)
    if json_file is not None:
        report.write(run, json_file)
    if broken:
        raise SystemExit(EX_SOFTWARE)


def _console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; into a file or pipe as wide as the tables are."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDTH)


def _scenarios(preset: str, names: str) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in load_all()}
    if names:
        for name in names.split(","):
            if name not in known:
                raise click.BadParameter(f"{name}: known are {', '.join(known)}", param_hint="--scenarios")
        return [known[name] for name in names.split(",")]
    return [scenario for scenario in known.values() if scenario.quick or preset == "full"]


def _relays(names: str, progress: Console) -> list[Relay]:
    chosen = []
    for name in names.split(","):
        if name not in RELAYS:
            raise click.BadParameter(f"{name}: known are {', '.join(RELAYS)}", param_hint="--relays")
        if why := RELAYS[name].missing():
            progress.print(f"left out: {name}: {why}", style="yellow", highlight=False)
        else:
            chosen.append(RELAYS[name])
    if not chosen:
        progress.print("none of the relays can run here")
        raise SystemExit(EX_UNAVAILABLE)
    return chosen


def _tell(progress: Console, one: measure.Round) -> None:
    progress.print(
        f"round {one.number} {one.scenario:<20} {one.relay:<10} {one.messages:>6} messages "
        f"{one.delivered_per_second:>7,.0f} delivered/s {one.cpu_ms:6.3f} ms CPU",
        highlight=False,
    )


if __name__ == "__main__":
    main()
