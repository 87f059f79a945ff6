"""Benchmarks of fastrelay beside the bare relay and its rivals. The method is told in bench/README.md."""

import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # bench/ and tests/ are folders of the repository, not of the installed package

import click  # noqa: E402
from rich.console import Console  # noqa: E402

from bench import against, machine, report, tables  # noqa: E402
from bench.backlog import Backlogs  # noqa: E402
from bench.kinds.table import KINDS  # noqa: E402
from bench.measure import Amount, Round, Stage  # noqa: E402
from bench.ours import Bare, Compiled, Fastrelay  # noqa: E402
from bench.processes import Broken  # noqa: E402
from bench.relay import Relay  # noqa: E402
from bench.rivals.exim import Exim  # noqa: E402
from bench.rivals.haraka import Haraka  # noqa: E402
from bench.rivals.postfix import Postfix  # noqa: E402
from bench.rivals.slimta import Slimta  # noqa: E402
from bench.scenario import Scenario, load_all  # noqa: E402
from bench.summary import figures_of, summarise  # noqa: E402
from bench.turns import Turn, turns  # noqa: E402
from fastrelay.config import parse_quantity  # noqa: E402
from fastrelay.errors import FastrelayError  # noqa: E402
from tests.peers import debian  # noqa: E402

RIVALS = (Postfix(), Exim(), Haraka(), Slimta())
RELAYS: dict[str, Relay] = {relay.name: relay for relay in (Fastrelay(), Compiled(), Bare(), *RIVALS)}
SUITES = {"quick": (("fastrelay", "bare"), "4s"), "full": (tuple(RELAYS), "12s")}
EX_UNAVAILABLE, EX_SOFTWARE = 69, 70
_WIDTH = 140  # columns
_MINUTE = 60.0


@click.command(help=__doc__)
@click.argument("suite", type=click.Choice(list(SUITES)))
@click.option("--relays", help=f"Which, by commas: {', '.join(RELAYS)}.  [default: the suite's, as the scenario says]")
@click.option(
    "--scenario", "names", multiple=True, help="A file of bench/scenarios; repeatable.  [default: the suite's]"
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of each; medians are shown.")
@click.option("--duration", help="Of load a round, as 30s.  [default: 4s for quick, 12s for full]")
@click.option("--messages", type=click.IntRange(100), help="A round, instead of what fits in --duration.")
@click.option("--at-most", default="60m", show_default=True, help="No new round after this time.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Of those that can be told.")
@click.option("--folder", default="/var/tmp", show_default=True, type=Path, help="On the disk to measure on.")
@click.option("--json", "json_file", type=Path, help="Write everything found there.")
@click.option("--store", is_flag=True, help="Keep as bench/results/DATE-COMMIT.json, with tables and plots.")
@click.option("--against", "earlier", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Compare with the JSON of an earlier run.")  # fmt: skip
@click.option("--floor/--no-floor", default=None, help="Also generator straight to sink.  [default: in full]")
def main(
    suite: str, relays: str | None, names: tuple[str, ...], rounds: int, duration: str | None, messages: int | None,
    at_most: str, workers: int, folder: Path, json_file: Path | None, store: bool, earlier: Path | None,
    floor: bool | None,
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, _stop)
    console, progress = _console(), _console(stderr=True)
    try:
        amount = Amount(parse_quantity(duration or SUITES[suite][1], "duration", "--duration"), messages or 0)
        limit = parse_quantity(at_most, "duration", "--at-most")
    except FastrelayError as error:
        raise click.UsageError(str(error)) from None
    scenarios = _scenarios(suite, names)
    chosen = _relays(relays.split(",") if relays else SUITES[suite][0], progress)
    plan = turns(
        scenarios, chosen, rounds, KINDS, floor=suite == "full" if floor is None else floor, as_asked=bool(relays)
    )
    began = datetime.now(UTC).isoformat(timespec="seconds")
    work = Path(tempfile.mkdtemp(prefix="fastrelay-bench-", dir=folder))
    work.chmod(0o755)  # Postfix's processes run as another account and must walk through
    bench = _Bench(work, amount, workers, progress)
    try:
        about = machine.describe(work)
        bench.carry_out(plan, limit)
    except Broken as error:
        raise SystemExit(f"bench: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    order = {name: n for n, name in enumerate(("floor", *(relay.name for relay in chosen)))}
    run = report.Run(
        began=began,
        suite=suite,
        duration=amount.duration,
        machine=about,
        workers=workers,
        versions={relay.name: relay.version() for relay in chosen},
        configs=bench.configs,
        scenarios=scenarios,
        rounds=bench.found,
        summaries=sorted(summarise(bench.found, scenarios), key=lambda one: order[one.relay]),
        broken=bench.broken,
        left_out=bench.left_out,
    )
    report.show(run, console)
    if earlier is not None:
        against.show(report.read(earlier), run, console)
    if json_file is not None:
        report.write(run, json_file)
    if store:
        console.print(f"kept as {tables.store(run).relative_to(ROOT)}", highlight=False)
    if bench.broken:
        raise SystemExit(EX_SOFTWARE)


class _Bench:
    """Carries turns out and gathers what came of them."""

    def __init__(self, work: Path, amount: Amount, workers: int, progress: Console) -> None:
        self.found: list[Round] = []
        self.configs: dict[str, dict[str, str]] = {}
        self.broken: list[str] = []
        self.left_out = 0
        self._out: set[tuple[str, str]] = set()  # (relay, scenario) that broke: not run again
        self._work = work
        self._amount = amount
        self._workers = workers
        self._progress = progress
        self._backlogs = Backlogs(work / "backlogs", workers)

    def carry_out(self, plan: list[Turn], limit: float) -> None:
        """Turn after turn, until `limit` seconds have passed."""
        began = time.monotonic()
        for done, turn in enumerate(plan):
            spent = time.monotonic() - began
            if spent > limit:
                self.left_out = len(plan) - done
                return
            name = turn.relay.name if turn.relay else "floor"
            if (name, turn.scenario.name) in self._out:
                continue
            left = f", {spent / done * (len(plan) - done) / _MINUTE:.0f} min left" if done else ""
            self._progress.print(f"[{done + 1}/{len(plan)}{left}] ", end="", markup=False, highlight=False)
            self._carry_out(turn, name)

    def _carry_out(self, turn: Turn, name: str) -> None:
        scenario = turn.scenario
        amount = Amount(self._amount.duration * scenario.share, self._amount.messages)
        stage = Stage(turn.relay, scenario, turn.number, amount, self._work / "round", self._workers, self._backlogs)
        try:
            one: Round = KINDS[scenario.kind].run(stage)
        except Broken as error:
            self._out.add((name, scenario.name))
            self.broken.append(report.portable(str(error), self._places(stage)))
            self._progress.print(f"BROKEN, no more of it: {error}", style="red", highlight=False, markup=False)
            return
        finally:
            stage.close()
        if stage.config:
            self.configs.setdefault(name, {})[scenario.name] = report.portable(stage.config, self._places(stage))
        self.found.append(one)
        self._tell(one, scenario)

    def _places(self, stage: Stage) -> dict[str, Path]:
        return {
            "folder": stage.folder,
            "peers": debian.UNPACKED,
            "repository": ROOT,
            "python": Path(sys.executable),
        }

    def _tell(self, one: Round, scenario: Scenario) -> None:
        figures = figures_of(one)
        cpu = f" {one.cpu_ms:6.3f} ms CPU" if one.cpu_ms and scenario.figure != "cpu_ms" else ""
        self._progress.print(
            f"round {one.number} {one.scenario:<22} {one.relay:<10} {one.messages:>8,} messages "
            f"{scenario.figure} {figures.get(scenario.figure, 0.0):,.3f}{cpu}",
            highlight=False,
        )


def _stop(*_: object) -> None:
    """TERM ends what was started and removes what was written, as Ctrl-C does."""
    raise KeyboardInterrupt


def _console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; into a file or pipe as wide as the tables are."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDTH)


def _scenarios(suite: str, names: tuple[str, ...]) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in load_all()}
    wanted = [name for word in names for name in word.split(",")]
    for name in wanted:
        if name not in known:
            raise click.BadParameter(f"{name}: known are {', '.join(known)}", param_hint="--scenario")
    if wanted:
        return [known[name] for name in wanted]
    return [scenario for scenario in known.values() if scenario.quick or suite == "full"]


def _relays(names: list[str] | tuple[str, ...], progress: Console) -> list[Relay]:
    chosen = []
    for name in names:
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


if __name__ == "__main__":
    main()
