"""fastrelay itself, through its real program, and the bare relay."""

import sys
from importlib.util import find_spec
from pathlib import Path

import fastrelay
from bench.relay import Setup
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """\
[server]
hostname = "relay.invalid"
workers = {workers}
runtime_dir = "{folder}/run"

[[listener]]
address = "127.0.0.1:{port}"

[spool]
path = "{folder}/spool"
durability = "fsync"

[delivery]
connections = 50
connect_rate = "100000/min"
messages_per_connection = 1000
tls = "never"

[[route]]
domain = "*"
next_hop = ["127.0.0.1:{sink}"]

[admin]
address = "127.0.0.1:{admin}"

[log]
events = "{folder}/events"
"""


class Fastrelay:
    """`fastrelay serve`: fsync, event log to a file, metrics on."""

    name = "fastrelay"

    def missing(self) -> str:
        return "" if find_spec("fastrelay.cli.main") else "fastrelay.cli.main is not there"

    def version(self) -> str:
        return fastrelay.__version__

    def prepare(self, folder: Path, sink: int, workers: int) -> Setup:
        port = debian.free_port()
        config = CONFIG.format(workers=workers, folder=folder, port=port, sink=sink, admin=debian.free_port())
        file = folder / "fastrelay.toml"
        file.write_text(config)
        command = [sys.executable, "-c", "from fastrelay.cli.main import main; main()", "serve", "-c", str(file)]
        return Setup(command, debian.environment(PYTHONPATH=str(ROOT)), port, config)


class Bare:
    """bench/bare_relay.py: what the ground costs without a relay's features."""

    name = "bare"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return f"of fastrelay {fastrelay.__version__}"

    def prepare(self, folder: Path, sink: int, workers: int) -> Setup:
        port = debian.free_port()
        words = [
            "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{sink}", "--journal", str(folder),
            "--workers", str(workers), "--connections", str(50 // workers),
        ]  # fmt: skip
        command = [sys.executable, str(ROOT / "bench/bare_relay.py"), *words]
        return Setup(command, debian.environment(PYTHONPATH=str(ROOT)), port, " ".join(words))
