"""Upgrades and reloads under load: `python tests/proof/upgrade.py [--rate 1000] [--seconds 20] [--rounds 3]`.

A relay of two workers takes connections at a fixed rate, each with one message of 1 KB, and passes them on to a sink.
Meanwhile a new program takes over, again and again, with a reload between two of them. Each id is followed from the
generator to the sink. Printed as a table: connections refused or cut short, messages lost and doubled, how long each
change took, the longest wait for a greeting. Exit code 1 unless every count of harm is 0.

Not shown: what the machine can carry. Where generator, sink and relay have too few processors for the rate the
generator falls behind, which the table shows as the rate that was reached.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import command


def changed(relay: RelayProcess, verb: str) -> float:
    """Carry it out; seconds until it was answered."""
    began = time.monotonic()
    done = relay.command(verb, seconds=120)
    assert done.returncode == 0, done.stderr.decode()
    return time.monotonic() - began


def gone(pid: int) -> bool:
    """That master has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def run(folder: Path, rate: int, seconds: int, rounds: int) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    """One run: the generator's result, and each change with its seconds."""
    port = debian.free_port()
    relay = RelayProcess(
        folder,
        next_hop=f"127.0.0.1:{port}",
        workers=2,
        delivery=["connections = 200", "messages_per_connection = 1000"],
    ).start(seconds=60)
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
            debian.wait_until(lambda old=old: gone(old), 60, "the old program's end")  # type: ignore[misc]
            changes.append((f"reload {number + 1}", changed(relay, "reload")))
        under_load = bench.poll() is None
        out, _ = bench.communicate(timeout=600)
        assert under_load, "the load ended before the last change: more --seconds"
        assert relay.command("stop", seconds=90).returncode == 0
        assert not any(orphans for _, orphans in relay.audits()), relay.said()
    except BaseException:
        print(relay.said(), file=sys.stderr)
        raise
    finally:
        bench.kill()
        bench.wait()
        relay.kill()
    return dict(json.loads(out)), changes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastrelay-upgrade-") as folder:
        result, changes = run(Path(folder), words.rate, words.seconds, words.rounds)
    delivered = result["delivered"]
    harm = {
        "connections refused or cut short": result["failed"],
        "messages refused": result["refused"],
        "messages lost": delivered["lost"],
        "messages doubled": delivered["twice"],
    }
    rows = [
        ("connections", f"{result['accepted'] + result['failed'] + result['refused']:,}"),
        ("a second, wanted", f"{words.rate:,}"),
        ("a second, reached", f"{result['sessions_per_second']:,.0f}"),
        *((name, f"{count:,}") for name, count in harm.items()),
        ("messages arrived", f"{delivered['arrived']:,}"),
        ("longest wait for a greeting", f"{result['connect_ms']['max']:,.0f} ms"),
        *((name, f"{seconds:.1f} s") for name, seconds in changes),
    ]
    print(f"{os.cpu_count()} processors, generator and sink on the same machine")
    for name, value in rows:
        print(f"{name:<34}{value:>12}")
    for words_of, count in result["errors"].items():
        print(f"  {count} x {words_of}")
    return 1 if any(harm.values()) or delivered["arrived"] != result["accepted"] else 0


if __name__ == "__main__":
    sys.exit(main())
