"""Nanoseconds of each operation a message is made of: `python bench/micro/run.py [NAME...] [--json FILE]`.

Each is repeated for a fifth of a second, seven times; shown are the fastest (what the code costs) and the median (what
it costs on this machine now). Counted is the CPU time of the thread, so that others on the machine matter less: they
take caches, not time. The collector of cycles is on as in a worker after boot: frozen, at its usual thresholds.
"""

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402
import msgspec  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.machine import Machine, describe  # noqa: E402
from bench.micro.operations import OPERATIONS, Make  # noqa: E402

_TURNS = 7


class Timing(msgspec.Struct, frozen=True):
    """Nanoseconds of one operation."""

    fastest: float
    median: float


class Micro(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as it is written."""

    began: str
    machine: Machine
    nanoseconds: dict[str, Timing]


def measure(make: Make, folder: Path, seconds: float) -> Timing:
    """One operation, `seconds` a turn."""
    repeat = make(folder)
    repeat()
    count, took = 1, 0.0
    while (took := _timed(repeat, count)) < seconds / 10:  # how many fit
        count *= 2
    count = max(1, int(count * seconds / took))
    gc.collect()
    gc.freeze()
    turns = [_timed(repeat, count) / count * 1e9 for _ in range(_TURNS)]
    gc.unfreeze()
    return Timing(min(turns), statistics.median(turns))


def _timed(repeat: Callable[[], object], count: int) -> float:
    numbers = range(count)
    start = time.thread_time()
    for _ in numbers:
        repeat()
    return time.thread_time() - start


@click.command(help=__doc__)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--seconds", default=0.2, show_default=True, help="Of one turn; there are seven.")
@click.option("--folder", default="/var/tmp", show_default=True, type=Path, help="On a disk.")
@click.option("--json", "json_file", type=Path, help="Write it there as well.")
def main(names: tuple[str, ...], seconds: float, folder: Path, json_file: Path | None) -> None:
    for name in names:
        if name not in OPERATIONS:
            raise click.BadParameter(f"{name}: known are {', '.join(OPERATIONS)}")
    table = Table("operation", "what", title_justify="left")
    table.add_column("fastest ns", justify="right")
    table.add_column("median ns", justify="right")
    found: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory(prefix="fastrelay-micro-", dir=folder) as work:
        about = describe(Path(work))
        for name in names or OPERATIONS:
            make, place = OPERATIONS[name], Path(work) / name
            place.mkdir()
            found[name] = one = measure(make, place, seconds)
            table.add_row(name, (make.__doc__ or "").partition("\n")[0], f"{one.fastest:,.0f}", f"{one.median:,.0f}")
    Console().print(table)
    if json_file is not None:
        began = datetime.now(UTC).isoformat(timespec="seconds")
        run = Micro(began=began, machine=about, nanoseconds=found)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")


if __name__ == "__main__":
    main()
