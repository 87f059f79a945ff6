"""Calls a server and hangs up politely: connect, 220, EHLO, 250, QUIT, 221; so often, so many at a time.

    python bench/caller.py --port 2525 --sessions 50 --calls 10000

One process and one epoll loop over raw sockets, because it shares the processors with what it measures: some 60 us a
call, most of them the kernel's. Prints a JSON object: calls, seconds, cpu_seconds, and milliseconds of a whole call by
p50, p90, p99, p999, max. Any answer but the good one ends it with code 1.
"""

import argparse
import json
import select
import socket
import sys
import time

STEPS = ((b"220", b"EHLO caller.invalid\r\n"), (b"250", b"QUIT\r\n"), (b"221", b""))
QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999))
SILENCE = 30.0  # seconds


class Call:
    """One connection and how far it is."""

    __slots__ = ("began", "said", "sock", "step")

    def __init__(self, port: int) -> None:
        self.began = time.perf_counter()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(("127.0.0.1", port))
        self.step = 0
        self.said = b""

    def go_on(self) -> bool:
        """Read, and answer a whole reply; False when the call is over. ValueError on a reply that is not the one."""
        octets = self.sock.recv(4096)
        self.said += octets
        if not octets:
            raise ValueError(f"hung up in step {self.step}")
        last = self.said[self.said.rfind(b"\n", 0, -1) + 1 :]
        if not last.endswith(b"\n") or last[3:4] == b"-":
            return True
        wanted, words = STEPS[self.step]
        if not last.startswith(wanted):
            raise ValueError(f"answered {last!r}")
        self.said = b""
        self.step += 1
        if words:
            self.sock.send(words)
        return self.step < len(STEPS)


def call(port: int, sessions: int, calls: int) -> list[float]:
    """Seconds each call took."""
    poll = select.epoll()
    open_ones: dict[int, Call] = {}
    took: list[float] = []
    begun = 0
    while len(took) < calls:
        while len(open_ones) < sessions and begun < calls:
            one = Call(port)
            begun += 1
            open_ones[one.sock.fileno()] = one
            poll.register(one.sock.fileno(), select.EPOLLIN)
        ready = poll.poll(SILENCE)
        if not ready:
            raise ValueError(f"silent for {SILENCE:.0f} s")
        for fd, _ in ready:
            one = open_ones[fd]
            if not one.go_on():
                del open_ones[fd]
                one.sock.close()  # takes it out of the epoll set as well
                took.append(time.perf_counter() - one.began)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--calls", type=int, default=10_000)
    chosen = parser.parse_args()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        took = sorted(call(chosen.port, chosen.sessions, chosen.calls))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"caller: {error}\n")
        return 1
    shown = {name: took[min(len(took) - 1, int(share * len(took)))] * 1e3 for name, share in QUANTILES}
    print(
        json.dumps(
            {
                "calls": len(took),
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - cpu,
                "call_ms": shown | {"max": took[-1] * 1e3},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
