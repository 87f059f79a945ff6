"""Haraka from npm (bench/rivals/fetch), with a config folder of its own.

Its outbound queue, as docs/Outbound.md describes it for a relay: a message is written to a file and renamed before the
250 (it does not sync), then delivered. Two processes (docs/Core.md, `nodes`), no plugin but those that say who may
relay and where to. The next hop is given by the hook its documentation names for smart hosts, get_mx.
"""

import shutil
from pathlib import Path

from bench.relay import Need, Setup, Wish
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".rivals/haraka/node_modules/Haraka"

FILES = {
    "config/smtp.ini": "listen=127.0.0.1:{port}\nnodes={workers}\n",
    "config/me": "relay.invalid\n",
    "config/host_list": "",
    # docs/Plugins.md: only what is needed
    "config/plugins": "relay\nnext_hop\n",
    "config/relay.ini": "[relay]\nacl=true\n",
    "config/relay_acl_allow": "127.0.0.0/8\n",
    # docs/Outbound.md: deliveries at a time, for each process
    "config/outbound.ini": (
        "concurrency_max={each}\nenable_tls=false\nlocal_mx_ok=true\ntemp_fail_intervals={retry}s*60\n"
    ),
    # docs/Logging.md: one line for each delivery, as the others have
    "config/log.ini": "[main]\nlevel=NOTICE\n",
    "plugins/next_hop.js": (
        "exports.hook_get_mx = function (next, hmail, domain) {{\n"
        "  next(OK, {{ priority: 0, exchange: '127.0.0.1', port: {sink} }})\n}}\n"
    ),
}


class Haraka:
    """A node cluster of `workers` processes."""

    name = "haraka"
    offers = frozenset({Need.RETRIES})

    def missing(self) -> str:
        if shutil.which("node") is None:
            return "node is not there"
        return "" if (HOME / "package.json").exists() else "not fetched: run bench/rivals/fetch haraka"

    def version(self) -> str:
        command = ["node", str(HOME / "bin/haraka"), "--version"]
        said = debian.run(command).stdout.decode()
        return said.rpartition("ersion: ")[2].strip() or "unknown"

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        port = debian.free_port()
        values = {
            "port": port, "workers": wish.workers, "sink": wish.sink, "each": max(1, wish.connections // wish.workers),
            "retry": int(wish.first_retry),
        }  # fmt: skip
        told = ""
        for name, text in FILES.items():
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text.format(**values))
            told += f"# {name}\n{text.format(**values)}"
        (folder / "queue").mkdir()
        shutil.copy(HOME / "config/connection.ini", folder / "config")  # a config folder must bring its own
        command = ["node", str(HOME / "bin/haraka"), "-c", str(folder)]
        return Setup(command, debian.environment(), port, told)
