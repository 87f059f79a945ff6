"""Kill -9 a relay under load at named points, and account for every message (`kill_points.py --help`).

Where kill_run.py kills at any moment, this kills at those that matter (fatal_house.py), one after the other, in one
run: at each point the whole house or one worker ends, a new life starts on the same spool, the load goes on. The
account at the end is that of kill_run.py: nothing lost, every duplicate explained, no orphans.

Exit code 0 when that is so and every point was reached, else 1. The seed is printed.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.fatal_house import Point
from tests.faults.kill_run import Account, Kill, Killer, Load, campaign, concluded
from tests.peers import debian
from tests.peers.relay_process import RelayProcess

HOUSE = Path(__file__).parent / "fatal_house.py"
SEGMENT = "64KiB"  # a dozen messages of 5 KB: segments come and go all the time
MESSAGES = 200  # for each point
SHARED = 20  # batches of one worker behind which the other has mail too
AT_START = (Point.RECOVERY_READ, Point.RECOVERY_WRITE)
AT_ADOPTION = (Point.BEFORE_ADOPTION, Point.ADOPTED)
UNDER_LOAD = tuple(point for point in Point if point not in (*AT_START, *AT_ADOPTION))
_RARE = frozenset({Point.BEFORE_SEGMENT, Point.SEGMENT_EMPTY, Point.SEGMENT_UNNAMED, Point.RECOVERY_WRITE})


def at_points(points: Sequence[Point], victim: str, chance: random.Random) -> Killer:
    """Kills the victim once at each of the points, in order. A start is killed after a life that left it work; an
    adoption last of all and once, in a house of one worker after a life of two."""
    last = [point for point in AT_ADOPTION if point in points]

    def kill(relay: RelayProcess, load: Load, account: Account) -> None:
        for point in points:
            if point in AT_ADOPTION:
                continue
            if point in AT_START:
                _life(relay, load, account, Point.BATCH_UNSYNCED, "tree", 1 + chance.randrange(5))
            nth = 1 + chance.randrange(2 if point in _RARE else 5)
            _life(relay, load, account, point, victim, 1 if point is Point.RECOVERY_WRITE else nth)
        if last:
            _life(relay, load, account, Point.BATCH_UNSYNCED, "tree", SHARED)
            relay.config.write_text(relay.config.read_text().replace("workers = 2", "workers = 1"))
        for point in last:
            _life(relay, load, account, point, victim, 1)
        relay.start(seconds=60)

    return kill


def _life(relay: RelayProcess, load: Load, account: Account, point: Point, victim: str, nth: int) -> None:
    """Start a house, and see the victim killed at the NTH time of the point."""
    marker = relay.folder / "killed"
    marker.unlink(missing_ok=True)
    process = relay.launch(sys.executable, HOUSE, relay.config, victim, point.name, str(nth))

    def told() -> bool:
        return marker.exists() and bool(marker.read_text())

    def over() -> bool:
        assert load.is_alive() or told() or point in AT_ADOPTION, f"{point.value}: not reached before the load ended"
        return told() and (victim == "worker" or process.poll() is not None)

    debian.wait_until(over, 60, f"the end {point.value}")
    at, visit = map(float, marker.read_text().split())
    account.visit = max(account.visit, visit)
    if victim == "worker":
        debian.wait_until(
            lambda: "was killed" in relay.said() or process.poll() is not None, 20, "the death to be told"
        )
        relay.wait_metric("fastrelay_worker_restarts_total", 1)
        assert relay.stop() == 0, relay.said()
    account.kills.append(Kill(f"{victim} {point.value}", at, at))


def main() -> int:
    names = [point.name.lower().replace("_", "-") for point in Point]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", choices=names, action="append", help="repeatable (default: all)")
    parser.add_argument("--victim", choices=["tree", "worker"], default="tree")
    parser.add_argument("--rounds", type=int, default=1, help="of all points, in one run")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    points = [Point[name.upper().replace("-", "_")] for name in chosen.point or names] * chosen.rounds
    killer = at_points(points, chosen.victim, random.Random(chosen.seed))
    # a worker's sibling goes on taking mail while the death is told and the house drains
    messages = MESSAGES * (len(points) + 4) * (3 if chosen.victim == "worker" else 1)
    return concluded(
        chosen.seed,
        lambda folder: campaign(folder, killer, seed=chosen.seed, messages=messages, segment_size=SEGMENT, sessions=10),
    )


if __name__ == "__main__":
    sys.exit(main())
