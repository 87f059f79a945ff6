"""`fastrelay suspend`: stop mail to a site or domain, of a sender or client, until it is resumed; list what is."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from fastrelay.cli import columns
from fastrelay.cli.api import Api
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.quantity import DURATION
from fastrelay.cli.queue import shown, user
from fastrelay.config import Config, load
from fastrelay.errors import MisuseError
from fastrelay.process.privileges import drop, keeper_of
from fastrelay.process.suspensions import KINDS, Suspension, Suspensions

Answer = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
_WHAT = {
    "site": "Mail to this site.",
    "domain": "Mail to recipients at this domain.",
    "sender": 'Mail of this sender; "" for notices.',
    "sender-domain": "Mail of senders at this domain.",
    "client": "Mail that this client (address or network) handed in.",
}


def naming(function: Function) -> Function:
    """Decorator: the options that name what is meant, one of which is given."""
    for kind in reversed(KINDS):
        function = click.option(f"--{kind}", metavar="NAME", help=_WHAT[kind])(function)
    return function


@click.command()
@naming
@click.option("--for", "seconds", type=DURATION, help="It ends by itself, as 1h.  [default: when resumed]")
@click.option("--reason", metavar="TEXT", default="", help="Why; whoever finds it later will want to know.")
@CONFIG_FILE
@AS_JSON
def suspend(file: str | None, as_json: bool, seconds: float | None, reason: str, **names: str | None) -> int:
    """Stop mail, also such as comes later; without a name: list what is suspended.

    Mail is still accepted and stays in the queue until `fastrelay resume`, or the end of --for; its time of expiry
    counts on. What is being delivered this moment is finished first. It holds for all workers and survives a restart.

    Example:  fastrelay suspend --sender-domain news.example --for 2h --reason "ticket 4711"
    """
    config = load(file)
    if not any(name is not None for name in names.values()):
        if seconds is not None or reason:
            raise MisuseError(f"suspend what? {', '.join(f'--{kind}' for kind in KINDS)}")
        return tell(asked(config, "GET", "suspensions", {}), as_json, listing)
    kind, name = named(names)
    if not reason:
        raise MisuseError("--reason TEXT: whoever finds the suspension later will want to know")
    order = {"kind": kind, "name": name, "reason": reason, "seconds": seconds or 0.0, "who": user()}

    def done(told: Answer) -> list[str]:
        until = f"for {columns.span(seconds)}" if seconds else "until it is resumed"
        return [f"suspended {kind} {name or '<>'} {until}: its mail is still accepted, and held in the queue"]

    return tell(asked(config, "POST", "suspend", order), as_json, done)


def named(names: dict[str, str | None]) -> tuple[str, str]:
    """The one kind and name that were given. MisuseError."""
    given = [(kind.replace("_", "-"), name) for kind, name in names.items() if name is not None]
    if len(given) != 1:
        raise MisuseError(f"one of {', '.join(f'--{kind}' for kind in KINDS)}, please")
    return given[0][0], given[0][1] or ""


def asked(config: Config, method: str, path: str, order: Answer) -> Answer:
    """The answer of the running relay; where none runs, the file in its spool is changed."""
    api = Api(config)
    if api.answers():
        return (api.get(path) if method == "GET" else api.post(path, order)) or {}
    spool = Path(config.spool.path)
    identity = keeper_of(spool, config.server.user)
    if identity.changes:
        drop(identity)
    if not spool.is_dir():
        raise MisuseError(
            f"no relay runs in {config.server.runtime_dir}, and its spool {spool} is not there; name its configuration "
            f"with -c"
        )
    file, now = Suspensions(spool), time.time()
    changed = False
    if path == "suspend":
        until = now + order["seconds"] if order["seconds"] else 0.0
        kept = file.add(Suspension(order["kind"], order["name"], now, until, order["reason"], order["who"]), now)
        changed = True
    elif path == "resume":
        changed, kept = file.end(order["kind"], order["name"], now)
    else:
        kept = file.now(now)
    return {"suspensions": [msgspec.to_builtins(one) for one in kept], "changed": changed, "incomplete": []}


def listing(told: Answer) -> list[str]:
    """A line per suspension."""
    now = told["now"]
    rows = [
        (
            one["kind"],
            one["name"] or "<>",
            columns.span(now - one["since"]),
            f"in {columns.span(one['until'] - now)}" if one["until"] else "when resumed",
            one["who"],
            one["reason"],
        )
        for one in told["suspensions"]
    ]
    return columns.lines(("WHAT", "NAME", "SINCE", "ENDS", "WHO", "REASON"), rows) if rows else ["nothing is suspended"]


def tell(told: Answer, as_json: bool, drawn: Callable[[Answer], list[str]]) -> int:
    """Print an answer; a worker that is missing there learns of it by itself. The exit code."""
    return shown(told, as_json, drawn, "its worker did not answer; it reads the suspensions when it is back")
