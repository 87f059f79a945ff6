"""Upgrades and reloads under load: `python tests/proof/upgrade.py [--rate 1000] [--seconds 20] [--rounds 3]`.

A relay of two workers takes connections at a fixed rate, each with one message of 1 KB, and passes them on to a sink.
Meanwhile a new program takes over, again and again, with a reload between two of them. Each id is followed from the
generator to the sink. BACKLOG messages whose next hop is down wait in the queue all the while, are adopted from slot to
slot, and go out at the end. Printed as a table: connections refused or cut short, messages lost and doubled, how long
each change took, the longest wait for a greeting. Exit code 1 unless every count of harm is 0.

--kill: then the same with kill -9 of a master at each step: the new one before it is ready, the new one right behind
the handover, the old one before the new one is ready, the old one right behind the handover. Workers that lose their
master stop at once, so connections are cut short; nothing may be lost or doubled, and one master must be left.

Not shown: what the machine can carry. Where generator, sink and relay have too few processors for the rate the
generator falls behind, which the table shows as the rate that was reached.
"""

import argparse
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import command

BACKLOG = 200
VICTIMS = ("new before", "new after", "old before", "old after")


def changed(relay: RelayProcess, verb: str) -> float:
    """Carry it out; seconds until it was answered."""
    began = time.monotonic()
    done = relay.command(verb, seconds=120)
    assert done.returncode == 0, done.stderr.decode()
    return time.monotonic() - began


def answered_or_killed(relay: RelayProcess, victim: str) -> None:
    """An upgrade, and -9 to one of the masters at that step of it."""
    who, when = victim.split(" ")
    old, said = relay.pid, len(relay.said())
    os.kill(old, signal.SIGUSR2)
    debian.wait_until(lambda: "starts," in relay.said()[said:], 60, "the new program")
    match = re.search(r"upgrade: process (\d+) starts", relay.said()[said:])
    assert match
    new = int(match[1])
    if when == "after":
        debian.wait_until(lambda: "has taken over" in relay.said()[said:], 90, "the handover")
    os.kill(old if who == "old" else new, signal.SIGKILL)
    left = new if who == "old" else old
    debian.wait_until(lambda: relay.pid == left and not debian.is_gone(left), 60, f"process {left} to be the master")
    debian.wait_until(lambda: relay.command("status").returncode in (0, 75), 60, "its API")
    # an old program that drains has to be gone before the next upgrade
    debian.wait_until(lambda: relay.children_of_others(left) == 0, 60, "the workers of the one that was killed")


def run(
    folder: Path, rate: int, seconds: int, rounds: int, victims: Sequence[str] = ()
) -> tuple[dict[str, Any], list[tuple[str, float]], int]:
    """One run: the generator's result, each change with its seconds, and how much of the backlog came, once."""
    port, box = debian.free_port(), Mailbox()
    relay = RelayProcess(
        folder,
        next_hop=f"127.0.0.1:{port}",
        workers=2,
        delivery=["connections = 200", "messages_per_connection = 1000"],
        tables=f"[[route]]\ndomain = 'later.example'\nnext_hop = ['127.0.0.1:{box.port}']\n",
    ).start(seconds=60)
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as client:
        for number in range(BACKLOG):
            client.sendmail("a@x.example", f"{number}@later.example", "Subject: later\r\n\r\nx\r\n")
    bench = subprocess.Popen(
        command("bench", "--to", f"127.0.0.1:{relay.port}", "--sink", f"127.0.0.1:{port}", "--json", "--size", "1KB",
                "--rate", str(rate), "--messages", str(rate * seconds), "--sessions", "2000"),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    changes = []
    try:
        relay.wait_until_sessions(rate // 2)
        for number in range(rounds):
            old = relay.pid
            changes.append((f"upgrade {number + 1}", changed(relay, "upgrade")))
            debian.wait_until(partial(debian.is_gone, old), 60, "the old program's end")
            changes.append((f"reload {number + 1}", changed(relay, "reload")))
        for victim in victims:
            began = time.monotonic()
            answered_or_killed(relay, victim)
            changes.append((f"{victim.replace(' ', ' master killed ')} the handover", time.monotonic() - began))
        under_load = bench.poll() is None
        out, _ = bench.communicate(timeout=600)
        assert under_load, "the load ended before the last change: more --seconds"
        with box:
            box.wait(BACKLOG, seconds=90)
            relay.wait_empty()
        assert relay.command("stop", seconds=90).returncode == 0
        assert not any(orphans for _, orphans in relay.audits()), relay.said()
    except BaseException:
        print(relay.said(), file=sys.stderr)
        raise
    finally:
        bench.kill()
        bench.wait()
        relay.kill()
    arrived = {one.recipients for one in box.arrived}
    return dict(json.loads(out)), changes, len(arrived) if len(box.arrived) == len(arrived) else -1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kill", action="store_true")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastrelay-upgrade-") as folder:
        code = table(words.rate, *run(Path(folder), words.rate, words.seconds, words.rounds))
    if words.kill:
        print()
        with tempfile.TemporaryDirectory(prefix="fastrelay-upgrade-") as folder:
            found = run(Path(folder), words.rate // 5, 3 * words.seconds, 0, VICTIMS)
        code = max(code, table(words.rate // 5, *found, killed=True))
    return code


def table(
    rate: int, result: dict[str, Any], changes: list[tuple[str, float]], backlog: int, *, killed: bool = False
) -> int:
    """Print it. 1 when there was harm: where masters were killed, connections may have been cut short."""
    delivered = result["delivered"]
    harm = {
        "connections refused or cut short": result["failed"],
        "messages refused": result["refused"],
        "messages lost": delivered["lost"],
        "messages doubled": delivered["twice"],
    }
    rows = [
        ("connections", f"{result['accepted'] + result['failed'] + result['refused']:,}"),
        ("a second, wanted", f"{rate:,}"),
        ("a second, reached", f"{result['sessions_per_second']:,.0f}"),
        *((name, f"{count:,}") for name, count in harm.items()),
        ("messages arrived", f"{delivered['arrived']:,}"),
        ("of the backlog, once each", f"{backlog:,} of {BACKLOG:,}"),
        ("longest wait for a greeting", f"{result['connect_ms']['max']:,.0f} ms"),
        *((name, f"{seconds:.1f} s") for name, seconds in changes),
    ]
    print(f"{os.cpu_count()} processors, generator and sink on the same machine")
    for name, value in rows:
        print(f"{name:<34}{value:>12}")
    for words_of, count in result["errors"].items():
        print(f"  {count} x {words_of}")
    mail = delivered["lost"] or delivered["twice"] or delivered["arrived"] < result["accepted"] or backlog != BACKLOG
    return 1 if mail or (any(harm.values()) and not killed) else 0


if __name__ == "__main__":
    sys.exit(main())
