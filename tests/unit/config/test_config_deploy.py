"""deploy/config/fastrelay.toml beside config.py: it loads, names every key there is, and shows each at its default."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastrelay import config
from fastrelay.config import Config, parse, reading

FILE = Path(__file__).resolve().parents[3] / "deploy/config/fastrelay.toml"
TEXT = FILE.read_text(encoding="utf-8")
TABLES = {**reading.TABLES, "listener": config.Listener, "credentials": config.Credentials}
_COMMENTED = re.compile(r"# (\[\[?[\w.]+\]\]?(?: +#.*)?|\w+ = .*)\Z")

# commented out, with a value that is an example: there is none that could stand there for everybody
WITHOUT_DEFAULT = {
    "server": {"hostname", "user", "runtime_dir"},
    "listener": {
        *("max_connections_per_client", "certificate", "key", "certificates", "client_ca", "relay_certificates"),
        "proxy_from",
        *("connection_rate_per_client", "tls_rate_per_client", "message_rate_per_client", "recipient_rate_per_client"),
        "message_rate_per_account",
    },
    "spool": {"path"},
    "delivery": {"hello"},
    "credentials": {"name", "user", "password", "password_file", "mechanisms", "plaintext"},
}


def uncommented() -> str:
    """The file with every key that stands behind "#" in force."""
    return "\n".join(match[1] if (match := _COMMENTED.match(line)) else line for line in TEXT.splitlines())


def without_source(one: Config) -> Config:
    return msgspec.structs.replace(one, source="")


def test_as_it_stands_it_changes_nothing() -> None:
    assert without_source(parse(TEXT, str(FILE))) == without_source(parse(""))


def test_every_line_behind_a_sign_is_understood_too() -> None:
    everything = parse(
        uncommented()
        .replace('tls = "none"', 'tls = "starttls"')
        .replace("proxy_protocol = false", "proxy_protocol = true")
        .replace('auth = "none"', 'auth = "optional"')
    )
    assert everything.server.user == "fastrelay" and everything.listeners[0].certificate.endswith(".pem")
    assert everything.sites[0].delivery.connections == 5 and everything.routes[0].domain == "*"
    assert everything.listeners[0].certificates[0].key.endswith(".pem")
    defaults = parse("")
    assert everything.server.runtime_dir == defaults.server.runtime_dir
    assert everything.spool.path == defaults.spool.path
    assert everything.listeners[0].max_connections_per_client == defaults.listeners[0].max_connections_per_client


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_there(table: str) -> None:
    known = set(reading.keys_of(TABLES[table]))
    shown: dict[str, Any] = tomllib.loads(uncommented())
    section = shown[table][0] if isinstance(shown[table], list) else shown[table]
    assert set(section) == known
    plain: dict[str, Any] = tomllib.loads(TEXT)
    in_force = plain.get(table, {})
    in_force = in_force[0] if isinstance(in_force, list) else in_force
    assert known - set(in_force) == WITHOUT_DEFAULT.get(table, set())


def test_site_and_route_show_their_own_keys() -> None:
    shown = tomllib.loads(uncommented())
    assert set(reading.SITE_KEYS) <= set(shown["site"][0])
    assert set(shown["route"][0]) == set(reading.keys_of(config.StaticRoute))


def test_every_key_is_explained() -> None:
    """A comment on its line or the one below it, where the name does not say it all."""
    speaking = {"factor", "max", "min_ttl", "max_ttl", "messages_per_connection", "connection_lifetime", "port",
                "recipients_per_transaction", "connect_timeout", "protocol", "domain", "connections", "next_hop",
                "mx_suffix"}  # fmt: skip
    for line in TEXT.splitlines():
        match = re.match(r"(?:# )?(\w+) = [^#]*(#?)", line)
        assert match is None or match[2] or match[1] in speaking, line
