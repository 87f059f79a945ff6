"""fastrelay itself, through its real program, and the bare relay."""

import sys
from importlib.util import find_spec
from pathlib import Path

import fastrelay
from bench.backlog import link
from bench.relay import Need, Setup, Wish
from tests.peers import debian

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """\
[server]
hostname = "relay.invalid"
workers = {workers}
runtime_dir = "{folder}/run"

[[listener]]
address = "127.0.0.1:{port}"
max_connections = {clients}
{listener}
[spool]
path = "{folder}/spool"
durability = "fsync"

[retry]
first = "{first_retry:g}s"

[delivery]
connections = {connections}
connect_rate = "100000/min"
messages_per_connection = 1000
tls = "{tls}"
{delivery}
{routes}
[admin]
address = "127.0.0.1:{admin}"

[log]
events = "{folder}/events"
"""


def config(folder: Path, wish: Wish, port: int, admin: int) -> str:
    """fastrelay.toml for a wish."""
    hops = {name: f"{host}:{hop}" for name, (host, hop) in wish.next_hops.items()}
    routes, delivery = "", ""
    if wish.name_server is not None:
        address, server_port = wish.name_server
        delivery = f'port = {wish.mail_port}\nallow_private = true\nip = "4"\n'
        routes = f'[dns]\nnameservers = ["{address}:{server_port}"]\n'
    elif wish.sink:
        hops["*"] = f"127.0.0.1:{wish.sink}"
    listener = ""
    if wish.certificate is not None:
        listener = 'tls = "starttls"\ncertificate = "{}"\nkey = "{}"\n'.format(*wish.certificate)
    routes += "".join(f'[[route]]\ndomain = "{name}"\nnext_hop = ["{hop}"]\n' for name, hop in hops.items())
    return CONFIG.format(
        workers=wish.workers, folder=folder, port=port, admin=admin, clients=max(1000, wish.clients),
        first_retry=wish.first_retry, connections=wish.connections, delivery=delivery, routes=routes,
        listener=listener, tls="require" if wish.tls_out else "never",
    )  # fmt: skip


class Fastrelay:
    """`fastrelay serve`: fsync, event log to a file, metrics on."""

    name = "fastrelay"
    offers = frozenset(Need) - {Need.MX_BY_SYSTEM}
    root = ROOT

    def missing(self) -> str:
        return "" if find_spec("fastrelay.cli.main") else "fastrelay.cli.main is not there"

    def version(self) -> str:
        return fastrelay.__version__

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        port, admin = debian.free_port(), debian.free_port()
        text = config(folder, wish, port, admin)
        file = folder / "fastrelay.toml"
        file.write_text(text)
        if wish.spool is not None:
            link(wish.spool, folder / "spool")
        # -P: not the fastrelay of the folder this run was started in, but that of `root`
        command = [sys.executable, "-P", "-c", "from fastrelay.cli.main import main; main()", "serve", "-c", str(file)]
        api = str(folder / "run" / "admin.sock")
        return Setup(command, debian.environment(PYTHONPATH=str(self.root)), port, text, metrics=admin, api=api)


class Compiled(Fastrelay):
    """The same with its hot path compiled, from the copy that `make build/compiled` made: of the same commit, or the
    comparison would be one of two programs."""

    name = "compiled"
    root = ROOT / "build" / "compiled"

    def missing(self) -> str:
        if not list((self.root / "fastrelay" / "smtp").glob("server.*.so")):
            return "build/compiled is not there: make build/compiled"
        return (
            "" if _sources(self.root) == _sources(ROOT) else "build/compiled is of other sources: make build/compiled"
        )


def _sources(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in (root / "fastrelay").rglob("*.py")}


class Bare:
    """bench/bare_relay.py: what the ground costs without a relay's features."""

    name = "bare"
    offers = frozenset({Need.CLIENTS})

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return f"of fastrelay {fastrelay.__version__}"

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        port = debian.free_port()
        words = [
            "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{wish.sink}", "--journal", str(folder),
            "--workers", str(wish.workers), "--connections", str(wish.connections // wish.workers),
        ]  # fmt: skip
        command = [sys.executable, str(ROOT / "bench/bare_relay.py"), *words]
        return Setup(command, debian.environment(PYTHONPATH=str(ROOT)), port, " ".join(words))
