"""`fastrelay resume`: let go what was suspended."""

import sys

import click

from fastrelay.cli import exits
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.queue import user
from fastrelay.cli.suspend import asked, named, naming, tell
from fastrelay.config import load


@click.command()
@naming
@click.option("--reason", metavar="TEXT", default="", help="Why; stands in the event log.")
@CONFIG_FILE
@AS_JSON
def resume(file: str | None, as_json: bool, reason: str, **names: str | None) -> int:
    """Let go what was suspended; its mail is due at once.

    Exit code 65 when it was not suspended.

    Example:  fastrelay resume --sender-domain news.example
    """
    config = load(file)
    kind, name = named(names)
    order = {"kind": kind, "name": name, "reason": reason, "who": user()}
    told = asked(config, "POST", "resume", order)
    if not told["changed"]:
        print(f"fastrelay resume: {kind} {name or '<>'} is not suspended; see fastrelay suspend", file=sys.stderr)
        return exits.DATA

    return tell(told, as_json, lambda told: [f"resumed {kind} {name or '<>'}"])
