"""What a queued message costs, and a restart on many: `python tests/proof/backlog.py [--messages 100000]`.

A relay of two workers whose next hop is down takes the messages; the growth of the workers' private memory is
theirs, once the bodies have left memory.
Then it is stopped, its spool dropped from the page cache, and started again: seconds until it accepts, and until all
of the backlog is scheduled. Exit code 1 above 1 KB a message, or when the restart takes more than --limit seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.backlog import drop_from_cache
from fastrelay.spool.store import LINGER
from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.proof.idle_connections import memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--size", default="5KB")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds for the restart (default: 5)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastrelay-backlog-", dir=os.environ.get("FASTRELAY_PROOF_DIR")) as folder:
        relay = RelayProcess(
            Path(folder), next_hop=f"127.0.0.1:{debian.free_port()}", retry=["first = '1h'", "max = '4h'"],
            tables="[bounce]\ndelay_notice = '0s'",
        ).start()  # fmt: skip
        try:
            before = memory(relay)
            load = subprocess.run(
                [*PROGRAM, "bench", "--to", f"127.0.0.1:{relay.port}", "--messages", str(chosen.messages), "--reuse",
                 "--size", chosen.size, "--sessions", "50", "--json"],
                capture_output=True, text=True,
            )  # fmt: skip
            if load.returncode:
                print(load.stdout, load.stderr)
                return 1
            debian.wait_until(lambda: relay.queued() == chosen.messages, 60, "the queue to be counted")
            at_once = (memory(relay) - before) / chosen.messages
            time.sleep(LINGER + 5)  # not waiting for a condition: the measurement is of memory after that time
            each = (memory(relay) - before) / chosen.messages
            print(
                f"{chosen.messages} messages queued: {each:.0f} octets of memory each (limit 1,024); "
                f"{at_once:.0f} while the newest bodies wait in memory for their first attempt, {LINGER:g} s at most",
                flush=True,
            )
            assert relay.stop() == 0, relay.said()
            octets = drop_from_cache(Path(folder) / "spool")
            began = time.monotonic()
            relay.start(seconds=120)
            accepting = time.monotonic() - began
            debian.wait_until(lambda: relay.queued() == chosen.messages, 120, "the backlog to be loaded")
            loaded = time.monotonic() - began
            after = memory(relay) / chosen.messages
            print(
                f"restart on {octets / 1e6:.0f} MB, dropped from the page cache: accepting after {accepting:.1f} s, "
                f"all "
                f"loaded after {loaded:.1f} s (limit {chosen.limit:g}); "
                f"workers' whole memory is {after:.0f} octets each"
            )
            return 0 if each <= 1024 and loaded <= chosen.limit else 1
        finally:
            relay.kill()


if __name__ == "__main__":
    sys.exit(main())
