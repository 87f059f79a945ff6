"""`fastrelay trace`: the SMTP dialogue of a running relay as it happens."""

import os
import sys
import time
from typing import Any

import click
import msgspec

from fastrelay.cli import exits
from fastrelay.cli.api import Api
from fastrelay.cli.columns import clean
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.quantity import DURATION
from fastrelay.config import load

_EVERY = 0.25  # seconds between two looks
_COLOURS = {"client": "\x1b[36m", "server": "\x1b[32m", "": "\x1b[2m"}
_BAD, _PLAIN = "\x1b[31m", "\x1b[0m"


@click.command()
@click.option("--domain", metavar="NAME", default="", help="Transactions with a recipient at this domain.")
@click.option("--client", metavar="IP", default="", help="Sessions of this client, an address or a network.")
@click.option("--for", "seconds", type=DURATION, help="End after that time, as 30s.  [default: Ctrl-C]")
@CONFIG_FILE
@AS_JSON
def trace(file: str | None, as_json: bool, domain: str, client: str, seconds: float | None) -> int:
    """Show the SMTP dialogue as it happens, in and out.

    Sessions that begin from now on are shown, with the time since the line before. Passwords are never shown, content
    is told by its length. A relay that nobody traces pays nothing for it; connections to other servers that lie idle
    are closed when a trace begins, for the next mail to be seen from its greeting on.

    Example:  fastrelay trace --domain example.com
    """
    api = Api(load(file))
    query = {key: value for key, value in (("domain", domain), ("client", client)) if value}
    query["watch"] = f"{os.getpid()}.{time.time_ns()}"  # others may trace the same
    colour = sys.stdout.isatty()
    until = time.monotonic() + seconds if seconds is not None else None
    told: set[int] = set()
    try:
        while True:
            answer = api.get("trace", query) or {}
            for line in answer.get("lines", ()):
                print(msgspec.json.encode(line).decode() if as_json else drawn(line, colour=colour), flush=True)
            if answer.get("lost"):
                print(f"{answer['lost']:,} lines lost: more than can be shown", file=sys.stderr)
            for slot in set(answer.get("incomplete", ())) - told:
                told.add(slot)
                print(f"incomplete: slot-{slot:03d} does not answer; its sessions are missing", file=sys.stderr)
            if until is not None and time.monotonic() >= until:
                return exits.TEMPORARY if told else exits.OK
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return exits.OK


def drawn(line: dict[str, Any], *, colour: bool) -> str:
    """One line: when, how long after the one before, which session with whom, who said what."""
    at = line["at"]
    moment = f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03d}"
    who, text = line["from"], clean(line["text"])
    mark = {"client": "C:", "server": "S:"}.get(who, "--")
    head = f"{moment} {line['took'] * 1000:8.1f} ms {line['side']:<3} {line['session']:<10} {line['address']:<15} "
    if not colour:
        return f"{head}{mark} {text}"
    tint = _BAD if who == "server" and text[:1] in ("4", "5") else _COLOURS[who]
    return f"\x1b[2m{head}{_PLAIN}{tint}{mark} {text}{_PLAIN}"
