"""An operator at a queue of a million: `python tests/proof/queue_million.py [--messages 1000000] [--json]`.

A spool is filled with so many messages that wait for a day (5,000 domains, 500 senders, ten different last replies).
A relay of two workers starts on it, takes fresh mail at a fixed rate and passes it on to a sink. Meanwhile the commands
of the queue are carried out, one after the other, as an operator would type them: sums, first and deep pages, filters,
the whole listing, explain, holds of a domain and of everything, retries, removal of a tenth, suspensions.

Of each command: time to its first output, its whole time, what the workers computed (for it and for the mail), and what
fresh mail felt meanwhile: accepting and delivery (from the instant it was due; p50, p99, the longest pause between
two), and the longest time a worker's event loop was held (tests/proof/steady_load.py says how that is told from a busy
machine). Rows without a command frame the table.

Exit code 1 when a message of the load was refused, lost or doubled, when a loop was held longer than --hold, when a
pause in accepting or delivery was longer than --pause, when a page took longer than --page to begin, or when the counts
of what was changed or what is left in the queue are not what they must be.

--spool: a folder that was filled before by the same command with --keep; it is linked and stays as it is. Give a
folder on a disk: /tmp may be memory. A million messages take 1 GB.
"""

import argparse
import itertools
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.backlog import link
from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.proof.steady_load import Hold, Offered, SteadyLoad

ROOT = Path(__file__).resolve().parents[2]
SINK = ROOT / "tests" / "peers" / "timing_sink.py"
DOMAINS, SENDERS, REPLIES = 5000, 500, 10
ONE, TWO = "d17.example.net", "d18.example.net"  # of those that wait; the second is the only one whose host is up
PAGES = (
    "queue list",
    "queue list --after (half-way)",
    "queue list ID",
    "queue show ID",
    "explain ID",
    f"explain {ONE}",
    f"queue list --domain {ONE} --limit 0",
    "status",
    "top --once",
)  # commands that must begin at once, however long the queue is
QUIET = 15.0  # seconds without a command, before and after
WHY = ("--reason", "proof")
RULE = "rule 7 of"  # in the last reply of a tenth of all
FRESH = 1000  # messages of the load that may be in the queue as well
WARM = 3.0  # seconds until the load is under way
PATIENCE = 900.0  # seconds for one command


class Step(NamedTuple):
    """One command, carried out. out: the beginning of what it printed. cpu: seconds the workers computed meanwhile."""

    name: str
    began: float
    first: float
    ended: float
    out: bytes
    cpu: float


class Felt(NamedTuple):
    """What fresh mail felt in a stretch of time: messages a second, then milliseconds."""

    delivered: float
    accept_p50: float
    accept_p99: float
    accept_pause: float
    delivery_p50: float
    delivery_p99: float
    delivery_pause: float
    hold: float


class Operator:
    """Carries out commands against a relay, and remembers them."""

    def __init__(self, relay: RelayProcess, workers: Sequence[int]) -> None:
        self._relay = relay
        self._workers = workers
        self.steps: list[Step] = []
        self.wrong: list[str] = []

    def quiet(self, name: str) -> None:
        """Nothing, for QUIET seconds."""
        began, computed = time.monotonic(), self._cpu()
        time.sleep(QUIET)
        self._note(Step(name, began, began, time.monotonic(), b"", self._cpu() - computed))

    def does(self, *words: str, name: str = "") -> str:
        """`fastrelay WORDS`; what it printed, 64 KB of it at most."""
        began, computed = time.monotonic(), self._cpu()
        command = [*PROGRAM, *words, "-c", str(self._relay.config)]
        out, first = b"", 0.0
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=debian.environment()
        ) as process:
            assert process.stdout is not None
            while select.select([process.stdout], [], [], PATIENCE)[0]:
                piece = os.read(process.stdout.fileno(), 1 << 20)
                if not piece:
                    break
                first = first or time.monotonic()
                if len(out) < 65536:
                    out += piece
            if process.wait(PATIENCE) != 0:
                self.wrong.append(f"fastrelay {' '.join(words)} ended with {process.returncode}")
        ended = time.monotonic()
        self._note(Step(name or " ".join(words), began, first or ended, ended, out, self._cpu() - computed))
        return out.decode(errors="replace")

    def counts(self, *words: str) -> int:
        """The same of a command that begins with a number: that."""
        first = self.does(*words).partition(" ")[0].replace(",", "")
        return int(first) if first.isdigit() else -1

    def expect(self, what: str, found: int, least: int, most: int) -> None:
        """A count that must be right."""
        if not least <= found <= most:
            self.wrong.append(f"{what}: {found:,} where {least:,} to {most:,} were due")

    def _cpu(self) -> float:
        """Seconds all workers have computed."""
        ticks = 0
        for pid in self._workers:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        seconds = step.ended - step.began
        print(f"{step.name:<44.44} {seconds:7.2f} s  {step.out[:60]!r}", file=sys.stderr, flush=True)


def looks(operator: Operator, messages: int) -> None:
    """Whatever changes nothing."""
    operator.quiet("before")
    operator.expect("summary", operator.counts("queue", "summary"), messages, messages + FRESH)
    first = [line.split()[0] for line in operator.does("queue", "list").splitlines()[1:]]
    at_one = operator.does("queue", "list", "--domain", ONE, "--limit", "0").splitlines()
    operator.expect("of a domain", len(at_one), 2, messages)
    middle = at_one[len(at_one) // 2].split()[0]  # of a domain that has mail all through the queue
    operator.does("queue", "list", "--after", middle, name="queue list --after (half-way)")
    operator.does("queue", "list", first[50], name="queue list ID")
    operator.does("queue", "show", first[50], name="queue show ID")
    operator.does("explain", first[50], name="explain ID")
    operator.does("explain", ONE)
    operator.does("status")
    operator.does("top", "--once")
    operator.does("queue", "list", "--sender", "sender3@example.com")
    operator.does("queue", "list", "--sender", "sender3@example.com", "--limit", "0")
    operator.does("queue", "list", "--sender", "nobody@example.com")
    operator.does("queue", "list", "--reply", RULE)
    operator.does("queue", "list", "--held")
    operator.does("queue", "summary", "--sender", "sender3@example.com")
    operator.does("queue", "list", "--limit", "0", name="queue list --limit 0 (all)")
    operator.quiet("after looking")


def changes(operator: Operator, messages: int) -> None:
    """Holds, retries, removals, suspensions."""
    operator.quiet("before")
    held = operator.counts("queue", "hold", "--domain", ONE, *WHY)
    operator.expect("held of a domain", held, 1, messages)
    operator.expect("released", operator.counts("queue", "release", "--domain", ONE), held, held)
    operator.does("suspend", "--domain", ONE, *WHY)
    operator.does("resume", "--domain", ONE)
    retried = operator.counts("queue", "retry", "--domain", TWO)
    operator.expect("retried", retried, 1, messages)
    tenth = messages // REPLIES
    removed = operator.counts("queue", "remove", "--reply", RULE, *WHY)
    operator.expect("removed", removed, tenth - retried - held, tenth)
    left = messages - removed - retried
    operator.expect("held of all", operator.counts("queue", "hold", "--older-than", "5s", *WHY), left, left + FRESH)
    operator.does("queue", "summary", name="queue summary (all held)")
    operator.expect("released of all", operator.counts("queue", "release", "--held"), left, left + FRESH)
    operator.quiet("all due, their host down")
    operator.does("suspend", "--sender-domain", "example.com", *WHY)
    operator.quiet("all suspended")
    operator.does("resume", "--sender-domain", "example.com")
    operator.quiet("after")
    operator.expect("left", operator.counts("queue", "summary"), left, left + FRESH)


def felt(
    offered: Sequence[Offered], taken: dict[str, float], holds: Sequence[Hold], began: float, ended: float
) -> Felt | None:
    """None where less than one message was due in that time."""
    mine = [one for one in offered if began <= one.due < ended and one.accepted]
    if not mine:
        return None
    accept = [1e3 * (one.accepted - one.due) for one in mine]
    delivery = [1e3 * (taken[one.ident] - one.due) for one in mine if one.ident in taken]
    arrivals = sorted(at for at in taken.values() if began <= at < ended)
    return Felt(
        len(arrivals) / (ended - began),
        statistics.median(accept), _p99(accept), _pause([one.accepted for one in mine], began),
        statistics.median(delivery), _p99(delivery), _pause(arrivals, began),
        1e3 * max((one.held for one in holds if began <= one.at < ended), default=0.0),
    )  # fmt: skip


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def _pause(moments: Sequence[float], began: float) -> float:
    """The longest stretch without one, in ms."""
    ordered = [began, *sorted(moments)]
    return 1e3 * max((b - a for a, b in itertools.pairwise(ordered)), default=0.0)


def filled(place: Path, messages: int) -> None:
    """Fill a spool."""
    words = ["--spool", place, "--messages", messages, "--slots", 2, "--size", 1024, "--senders", SENDERS,
             "--domains", DOMAINS, "--first-hour", 24, "--last-hour", 72]  # fmt: skip
    for number in range(REPLIES):
        words += ["--reply", f"450 4.2.{number} Deferred by rule {number} of this host"]
    print(f"filling a spool with {messages:,} messages", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, ROOT / "bench" / "seed.py", *map(str, words)], check=True, stdout=sys.stderr)


def proof(folder: Path, rate: float, messages: int, parts: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Carry it out on the spool in `folder`: a row for each command, and what was wrong."""
    port, diary = debian.free_port(), folder / "diary"
    up = "".join(f"[[route]]\ndomain = '{name}'\nnext_hop = ['127.0.0.1:{port}']\n" for name in ("steady.example", TWO))
    down = f"127.0.0.1:{debian.free_port()}"
    relay = RelayProcess(folder, next_hop=down, retry=["first = '1h'", "max = '3d'"], tables=up)
    sink = subprocess.Popen(
        [sys.executable, str(SINK), str(port), str(diary)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        relay.start(seconds=300)
        began = time.monotonic()
        debian.wait_until(lambda: relay.queued() >= messages, 300, "the spool to be loaded")
        print(f"{messages:,} messages loaded {time.monotonic() - began:.1f} s after it was ready", file=sys.stderr)
        pids = relay.workers()
        workers = {n: (pid, folder / "run" / f"slot-{n:03d}.sock") for n, pid in enumerate(pids)}
        operator = Operator(relay, pids)
        with SteadyLoad(relay.port, rate, workers) as load:
            try:
                time.sleep(WARM)
                for part in parts:
                    PARTS[part](operator, messages)
            except (KeyboardInterrupt, SystemExit):
                operator.wrong.append("ended before it was over")  # what was measured is told all the same
            offered, holds = load.end()
        dropped = relay.metric("fastrelay_event_log_dropped_total")
        assert relay.stop() == 0, relay.said()
    finally:
        relay.kill()
        sink.send_signal(signal.SIGINT)
        sink.wait(60)
    lines = [line.split() for line in diary.read_text().splitlines()]
    arrivals = [line[3] for line in lines]
    taken = {line[3]: float(line[0]) for line in lines}
    accepted = [one for one in offered if one.accepted]
    harm = {
        "refused": len(offered) - len(accepted),
        "lost": sum(one.ident not in taken for one in accepted),
        "doubled": len(arrivals) - len(taken),
    }
    print(f"{len(offered):,} offered; {harm}; {dropped:g} event lines dropped", file=sys.stderr)
    wrong = operator.wrong + [f"{count} messages of the load {what}" for what, count in harm.items() if count]
    rows = []
    for step in operator.steps:
        found = felt(offered, taken, holds, step.began, max(step.ended, step.began + 0.5))
        rows.append(
            {"command": step.name, "first": step.first - step.began, "whole": step.ended - step.began, "cpu": step.cpu,
             **(found._asdict() if found is not None else {})}
        )  # fmt: skip
    return rows, wrong


PARTS = {"looks": looks, "changes": changes}


def broken(rows: Sequence[dict[str, Any]], hold: float, pause: float, page: float) -> Iterator[str]:
    """Which bounds were not kept. hold, pause: milliseconds; page: seconds."""
    for row in rows:
        if row.get("hold", 0.0) > hold:
            yield f"{row['command']}: a loop was held for {row['hold']:.0f} ms"
        for name in ("accept_pause", "delivery_pause"):
            if row.get(name, 0.0) > pause:
                yield f"{row['command']}: {name} of {row[name]:.0f} ms"
        if row["command"] in PAGES and row["first"] > page:
            yield f"{row['command']}: began after {row['first']:.1f} s"


def drawn(rows: Sequence[dict[str, Any]]) -> None:
    """The table."""
    heads = ("first s", "whole s", "cpu s", "mail/s", "acc p50", "p99", "pause", "dlv p50", "p99", "pause", "hold")
    print(f"{'command':<44}" + "".join(f"{head:>9}" for head in heads))
    for row in rows:
        values = [row.get(name, 0.0) for name in ("first", "whole", "cpu", *Felt._fields)]
        cells = [f"{value:9.2f}" if n < 3 else f"{value:9.0f}" for n, value in enumerate(values)]
        print(f"{row['command']:<44.44}{''.join(cells)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=100.0, help="fresh messages a second")
    parser.add_argument("--hold", type=float, default=100.0, help="ms an event loop may be held")
    parser.add_argument("--pause", type=float, default=1000.0, help="ms without a message accepted or delivered")
    parser.add_argument("--page", type=float, default=2.0, help="seconds until a page begins")
    parser.add_argument("--spool", type=Path, help="one that was filled before")
    parser.add_argument("--keep", type=Path, help="only fill this folder, for --spool")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.keep:
        filled(chosen.keep, chosen.messages)
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that no process is left behind
    with tempfile.TemporaryDirectory(prefix="fastrelay-million-", dir=os.environ.get("FASTRELAY_PROOF_DIR")) as name:
        folder = Path(name)
        if chosen.spool:
            link(chosen.spool, folder / "spool")
        else:
            filled(folder / "spool", chosen.messages)
        rows, wrong = proof(folder, chosen.rate, chosen.messages, chosen.part or list(PARTS))
    wrong += broken(rows, chosen.hold, chosen.pause, chosen.page)
    if chosen.json:
        print(json.dumps({"rows": rows, "wrong": wrong}))
    else:
        drawn(rows)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
