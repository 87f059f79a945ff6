"""Kill -9 a relay under load, again and again, and account for every message: `python tests/faults/kill_run.py --help`.

A generator hands marked messages to a relay of two workers, whose only next hop is a sink that defers a share of them
and keeps a diary (tests/peers/timing_sink.py). At random moments every process of the relay, or one worker, or the
master alone, or the admin child is killed with -9, in turn; what is dead is started again on the same spool. When the
load has ended and the queue is empty:

    lost        accepted (250 read by the generator) but never taken by the sink: must be 0
    duplicates  taken again after a kill. By the diary each is one of
      in delivery   the last its connection took: its 250 may have been on its way, or unread in a buffer. At most one
                    for each of the CONNECTIONS, and none that had UNREAD seconds to be read
      on its way    its 250 had been read (the client's next word came), its record was not in the kernel: RIDE seconds
        to disk     until it is handed to the journal's thread, and as long as that thread is at the disk with the
                    batch before. The longest visit and the latest wake-up of this run are measured, and printed: on a
                    busy machine they are most of it
      unexplained   must be none; each is named, with its age
    orphans     recipients without a next event, by the audit each worker makes before it ends: must be 0

Exit code 0 when nothing was lost and every duplicate is explained, else 1. The seed is printed.
"""

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess

CONNECTIONS = 20  # to the sink, machine-wide: what can be in delivery at the moment of a kill
UNREAD = 0.25  # seconds: a worker looks at every socket once a turn; some turns wait for a core on a busy machine
RIDE = 0.005  # seconds until a record is handed to the journal's thread (spool/journal_thread.py)
WAKE_UPS = 3  # from a reply read to its record in the kernel: the alarm after RIDE, the thread, the thread at its write
KINDS = ("tree", "worker", "master", "admin")
SINK = Path(__file__).resolve().parents[1] / "peers" / "timing_sink.py"


@dataclass(frozen=True)
class Copy:
    """A message the sink took. read: when its 250 had been read, 0 if nobody can tell. Monotonic seconds."""

    taken: float
    read: float
    connection: int


@dataclass
class Kill:
    """One kill and what it explains. at: monotonic seconds when its first signal went out; over: when the last had."""

    kind: str
    at: float
    over: float
    in_delivery: int = 0
    to_disk: list[float] = field(default_factory=list)  # seconds their replies had been read before it

    def __str__(self) -> str:
        oldest = f", the oldest {1000 * max(self.to_disk):.1f} ms" if self.to_disk else ""
        return f"{self.kind}: {self.in_delivery} in delivery, {len(self.to_disk)} on their way to disk{oldest}"


@dataclass
class Account:
    """What became of everything. visit: the longest a thread was seen at the disk; lag: the latest a process of this
    machine was woken; seconds."""

    seed: int
    accepted: int = 0
    arrived: int = 0
    lost: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    visit: float = 0.0
    lag: float = 0.0
    orphans: int = 0
    audits: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.accepted > 0 and self.audits > 0 and not self.lost and not self.unexplained and not self.orphans

    def __str__(self) -> str:
        twice = sum(kill.in_delivery + len(kill.to_disk) for kill in self.kills)
        out = [
            f"seed {self.seed}: {self.accepted} accepted, {self.arrived} arrived, {len(self.lost)} lost, "
            f"{twice} twice, {len(self.unexplained)} unexplained, {self.orphans} orphans in {self.audits} audits; "
            f"a visit to the disk {1000 * self.visit:.0f} ms, a wake-up {1000 * self.lag:.0f} ms at most; "
            f"{self.seconds:.0f} s",
            *(f"  kill {n}, {kill}" for n, kill in enumerate(self.kills, 1)),
            *(f"  lost: {pair}" for pair in self.lost[:20]),
            *(f"  unexplained: {one}" for one in self.unexplained),
        ]
        return "\n".join(out)


Killer = Callable[[RelayProcess, "Load", Account], None]  # starts the relay, kills, leaves one that serves


def run(
    folder: Path, *, seed: int, messages: int, kills: int, kinds: tuple[str, ...] = ("tree",), sessions: int = 20,
    pause: tuple[float, float] = (0.3, 1.5), defer: float = 0.05,
) -> Account:  # fmt: skip
    """One whole run in `folder`, killed at random moments."""
    chance = random.Random(seed)

    def at_random(relay: RelayProcess, load: "Load", account: Account) -> None:
        relay.start()
        order = chance.sample(kinds, len(kinds))
        for n in range(kills):
            if not _wait_for_traffic(relay, load):
                break
            time.sleep(chance.uniform(*pause))  # no wait for a condition: the random moment
            account.visit = max(account.visit, _longest_visit(relay))
            _kill(relay, order[n % len(order)], chance, account.kills)

    return campaign(folder, at_random, seed=seed, messages=messages, sessions=sessions, defer=defer)


def campaign(
    folder: Path, killer: Killer, *, seed: int, messages: int, sessions: int = 20, defer: float = 0.05,
    segment_size: str = "4MiB",
) -> Account:  # fmt: skip
    """Load through a relay in `folder` while `killer` does its work, to the last message; then the account of it."""
    account = Account(seed)
    began = time.monotonic()
    sink_port = debian.free_port()
    diary = folder / "diary"
    sink = subprocess.Popen(
        [sys.executable, SINK, str(sink_port), diary, str(defer), str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert sink.stdout is not None and "listening" in sink.stdout.readline()
    relay = RelayProcess(
        folder, next_hop=f"127.0.0.1:{sink_port}", delivery=[f"connections = {CONNECTIONS}"],
        spool=[f"segment_size = '{segment_size}'"],
    )  # fmt: skip
    lag = _Lag()
    try:
        load = Load(relay, folder, messages, sessions, seed)
        killer(relay, load, account)
        load.join(600)
        assert not load.is_alive(), "the load did not come to its end"
        relay.wait_empty(seconds=120)
        account.visit = max(account.visit, _longest_visit(relay))
        assert relay.stop() == 0, relay.said()
    finally:
        relay.kill()
        sink.send_signal(signal.SIGINT)
        sink.wait(20)
        sink.stdout.close()
    account.lag = lag.end()
    _account(account, load.accepted, diary.read_text(), relay)
    account.seconds = time.monotonic() - began
    return account


class Load(threading.Thread):
    """Generators one after the other, until so many messages got 250: what a dead relay refuses is sent anew."""

    def __init__(self, relay: RelayProcess, folder: Path, messages: int, sessions: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.accepted: list[str] = []
        self._relay = relay
        self._pairs = folder / "accepted"
        self._wanted = messages
        self._words = ["--sessions", str(sessions), "--size", "5KB", "--seed", str(seed)]
        self.start()

    def run(self) -> None:
        while (left := self._wanted - len(self.accepted)) > 0:
            debian.wait_until(lambda: debian.listens(self._relay.port), 60, "the relay to listen")
            debian.run(
                [*PROGRAM, "bench", "--to", f"127.0.0.1:{self._relay.port}", "--messages", str(left), *self._words,
                 "--pairs", self._pairs, "--json"],
                seconds=600,
            )  # fmt: skip
            self.accepted += self._pairs.read_text().splitlines()


class _Lag(threading.Thread):
    """How late this machine wakes a process that has asked to be woken. worst: seconds, of the whole run."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worst = 0.0
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            before = time.monotonic()
            time.sleep(0.001)
            self.worst = max(self.worst, time.monotonic() - before - 0.001)

    def end(self) -> float:
        self._over.set()
        self.join()
        return self.worst


def _wait_for_traffic(relay: RelayProcess, load: Load) -> bool:
    """Until mail comes in; False when the load has come to its end before."""
    name = "fastrelay_messages_received_total"
    before = relay.metric(name)
    debian.wait_until(lambda: relay.metric(name) > before or not load.is_alive(), 60, "mail to come in")
    return load.is_alive()


def _longest_visit(relay: RelayProcess) -> float:
    """The bound of the highest bucket of fastrelay_spool_commit_seconds that holds anything: who waited for a batch
    waited for the whole of a visit."""
    counts = relay.histogram("fastrelay_spool_commit_seconds")
    most = max(counts.values(), default=0.0)
    return min((bound for bound, count in counts.items() if count == most), default=0.0) if most else 0.0


def _kill(relay: RelayProcess, kind: str, chance: random.Random, kills: list[Kill]) -> None:
    """One kill, and what an operator's service manager would do after it."""
    assert relay.process is not None
    victims = relay.workers() if kind in ("worker", "admin") else []
    if kind == "admin":
        victims = [pid for pid in relay.children() if pid not in victims]
    children = relay.children()
    at = time.monotonic()
    if kind == "tree":
        relay.kill()
    elif kind == "master":
        os.kill(relay.pid, signal.SIGKILL)
        relay.process.wait(10)
        debian.wait_until(lambda: all(debian.is_gone(pid) for pid in children), 20, "the orphans to stop")
    elif victims:
        os.kill(chance.choice(victims), signal.SIGKILL)
    kills.append(Kill(kind, at, time.monotonic()))
    if kind in ("tree", "master"):
        relay.start(seconds=60)


def _account(account: Account, accepted: list[str], diary: str, relay: RelayProcess) -> None:
    copies: dict[str, list[Copy]] = {}
    for line in diary.splitlines():
        taken, read, connection, pair = line.split(" ", 3)
        copies.setdefault(pair, []).append(Copy(float(taken), 0.0 if read == "-" else float(read), int(connection)))
    account.accepted = len(accepted)
    account.arrived = len(copies)
    account.lost = [pair for pair in accepted if pair not in copies]
    for pair, all_copies in copies.items():
        for copy, again in itertools.pairwise(all_copies):
            _explain(account, pair, copy, again)
    for kill in account.kills:
        if kill.in_delivery > CONNECTIONS:
            account.unexplained.append(f"{kill.in_delivery} in delivery over {CONNECTIONS} connections at one kill")
    account.orphans = sum(orphans for _, orphans in relay.audits())
    account.audits = len(relay.audits())


def _explain(account: Account, pair: str, copy: Copy, again: Copy) -> None:
    """Which kill a second copy came of, and how."""
    kill = next((one for one in account.kills if copy.taken < one.over + UNREAD and one.at < again.taken), None)
    if kill is None:
        account.unexplained.append(f"{pair}: taken at {copy.taken:.3f} and {again.taken:.3f}, no kill between")
    elif not copy.read:  # taken after the kill: the sink found it in its buffer
        kill.in_delivery += 1
        if kill.at - copy.taken > UNREAD + account.lag:
            account.unexplained.append(f"{pair}: its 250 was there for {kill.at - copy.taken:.3f} s before the kill")
    else:
        age = kill.at - copy.read
        kill.to_disk.append(age)
        if age > RIDE + account.visit + WAKE_UPS * account.lag:
            account.unexplained.append(f"{pair}: its 250 had been read for {1000 * age:.1f} ms before the kill")


def concluded(seed: int, work: Callable[[Path], Account]) -> int:
    """A command's run in a folder of its own, its account printed; the exit code. The folder of a bad one is kept."""
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="fastrelay-kill-"))
    account = work(folder)
    print(account)
    if account.good:
        shutil.rmtree(folder)
        return 0
    print(f"kept for inspection: {folder}")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"in turn, of {','.join(KINDS)} (default: all)")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args()
    kinds = tuple(chosen.kinds.split(","))
    return concluded(
        chosen.seed,
        lambda folder: run(
            folder,
            seed=chosen.seed,
            messages=chosen.messages,
            kills=chosen.kills,
            kinds=kinds,
            sessions=chosen.sessions,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
