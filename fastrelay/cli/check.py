"""`fastrelay check`: is this configuration one that a relay would start with?"""

from pathlib import Path

import click
import msgspec

from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import Config, authorities, load
from fastrelay.errors import ConfigError
from fastrelay.process.cpus import workers
from fastrelay.process.privileges import identity_of
from fastrelay.reception.users_file import read_users
from fastrelay.routing.overrides import Overrides
from fastrelay.routing.servers import parse
from fastrelay.runtime.tls import server_context, verifying_contexts


@click.command()
@CONFIG_FILE
@AS_JSON
def check(file: str | None, as_json: bool) -> None:
    """Validate the configuration.

    Exit code 0, or 78 and one line that names file, key and what to write instead. --json prints every value that
    would be in force, defaults included; durations in seconds, sizes in octets.

    Example:  fastrelay check -c /etc/fastrelay/fastrelay.toml && systemctl restart fastrelay
    """
    config = load(file)
    verify(config)
    if as_json:
        print(msgspec.json.encode(without_secrets(config)).decode())
        return
    for note in config.notes:
        print(f"note: {note}")
    listeners = ", ".join(listener.address for listener in config.listeners)
    print(f"ok: {config.source}: {workers(config.server.workers)} workers on {listeners}; spool {config.spool.path}")


def without_secrets(config: Config) -> Config:
    """The same, to be shown."""
    rows = [msgspec.structs.replace(row, password="***") if row.password else row for row in config.credentials]
    return msgspec.structs.replace(config, credentials=tuple(rows))


def verify(config: Config) -> None:
    """What only shows when it is used: user, certificates and authorities, users file, next hops, servers, event log.
    ConfigError as at a start."""
    identity_of(config.server.user)
    for listener in config.listeners:
        if listener.tls != "none":
            server_context(listener.certificate, listener.key)
    if any(listener.auth != "none" for listener in config.listeners):
        read_users(config.auth.users)
    verifying_contexts(authorities(config))
    Overrides(config.routes)
    for server in config.dns.nameservers:
        parse(server)
    events = Path(config.log.events)
    if config.log.events not in ("stdout", "none") and (events.is_dir() or not events.parent.is_dir()):
        raise ConfigError(f"log.events: {events} cannot be a file there: name one in a directory that exists")
