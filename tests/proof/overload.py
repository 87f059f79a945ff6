"""Three times what a relay can take: `python tests/proof/overload.py [--seconds 60] [--times 3]`.

Full load (50 busy sessions) tells what a relay of two workers accepts and delivers here: its peak. Then an open loop
offers three times that, whatever is answered, over up to 2,000 connections of a listener that has room for 1,000: the
relay is under stress and refuses some. Generator, relay and sink share the machine, and the generator works three times
as hard as before.

    goodput     accepted a second meanwhile, against the peak: at least 80 %
    lost        accepted and never taken by the sink, at the end: 0; twice: 0
    recovery    from the end of the flood until a message of a new client goes through in a second, and until the queue
                is empty
    lag         how late the loops of the workers ran, at p99 (fastrelay_loop_lag_seconds, the bound of its bucket; one
                look a second and worker): at most 50 ms at full load. What a worker waited for a processor is in it

Exit code 1 when one of these bars is missed, else 0.
"""

import argparse
import itertools
import resource
import signal
import smtplib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import PROGRAM, RelayProcess, p99
from tests.proof.soak import bench, said

GOODPUT = 0.8  # of the peak
LAG = 0.05  # seconds at p99, at full load
RECOVERY = 10.0  # seconds until a new client is served as ever
PLACES = 1000  # of the listener
CALLERS = 2000  # connections of the flood


def processor(relay: RelayProcess) -> tuple[float, float]:
    """Seconds the workers ran, and seconds they were ready to and waited for a processor, until now."""
    times = [Path(f"/proc/{pid}/schedstat").read_text().split() for pid in relay.workers()]
    return sum(int(ran) for ran, _, _ in times) / 1e9, sum(int(waited) for _, waited, _ in times) / 1e9


def served(relay: RelayProcess) -> bool:
    """A message of a new client goes through in a second."""
    began = time.monotonic()
    try:
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=1) as client:
            client.sendmail("after@flood.example", ["b@recipient.invalid"], "Subject: x\r\n\r\nx\r\n")
    except (OSError, smtplib.SMTPException):
        return False
    return time.monotonic() - began < 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of full load, and of the flood (default: 60)")
    parser.add_argument("--times", type=float, default=3.0, help="the peak (default: 3)")
    chosen = parser.parse_args()
    length = ("--duration", f"{chosen.seconds:.0f}s")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    with tempfile.TemporaryDirectory(prefix="fastrelay-overload-") as name:
        folder = Path(name)
        port = debian.free_port()
        accepted = [folder / "peak", folder / "flood"]
        against = [word for file in accepted for word in ("--against", str(file))]
        for file in accepted:
            file.touch()
        sink = subprocess.Popen(
            [*PROGRAM, "sink", "--listen", f"127.0.0.1:{port}", "--ids", *against, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        debian.wait_until(lambda: debian.listens(port), 20, "the sink")
        relay = RelayProcess(
            folder, next_hop=f"127.0.0.1:{port}", listener=[f"max_connections = {PLACES}"],
        ).start()  # fmt: skip
        try:
            looks = [relay.histogram("fastrelay_loop_lag_seconds")]
            peak = said(bench(relay, *length, "--pairs", str(accepted[0])), chosen.seconds + 60)["messages_per_second"]
            relay.wait_empty()
            looks.append(relay.histogram("fastrelay_loop_lag_seconds"))
            ran, waited = processor(relay)
            flood = said(
                bench(
                    relay, "--rate", f"{chosen.times * peak:.0f}", *length, "--sessions", f"{CALLERS}",
                    "--pairs", str(accepted[1]),
                ),
                chosen.seconds + 120,
            )  # fmt: skip
            over = time.monotonic()
            looks.append(relay.histogram("fastrelay_loop_lag_seconds"))
            debian.wait_until(lambda: served(relay), 60, "a new client to be served")
            new = time.monotonic() - over
            relay.wait_empty(120)
            empty = time.monotonic() - over
            assert relay.stop() == 0, relay.said()
            sink.send_signal(signal.SIGINT)
            taken = said(sink, 120)
        finally:
            relay.kill()
            if sink.poll() is None:
                sink.kill()
    lags = [p99(before, after) for before, after in itertools.pairwise(looks)]
    goodput = flood["messages_per_second"] / peak
    bars = {
        f"goodput {100 * goodput:.0f} % of the peak of {peak:.0f} a second": goodput >= GOODPUT,
        f"lost {taken['lost']}, twice {taken['duplicates']}": not taken["lost"] and not taken["duplicates"],
        f"a new client is served after {new:.1f} s, the queue empty after {empty:.1f} s": new < RECOVERY,
        f"lag at p99: {1000 * lags[0]:.0f} ms at full load, {1000 * lags[1]:.0f} ms in the flood": lags[0] <= LAG,
    }
    print(f"offered {chosen.times:g} x the peak for {chosen.seconds:g} s: {flood['accepted']:,} accepted")
    print(f"at full load the workers ran for {ran:.0f} s and waited for a processor for {waited:.0f} s")
    for words, met in bars.items():
        print(f"  {'good' if met else 'BAD '}  {words}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
