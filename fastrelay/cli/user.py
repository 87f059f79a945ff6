"""`fastrelay user`: who may log in here. Works on the users file; running workers see the change by themselves."""

import os
import pwd
import sys

import click
import msgspec

from fastrelay.cli import exits
from fastrelay.cli.columns import lines as columns
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import Config, load
from fastrelay.errors import MisuseError
from fastrelay.reception.users_file import changing, read_users, user_name
from fastrelay.smtp import sasl
from fastrelay.smtp.sasl.prep import Unprintable, saslprep
from fastrelay.smtp.sasl.scram import make_verifier


@click.group()
def user() -> None:
    """Say who may log in.

    The file [auth] users holds no password but what SCRAM-SHA-256 needs to check one. A relay that runs sees a change
    at the next login.

    Example:  fastrelay user add app@example.com
    """


@user.command()
@CONFIG_FILE
@click.argument("name")
def add(file: str | None, name: str) -> None:
    """Add a user, or give one another password.

    The password is asked for twice; where standard input is no terminal, it is its first line.

    Example:  fastrelay user add app@example.com < secret.txt
    """
    config = load(file)
    prepared = _name(name)
    password = _password(prepared)
    with changing(config.auth.users, owner=_owner(config)) as lines:
        fresh = lines.put(prepared, make_verifier(password, config.auth.iterations))
    print(f"{prepared}: {'added' if fresh else 'has another password now'}")


@user.command("list")
@CONFIG_FILE
@AS_JSON
def list_(file: str | None, as_json: bool) -> None:
    """List the users.

    Example:  fastrelay user list --json
    """
    found = read_users(load(file).auth.users)
    if as_json:
        rows = [{"name": name, "mechanism": sasl.SCRAM, "iterations": one.iterations} for name, one in found.items()]
        print(msgspec.json.encode(rows).decode())
        return
    for line in columns(("USER", "ITERATIONS"), [(name, one.iterations) for name, one in found.items()]):
        print(line)


@user.command()
@CONFIG_FILE
@click.argument("name")
def remove(file: str | None, name: str) -> None:
    """Remove a user; sessions that are logged in go on. Exit code 65 when there is no such user.

    Example:  fastrelay user remove app@example.com
    """
    config = load(file)
    prepared = _name(name)
    read_users(config.auth.users)  # one that is not there is not made
    with changing(config.auth.users) as lines:
        removed = lines.remove(prepared)
    if not removed:
        print(f"fastrelay user: there is no {prepared} in {config.auth.users}", file=sys.stderr)
        sys.exit(exits.DATA)
    print(f"{prepared}: removed")


def _name(text: str) -> str:
    try:
        return user_name(text)
    except ValueError as error:
        raise MisuseError(str(error)) from None


def _password(name: str) -> bytes:
    if sys.stdin.isatty():
        text = str(click.prompt(f"password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    try:
        password = saslprep(text).encode()
    except Unprintable as error:
        raise MisuseError(f"this password cannot be used: {error}") from None
    if len(password) > sasl.MAX_PASSWORD:
        raise MisuseError(f"a password has at most {sasl.MAX_PASSWORD} octets")
    return password


def _owner(config: Config) -> tuple[int, int] | None:
    """Workers read the file as [server] user, so a new one is that user's."""
    if os.geteuid() != 0 or not config.server.user:
        return None
    try:
        entry = pwd.getpwnam(config.server.user)
    except KeyError:
        return None  # `fastrelay check` says so
    return entry.pw_uid, entry.pw_gid
