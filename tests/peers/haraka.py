"""Haraka from npm as a server: one process, its own TLS, its own AUTH, and a plugin of ours for where mail goes.

`.ci/peers` brings it, in the versions of tests/peers/npm, with a node where the machine has none that is new enough.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.server import LOCKED, WRONG, Seen, Wish

PEERS = Path(__file__).resolve().parents[2] / ".peers"
HOME = PEERS / "npm/node_modules/Haraka"

# docs/plugins/tls.md, docs/Outbound.md, docs/plugins/auth/auth_base.md of Haraka
FILES = {
    "config/smtp.ini": "listen=127.0.0.1:{port}\nnodes=0\n",
    "config/me": "{name}\n",
    "config/plugins": "tls\nroad\n",
    "config/tls.ini": "key={key}\ncert={certificate}\n[outbound]\nforce_tls_hosts[]=127.0.0.1\n",
    "config/outbound.ini": "enable_tls=true\nlocal_mx_ok=true\ntemp_fail_intervals=1h*9\n",
    "config/log.ini": "[main]\nlevel=info\n",
    "plugins/road.js": (Path(__file__).parent / "haraka_road.js").read_text(),
}


def node() -> Path:
    """The node that .ci/peers chose, or the test that asks ends here."""
    ours = PEERS / "node/bin/node"
    found = str(ours) if ours.exists() else shutil.which("node")
    if found is None or not (HOME / "package.json").exists():
        why = "Haraka is missing: run .ci/peers, which brings it by npm"
        if os.environ.get("FASTRELAY_PEERS") == "required":
            pytest.fail(why)
        pytest.skip(why)
    return Path(found)


class Haraka:
    """A Server."""

    def __init__(self, wish: Wish) -> None:
        self.port = debian.free_port()
        self._node = node()
        self._wish = wish
        self._log = wish.folder / "log"
        self._box = wish.folder / "box"
        for name, text in FILES.items():
            file = wish.folder / name
            file.parent.mkdir(exist_ok=True)
            if not name.endswith(".js"):
                text = text.format(port=self.port, name=wish.name, key=wish.leaf.key, certificate=wish.leaf.certificate)
            file.write_text(text)
        for name in ("queue", "box"):
            (wish.folder / name).mkdir()
        shutil.copy(HOME / "config/connection.ini", wish.folder / "config")  # a config folder must bring its own
        (wish.folder / "config/road.json").write_text(
            json.dumps(
                {
                    "user": wish.account.user,
                    "password": wish.account.password,
                    "kept": wish.kept,
                    "box": str(self._box),
                    "locked": LOCKED,
                    "port": wish.smart_host,
                    "host": wish.smart_host_name,
                    "out_user": wish.way_out.user,
                    "out_password": wish.way_out.password,
                    "wrong": WRONG,
                }
            )
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        command: list[str | Path] = [self._node, HOME / "bin/haraka", "-c", self._wish.folder]
        env = debian.environment(NODE_EXTRA_CA_CERTS=str(self._wish.authority))
        with (
            self._log.open("wb") as log,
            debian.running(command, ready=lambda: debian.listens(self.port), stdout=log, env=env),
        ):
            yield

    def seen(self, recipient: str) -> Seen:
        facts = self._box / f"{recipient}.json"
        debian.wait_until(facts.exists, 20, f"{facts} of Haraka")
        return Seen(**json.loads(facts.read_text()), content=(self._box / f"{recipient}.eml").read_bytes())

    def said(self) -> str:
        return self._log.read_text(errors="replace")
