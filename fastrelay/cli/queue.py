"""`fastrelay queue`: look at the mail that waits, and change what becomes of it.

A running relay answers over its admin.sock; where none runs, the same verbs open the spool itself (offline.py), and say
so. Either way the answers have one shape.
"""

import os
import pwd
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import click
import msgspec

from fastrelay.cli import exits, queue_pages
from fastrelay.cli.api import Api
from fastrelay.cli.columns import counted
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.queue_rows import Rows
from fastrelay.cli.selectors import select, selecting, to_query
from fastrelay.config import load

_PAGE = 1000  # rows per request; the API gives no more
Answer = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Queue(Protocol):
    """The queue of a relay that runs (Online) or does not (offline.py). Each answer names in `incomplete` the slots
    it does not cover."""

    def summary(self, chosen: Answer) -> Answer: ...
    def page(self, chosen: Answer, after: str, limit: int) -> Answer: ...
    def show(self, ident: str) -> Answer | None: ...
    def change(self, verb: str, chosen: Answer, order: Answer) -> Answer: ...


class Online:
    """The queue of a running relay."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def summary(self, chosen: Answer) -> Answer:
        """Sums, by domain."""
        return self._api.get("queue/summary", to_query(chosen)) or {}

    def page(self, chosen: Answer, after: str, limit: int) -> Answer:
        """Rows in id order behind `after`, and `next`."""
        return self._api.get("queue", {**to_query(chosen), "after": after, "limit": str(limit)}) or {}

    def show(self, ident: str) -> Answer | None:
        """Everything about one message; None when it is not there."""
        return self._api.get(f"queue/{ident}")

    def change(self, verb: str, chosen: Answer, order: Answer) -> Answer:
        """Carry out a changing verb; `changed` and `busy`. order: reason, who, silent."""
        return self._api.post(f"queue/{verb}", {"select": chosen, **order}) or {}


def opened(file: str | None) -> Queue:
    """The queue of the relay of this configuration, running or not. MachineShort when its spool cannot be had."""
    config = load(file)
    api = Api(config)
    if api.answers():
        return Online(api)
    from fastrelay.cli.offline import Offline  # brings event loop and spool: only where there is no relay to ask

    return Offline.open(config)


@click.group()
def queue() -> None:
    """Look at the queue and change it.

    Changing commands want to know which mail: an ID, --domain, --site, --sender, --older-than, --reply or --all;
    several together must all hold. With --domain, --site or --reply they concern only those recipients. All work on a
    stopped relay too. Exit code 75 when a worker did not answer: the rest was done, the line on stderr names its slot.

    Example:  fastrelay queue retry --domain example.com
    """


@queue.command()
@selecting
@CONFIG_FILE
@AS_JSON
def summary(file: str | None, as_json: bool, **words: Any) -> int:
    """Sums of what waits, by recipient domain.

    Example:  fastrelay queue summary --older-than 1h
    """
    told = opened(file).summary(select(**words))
    return shown(told, as_json, queue_pages.summary)


@queue.command(name="list")
@selecting
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Rows at most; 0: all of them.")
@click.option("--after", metavar="ID", default="", help="Begin behind this message: the last of the page before.")
@CONFIG_FILE
@AS_JSON
def list_(file: str | None, as_json: bool, limit: int, after: str, **words: Any) -> int:
    """Messages that wait, oldest first.

    Example:  fastrelay queue list --site google --limit 20
    """
    chosen, source = select(**words), opened(file)
    rows = Rows(as_json=as_json)
    missing: dict[int, Answer] = {}
    cursor: str | None = after.lower()
    while cursor is not None and (not limit or rows.count < limit):
        left = limit - rows.count if limit else _PAGE
        told = source.page(chosen, cursor, min(_PAGE, left))
        cursor = told["next"]
        some = told["rows"]
        if limit and len(some) > left:  # of a stopped relay all come at once
            some = some[:left]
            cursor = str(some[-1]["id"])
        rows.add(some)
        missing |= {slot: {} for slot in told["incomplete"] if slot not in missing}
        missing |= {error["slot"]: error for error in told.get("errors", ())}
    rows.end(cursor, sorted(missing))
    return _incomplete({"incomplete": sorted(missing), "errors": [error for error in missing.values() if error]})


@queue.command()
@click.argument("ident", metavar="ID")
@CONFIG_FILE
@AS_JSON
def show(file: str | None, as_json: bool, ident: str) -> int:
    """Everything about one message: envelope, each recipient, header.

    Exit code 65 when it is not in the queue: delivered, returned or removed.

    Example:  fastrelay queue show 0198f2b3c4d5...
    """
    told = opened(file).show(ident.lower())
    if told is None or (told.get("found") is False and not told["incomplete"]):
        print(f"fastrelay queue show: no message {ident} in the queue; the event log has its end", file=sys.stderr)
        return exits.DATA
    if told.get("found") is False:
        return _incomplete(told)
    return shown(told, as_json, queue_pages.message)


def changing(function: Function) -> Function:
    """Decorator: what all changing verbs take."""
    options = (
        selecting,
        click.option("--reason", metavar="TEXT", default="", help="Why; stands in the event log."),
        CONFIG_FILE,
        AS_JSON,
    )
    for option in reversed(options):
        function = option(function)
    return function


@queue.command()
@changing
def retry(**words: Any) -> int:
    """Try again now instead of waiting for the next attempt.

    Example:  fastrelay queue retry --all
    """
    return _change("retry", "due now", **words)


@queue.command()
@changing
def hold(**words: Any) -> int:
    """Keep mail in the queue without trying to deliver it.

    --reason is required. Whole messages are held, also where a selector means some of their recipients.

    Example:  fastrelay queue hold --sender news@example.com --reason "asked by marketing"
    """
    return _change("hold", "held", **words)


@queue.command()
@changing
def release(**words: Any) -> int:
    """End a hold.

    Example:  fastrelay queue release --all
    """
    return _change("release", "released", **words)


YES = click.option("--yes", is_flag=True, help="Do not ask; where no terminal is there, nobody is asked.")


@queue.command()
@changing
@YES
def remove(yes: bool, **words: Any) -> int:
    """Remove mail for good; its sender is not told.

    On a terminal it says how many messages that are, and asks.

    Example:  fastrelay queue remove --sender broken@example.com --older-than 1h --reason "loop of ticket 4711"
    """
    return _change("remove", "removed", ask=not yes, **words)


@queue.command()
@changing
@click.option("--silent", is_flag=True, help="Tell nobody.")
@YES
def bounce(silent: bool, yes: bool, **words: Any) -> int:
    """Return mail to its senders now, with the reason.

    --reason is required. On a terminal it says how many messages that are, and asks. Each sender gets the notice an
    undeliverable message would bring, unless --silent is given or the message is a notice itself.

    Example:  fastrelay queue bounce --domain gone.example --reason "the company has closed"
    """
    return _change("bounce", "returned", {"silent": silent}, ask=not yes, **words)


def _change(
    verb: str,
    done: str,
    more: Answer | None = None,
    *,
    file: str | None,
    as_json: bool,
    reason: str,
    ask: bool = False,
    **words: Any,
) -> int:
    chosen, source = select(**words), opened(file)
    if ask and chosen and "id" not in chosen and has_terminal():
        sums = source.summary(chosen)
        messages, recipients = counted(sums["messages"], "message"), counted(sums["recipients"], "recipient")
        if not click.confirm(f"{verb} {messages}, {recipients}?", err=True):
            print("nothing was changed", file=sys.stderr)
            return exits.INTERRUPTED
    told = source.change(verb, chosen, {"reason": reason, "who": user(), **(more or {})})
    changed, busy = told["changed"], told["busy"]
    aside = "; what is on hold or suspended stays so" if verb == "retry" and not changed else ""
    code = shown(told, as_json, lambda told: [f"{counted(changed, 'message')} {done}{aside}"])
    if busy:
        print(f"{busy:,} left alone: being delivered this moment; ask again if they are still there", file=sys.stderr)
        return exits.TEMPORARY
    if "id" in chosen and not changed and code == exits.OK:
        print(f"fastrelay queue {verb}: nothing to do for {chosen['id']}: see fastrelay queue show", file=sys.stderr)
        return exits.DATA
    return code


def has_terminal() -> bool:
    """Somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def user() -> str:
    """Who asks, for the event log: the person behind sudo where there is one."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


_NO_ANSWER = "its worker did not answer; try again"


def shown(told: Answer, as_json: bool, drawn: Callable[[Answer], list[str]], no_answer: str = _NO_ANSWER) -> int:
    """Print an answer; say which slots it does not cover, on stderr. The exit code."""
    if as_json:
        print(msgspec.json.encode(told).decode())
    else:
        print("\n".join(drawn({**told, "now": time.time()})))
    return _incomplete(told, no_answer)


def _incomplete(told: Answer, no_answer: str = _NO_ANSWER) -> int:
    """Say which slots an answer does not cover; the exit code."""
    missing = told.get("incomplete", ())
    if not missing:
        return exits.OK
    whys = {error["slot"]: error["error"] for error in told.get("errors", ())}
    for slot in missing:
        print(f"incomplete: slot-{slot:03d}: {whys.get(slot, no_answer)}", file=sys.stderr)
    return exits.TEMPORARY
