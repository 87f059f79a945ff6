"""python-slimta from PyPI (bench/rivals/fetch): the nearest relative, a gevent relay one writes in Python.

It is a library, so the relay is slimta_relay.py, put together as its manual shows: SmtpEdge, Queue, StaticSmtpRelay
with reused connections. One process, as it has no other way. Its queue is the one on disk (slimta.diskstorage), which
writes files by Linux' asynchronous I/O and does not sync.
"""

from pathlib import Path

from bench.relay import Need, Setup, Wish
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".rivals/slimta/bin/python"
PROGRAM = Path(__file__).parent / "slimta_relay.py"


class Slimta:
    """One process, whatever Wish.workers is."""

    name = "slimta"
    offers = frozenset({Need.RETRIES})

    def missing(self) -> str:
        return "" if PYTHON.exists() else "not fetched: run bench/rivals/fetch slimta"

    def version(self) -> str:
        ask = "from importlib.metadata import version as v; print(v('python-slimta'), 'on gevent', v('gevent'))"
        return debian.run([PYTHON, "-W", "ignore", "-c", ask]).stdout.decode().strip() or "unknown"

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        port = debian.free_port()
        words = [
            "--port", str(port), "--sink", str(wish.sink), "--folder", str(folder), "--connections",
            str(wish.connections), "--retry", str(int(wish.first_retry)),
        ]  # fmt: skip
        command = [str(PYTHON), "-P", "-W", "ignore", str(PROGRAM), *words]
        told = " ".join(words) + "\n" + PROGRAM.read_text(encoding="utf-8")
        return Setup(command, debian.environment(), port, told)
