"""Kill -9 a relay under load, again and again, and account for every message: `python tests/faults/kill_run.py --help`.

A generator hands marked messages to a relay of two workers, whose only next hop is a sink that defers a share of them.
At random moments every process of the relay, or one worker, or the master alone, or the admin child is killed with -9;
what is dead is started again on the same spool. When the load has ended and the queue is empty:

    lost        accepted (250 read by the generator) but never taken by the sink: must be 0
    duplicates  taken more than once: only recipients in delivery at a kill, or whose record was younger than 5 ms

Exit code 0 when nothing was lost and the duplicates are within what the kills explain, else 1. The seed is printed.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess

CONNECTIONS = 20  # to the sink, machine-wide: what can be in delivery at the moment of a kill
RIDE = 0.02  # seconds: 5 ms until a record is handed to the journal's thread, the rest until a busy machine runs it


@dataclass
class Account:
    """What became of everything. kills: by kind."""

    seed: int
    accepted: int = 0
    arrived: int = 0
    lost: list[str] = field(default_factory=list)
    duplicates: int = 0
    allowed: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.lost and self.duplicates <= self.allowed and self.accepted > 0

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        return (
            f"seed {self.seed}: {self.accepted} accepted, {self.arrived} arrived, {len(self.lost)} lost, "
            f"{self.duplicates} twice (the kills explain up to {self.allowed}); killed: {kills}; {self.seconds:.0f} s"
        )


def run(
    folder: Path, *, seed: int, messages: int, kills: int, kinds: tuple[str, ...] = ("tree",), sessions: int = 20,
    pause: tuple[float, float] = (0.3, 1.5), defer: str = "5%",
) -> Account:  # fmt: skip
    """One whole run in `folder`."""
    chance = random.Random(seed)
    account = Account(seed)
    began = time.monotonic()
    sink_port = debian.free_port()
    sink = subprocess.Popen(
        [*PROGRAM, "sink", "--listen", f"127.0.0.1:{sink_port}", "--pairs", str(folder / "arrived"), "--json",
         "--defer", f"rcpt={defer}", "--seed", str(seed)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert sink.stderr is not None and b"listening" in sink.stderr.readline()
    relay = RelayProcess(
        folder, next_hop=f"127.0.0.1:{sink_port}", delivery=[f"connections = {CONNECTIONS}"],
        spool=["segment_size = '4MiB'"],
    ).start()  # fmt: skip
    try:
        load = _load(relay, folder, messages, sessions, seed)
        for _ in range(kills):
            time.sleep(chance.uniform(*pause))
            kind = chance.choice(kinds)
            account.kills[kind] += 1
            _kill(relay, kind, chance)
        load.wait(600)
        loaded = time.monotonic() - began
        relay.wait_empty(seconds=120)
        assert relay.stop() == 0, relay.said()
    finally:
        relay.kill()
        sink.send_signal(signal.SIGINT)
        sink.wait(20)
        sink.stderr.close()
    _account(folder, account, kills, loaded)
    account.seconds = time.monotonic() - began
    return account


def _load(relay: RelayProcess, folder: Path, messages: int, sessions: int, seed: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*PROGRAM, "bench", "--to", f"127.0.0.1:{relay.port}", "--messages", str(messages), "--sessions", str(sessions),
         "--size", "5KB", "--seed", str(seed), "--pairs", str(folder / "accepted"), "--json"],
        stdout=(folder / "bench.json").open("wb"), stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _kill(relay: RelayProcess, kind: str, chance: random.Random) -> None:
    """One kill, and what an operator's service manager would do after it."""
    assert relay.process is not None
    if kind == "tree":
        relay.kill()
        relay.start(seconds=60)
        return
    if kind == "master":
        children = relay.children()
        os.kill(relay.pid, signal.SIGKILL)
        relay.process.wait(10)
        debian.wait_until(lambda: not any(_alive(pid) for pid in children), 20, "the orphans to stop")
        relay.start(seconds=60)
        return
    workers = relay.workers()
    victims = workers if kind == "worker" else [pid for pid in relay.children() if pid not in workers]
    if victims:
        os.kill(chance.choice(victims), signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _account(folder: Path, account: Account, kills: int, loaded: float) -> None:
    arrived = {}
    for line in (folder / "arrived").read_text().splitlines():
        count, _, pair = line.partition(" ")
        arrived[pair] = int(count)
    accepted = (folder / "accepted").read_text().splitlines()
    account.accepted = len(accepted)
    account.arrived = len(arrived)
    account.lost = [pair for pair in accepted if pair not in arrived]
    account.duplicates = sum(count - 1 for count in arrived.values())
    rate = len(arrived) / loaded  # messages a second
    account.allowed = int(kills * (CONNECTIONS + rate * RIDE))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--kinds", default="tree", help="of tree,worker,master,admin (default: tree)")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="fastrelay-kill-"))
    account = run(
        folder, seed=chosen.seed, messages=chosen.messages, kills=chosen.kills, kinds=tuple(chosen.kinds.split(",")),
        sessions=chosen.sessions,
    )  # fmt: skip
    print(account)
    if account.good:
        shutil.rmtree(folder)
        return 0
    print(f"kept for inspection: {folder}")
    for pair in account.lost[:10]:
        print(f"lost: {pair}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
