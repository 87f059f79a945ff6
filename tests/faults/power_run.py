"""The power goes after each deed of a spool's day: what a start finds then. `python tests/faults/power_run.py --help`.

The day (tests/peers/spool_day.py) runs once on a disk that writes down what is done to it. After each of its deeds the
states are made that a file system may be left in, a spool is started on each, crashes, and is started again; what it
finds must be in the account as that stood at that moment: nothing that was promised is missing, nothing that had ended
or been refused is back, no octet is wrong, no batch is half.

    names   what was made, moved or removed and not synced: every subset of it came to be (up to SUBSETS, else as many
            at random); each with unsynced octets dropped, kept, and zeroed
    cuts    the write under way ends at --cuts of its octets: at each where it is not longer
    torn    --rounds times at random: any subset of names, octets cut anywhere, blocks of 512 zeroed or another's

Exit code 1 when a start found what it should not, with the deed and the state. The seed is printed.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fastrelay.spool.disk import Disk
from tests.peers.power_disk import Deed, Loss, Past, PowerDisk, cut, cut_at, dropped, kept, torn, zeroed
from tests.peers.spool_day import Account, Day, Fate, day_box
from tests.peers.strongbox import TellingDisk

SUBSETS = 32
Keep = Callable[[Deed], bool]
State = tuple[str, Loss, Keep]  # its name, what is left of files, which unsynced names came to be
Moment = tuple[dict[bytes, Fate], tuple[tuple[bytes, bytes], ...]]  # what an account says: fates, together
States = Callable[[Past], Iterator[State]]  # those that are tried just where the past stands


class Recorded(NamedTuple):
    """A day that is over. moments: what its account said before the step of the same number."""

    past: Past
    moments: list[Moment]
    account: Account


class Tally(NamedTuple):
    """deeds: of the day. states: made and started on, twice each."""

    deeds: int
    states: int


class Witness(PowerDisk):
    """Notes the account at each step of the past."""

    def __init__(self, root: Path, account: Account) -> None:
        super().__init__(root)
        self._account = account
        self.moments: list[Moment] = []

    def _deed(self, verb: str, path: str) -> None:
        super()._deed(verb, path)
        self.note()

    def make_directory(self, path: str) -> bool:
        made = super().make_directory(path)
        self.note()
        return made

    def note(self) -> None:
        while len(self.moments) <= len(self.past.steps):
            self.moments.append((self._account.fates, self._account.together))


class QuickDisk(TellingDisk):
    """Nothing is lost: the power is back."""

    def sync(self, target: int | str) -> None:
        self._deed("sync", self._names.get(target, "") if isinstance(target, int) else target)


def recorded(folder: Path) -> Recorded:
    """The day, in an empty folder."""
    account = Account()
    disk = Witness(folder, account)
    for step in Day(day_box(folder, disk), account).steps():
        step()
    disk.note()
    return Recorded(disk.past, disk.moments, account)


def found_again(folder: Path, account: Account, moment: Moment, where: str) -> None:
    """A start on what is left, then another one."""
    left = Account()
    left.content, (left.fates, left.together) = account.content, moment
    disk: Disk = QuickDisk()
    life = Day(day_box(folder, disk), left)
    try:
        life.start()
        life.crash()
        life.start()
        life.put("z", 100)
        life.stop()
    except BaseException as error:
        error.add_note(where)
        raise


def after_each_deed(day: Recorded, folder: Path, states: States) -> Tally:
    """Every state after every deed; raises what a start found wrong."""
    past, moments, account = day
    n = tried = 0
    while past.advance():
        n += 1
        for name, loss, keep in states(past):
            past.left(folder, loss, keep)
            found_again(folder, account, moments[n], f"after deed {n} of {len(past.steps)}: {name}")
            shutil.rmtree(folder)
            tried += 1
    return Tally(n, tried)


def a_few(chance: random.Random) -> States:
    """What the suite has time for."""
    losses: list[State] = [
        ("all that was not synced is gone", dropped, lambda deed: False),
        ("all of it is there", kept, lambda deed: True),
        ("names are there, octets are not", zeroed, lambda deed: True),
        ("octets are there, names are not", kept, lambda deed: False),
    ]
    some: State = ("some", torn(chance), lambda deed: chance.random() < 0.5)
    in_a_write: list[State] = [("all but the last octets", cut, losses[1][2]), some, some, some, some]

    def states(past: Past) -> Iterator[State]:
        yield from losses
        yield from in_a_write if past.newest is not None else [some]

    return states


def thorough(chance: random.Random, cuts: int, rounds: int) -> States:
    """See above."""

    def states(past: Past) -> Iterator[State]:
        unsure = past.unsure
        every = 1 << len(unsure)
        for subset in range(every) if every <= SUBSETS else [chance.randrange(every) for _ in range(SUBSETS)]:
            there = [deed for n, deed in enumerate(unsure) if subset >> n & 1]
            for loss in (dropped, kept, zeroed):
                yield f"names {subset:b}, octets {loss.__name__}", loss, there.__contains__
        written = past.newest
        if written is not None:
            file, size = written
            for left in range(size) if size <= cuts else sorted(chance.sample(range(size), cuts)):
                yield f"{left} of {size} octets", cut_at(file, len(file.octets) - size + left), lambda deed: True
        for _ in range(rounds):
            yield "some", torn(chance), lambda deed: chance.random() < 0.5

    return states


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=100, help="of each write (default: 100)")
    parser.add_argument("--rounds", type=int, default=10, help="at random, after each deed (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fastrelay-power-") as name:
        folder = Path(name)
        (folder / "day").mkdir()
        states = thorough(random.Random(chosen.seed), chosen.cuts, chosen.rounds)
        tally = after_each_deed(recorded(folder / "day"), folder / "left", states)
    seconds = time.monotonic() - began
    print(f"{tally.deeds} deeds, {tally.states:,} states, {2 * tally.states:,} starts: nothing lost; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
