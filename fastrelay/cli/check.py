"""`fastrelay check`: is this configuration one that a relay would start with?"""

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from fastrelay.admin.token import Token
from fastrelay.cli.columns import counted
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import Config, authorities, load
from fastrelay.delivery.accounts import accounts
from fastrelay.errors import ConfigError, Impossible
from fastrelay.process.cpus import workers
from fastrelay.process.privileges import Identity, drop, identity_of
from fastrelay.reception.users_file import read_users
from fastrelay.routing.overrides import Overrides
from fastrelay.routing.servers import parse
from fastrelay.runtime import certificates
from fastrelay.runtime.tls import verifying_contexts


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
    warnings = verify(config)
    if as_json:
        print(msgspec.json.encode(without_secrets(config)).decode())
        return
    for note in config.notes:
        print(f"note: {note}")
    for warning in warnings:
        print(f"warning: {warning}")
    listeners = ", ".join(listener.address for listener in config.listeners)
    count = counted(workers(config.server.workers), "worker")
    print(f"ok: {config.source}: {count} on {listeners}; spool {config.spool.path}")


def without_secrets(config: Config) -> Config:
    """The same, to be shown."""
    rows = [msgspec.structs.replace(row, password="***") if row.password else row for row in config.credentials]
    return msgspec.structs.replace(config, credentials=tuple(rows))


@contextlib.contextmanager
def told_of(config: Config) -> Iterator[None]:
    """Every ConfigError from within begins with the file."""
    try:
        yield
    except ConfigError as error:
        begin = f"{config.source}: "
        raise ConfigError(str(error) if str(error).startswith(begin) else begin + str(error)) from None


def verify(config: Config) -> list[str]:
    """What only shows when it is used: user, certificates and authorities, users file, next hops, servers, event log.
    ConfigError as at a start; what works but should be mended soon is returned, a line each."""
    with told_of(config):
        return _verified(config)


def _verified(config: Config) -> list[str]:
    warnings = _as(identity_of(config.server.user), lambda: _files(config))
    Overrides(config.routes)
    for server in config.dns.nameservers:
        parse(server)
    events = Path(config.log.events)
    if config.log.events not in ("stdout", "none") and (events.is_dir() or not events.parent.is_dir()):
        raise ConfigError(f"log.events: {events} cannot be a file there: name one in a directory that exists")
    fault = Token(config.admin.token_file).fault()
    return [*warnings, fault] if fault else warnings


def _files(config: Config) -> list[str]:
    """The files that workers read as `server.user`. ConfigError; complaints."""
    complaints: list[str] = []
    for listener in config.listeners:
        shown = certificates.of_listener(listener)
        complaints += shown.complaints(time.time()) if shown is not None else []
    if any(listener.auth != "none" for listener in config.listeners):
        read_users(config.auth.users)
    verifying_contexts(authorities(config))
    accounts(config.credentials)
    return complaints


def _as(identity: Identity, work: Callable[[], list[str]]) -> list[str]:
    """Done by a child that has become `identity`, where that is another: what root may read proves nothing. Its lines,
    or its ConfigError."""
    if not identity.changes:
        return work()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            drop(identity)
            try:
                answer = {"lines": work()}
            except ConfigError as error:
                answer = {"error": [str(error)]}
            os.write(writer, msgspec.json.encode(answer))
        except BaseException:  # a bug, or a machine that is short: told whole, for the parent knows only that it ended
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answered:
        octets = answered.read()
    os.waitpid(pid, 0)
    if not octets:
        raise Impossible(f"nothing could be checked as {identity.name}")
    said = msgspec.json.decode(octets, type=dict[str, list[str]])
    if "error" in said:
        raise ConfigError(said["error"][0])
    return said["lines"]
