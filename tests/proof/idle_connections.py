"""What an idle client connection costs: `python tests/proof/idle_connections.py [--connections 10000]`.

Opens them all to a relay of two workers (each has read the greeting and said EHLO), then compares the workers' memory
(private pages, /proc/PID/smaps_rollup) with what it was before. Exit code 1 above 15 KB a connection.
"""

import argparse
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import RelayProcess

LIMIT = 15 * 1024  # octets each


def private_octets(pid: int) -> int:
    """Pages that would be free without the process: what it shares with its siblings is not counted."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_"):
            total += int(line.split()[1]) * 1024
    return total


def memory(relay: RelayProcess) -> int:
    """Of all workers together."""
    return sum(private_octets(pid) for pid in relay.workers())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    count = parser.parse_args().connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count * 2 + 1000), hard))
    with tempfile.TemporaryDirectory(prefix="fastrelay-idle-") as folder:
        relay = RelayProcess(
            Path(folder), next_hop="127.0.0.1:9", listener=[f"max_connections = {count + 100}"], server=()
        ).start()
        try:
            before = memory(relay)
            clients = []
            for n in range(count):
                # loopback has 28,000 ports an address: spread the clients over several
                client = socket.create_connection(
                    ("127.0.0.1", relay.port), timeout=30, source_address=(f"127.0.0.{2 + n % 4}", 0)
                )
                clients.append(client)
                greeting = client.recv(512)
                if not greeting.startswith(b"220"):
                    print(f"connection {n} was answered {greeting!r}")
                    return 1
                client.sendall(b"EHLO idle.example\r\n")
                client.recv(4096)
            debian.wait_until(
                lambda: sum(w["sessions"] for w in relay.get("/healthz")["workers"]) == count, 30, "all sessions"
            )
            spread = [worker["sessions"] for worker in relay.get("/healthz")["workers"]]
            each = (memory(relay) - before) / count
            print(f"{count} idle connections over workers {spread}: {each / 1024:.1f} KB each (limit 15)")
            for client in clients:
                client.close()
            return 0 if each <= LIMIT else 1
        finally:
            relay.kill()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
