"""A small internet on loopback, to try what docs/ says: `python docs/stage.py &` in a checkout; TERM ends it.

It writes stage/relay.toml, a configuration for a relay that lives in it, and plays a name server and the mail servers
of three domains, each of which is a `fastrelay sink`: example.org takes everything, busy.example defers, full.example
refuses. STAGE_PORTS in the environment names other ports: relay, mail servers, name server, metrics.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click

from fastrelay.load.name_server import NameServer

RELAY, MAIL, NAMES, ADMIN = (int(port) for port in os.environ.get("STAGE_PORTS", "2525,2526,5300,8025").split(","))
FOLDER = Path("stage").resolve()
ZONE = """
example.org        300 MX 10 mx1.example.org
example.org        300 MX 20 mx2.example.org
mx1.example.org    300 A  127.0.0.21
mx2.example.org    300 A  127.0.0.22
busy.example       300 MX 10 mx.busy.example
mx.busy.example    300 A  127.0.0.23
full.example       300 MX 10 mx.full.example
mx.full.example    300 A  127.0.0.24
nomail.example     300 MX 0 .
sender.example     300 MX 10 mx1.example.org
"""
SINKS = (
    ("mx.example.org", ("127.0.0.21", "127.0.0.22"), ()),
    ("mx.busy.example", ("127.0.0.23",), ("--defer", "rcpt=100%")),
    ("mx.full.example", ("127.0.0.24",), ("--reject", "rcpt=100%")),
)
CONFIG = f"""\
[server]
hostname = "relay.sender.example"
workers = 1
runtime_dir = "{FOLDER}/run"

[[listener]]
address = "127.0.0.1:{RELAY}"

[spool]
path = "{FOLDER}/spool"

[dns]
nameservers = ["127.0.0.1:{NAMES}"]

[delivery]
port = {MAIL}
allow_private = true            # the stage is on loopback

[admin]
address = "127.0.0.1:{ADMIN}"

[log]
events = "{FOLDER}/events.jsonl"
"""


def main() -> None:
    """Play until a signal."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "relay.toml").write_text(CONFIG, encoding="utf-8")
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    sinks = []
    with NameServer(ZONE, port=NAMES):
        for name, addresses, manners in SINKS:
            listen = [word for address in addresses for word in ("--listen", f"{address}:{MAIL}")]
            command = [sys.executable, "-m", "fastrelay.cli.main", "sink", "--name", name, *listen, *manners]
            sinks.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
            )
        try:
            if all(sink.stderr is not None and b"listening" in sink.stderr.readline() for sink in sinks):
                click.echo("stage/relay.toml is written; example.org, busy.example and full.example are ready")
                over.wait()
        finally:
            for sink in sinks:
                sink.terminate()
            for sink in sinks:
                sink.wait()


if __name__ == "__main__":
    main()
