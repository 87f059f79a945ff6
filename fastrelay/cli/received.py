"""`fastrelay received`: the trail of a message, hop by hop, with a verdict and its reasons.

Hops stand in the order of the way, 1 the oldest (in the message they stand the other way round). DNS is asked only with
--dns; without it the same message gets the same answer anywhere, and the command starts in under 150 ms.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from fastrelay.cli import columns, exits
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import Config, load
from fastrelay.errors import MisuseError
from fastrelay.mail.headers import received_count
from fastrelay.trail.fields import Unreadable, received_fields
from fastrelay.trail.hop import Party
from fastrelay.trail.judge import Judged, Trail, Verdict, judge
from fastrelay.trail.known import known_to
from fastrelay.trail.lookup import Lookup
from fastrelay.trail.mailbox import heads

_HEAD = ("HOP", "VERDICT", "FROM", "BY", "WITH", "TIME (UTC)", "AFTER")
_NAME = 44  # characters of a name or address shown in the table; --json has all
_MARK = {Verdict.AGREES: "agrees", Verdict.OPEN: "open", Verdict.ODD: "odd", Verdict.SUSPICIOUS: "SUSPICIOUS"}


@click.command()
@CONFIG_FILE
@click.option("--trust", multiple=True, metavar="NET", help="Lines of hosts in this network are true; repeatable.")
@click.option("--dns/--no-dns", default=False, help="Ask DNS about names and addresses.  [default: no-dns]")
@click.option("--server", "servers", multiple=True, metavar="ADDRESS", help="With --dns: ask this name server instead.")
@AS_JSON
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(dir_okay=False, exists=True, allow_dash=True))
def received(
    file: str | None, trust: tuple[str, ...], dns: bool, servers: tuple[str, ...], as_json: bool, files: tuple[str, ...]
) -> int:
    """Judge the Received chain of a message, hop by hop.

    FILE is a message or an mbox; without one, or with "-", standard input. Hop 1 is the oldest. A score with reasons,
    no proof: 1 and more is suspicious. Hosts of `relay_from`, of `hostname` and of --trust are believed; the last
    trustworthy hop is the one where a stranger handed over to them. --json prints a line for each message. Exit code
    0 when all are consistent, 1 when one is suspicious, 65 when one cannot be read.

    Example:  fastrelay received --dns --trust 192.0.2.0/24 message.eml
    """
    config = load(file)
    known = known_to(config, trust)
    code = exits.OK
    with ExitStack() as stack:
        lookup = _lookup(config, servers, stack) if dns else None
        for name, head in _messages(files or ("-",), stack):
            try:
                fields = received_fields(head)
                trail = judge(fields, known=known, lookup=lookup, now=time.time())
            except Unreadable as error:
                print(f"fastrelay received: {columns.clean(name)}: {error}", file=sys.stderr)
                code = exits.DATA
                continue
            left_out = max(0, received_count(head) - len(fields))
            if trail.suspicious and code == exits.OK:
                code = exits.SUSPICIOUS
            if as_json:
                print(msgspec.json.encode(plain(name, trail, left_out)).decode())
            else:
                print("\n".join(drawn(name, trail, left_out)), flush=True)
    return code


def _lookup(config: Config, servers: tuple[str, ...], stack: ExitStack) -> Lookup:
    """Brought in only here: event loop and resolver take half a second to load."""
    asking: Lookup = stack.enter_context(import_module("fastrelay.cli.received_dns").asking(config, servers))
    return asking


def _messages(files: Iterable[str], stack: ExitStack) -> Iterator[tuple[str, bytes]]:
    """The heads of all messages; a file with several counts them: "box:2"."""
    for name in files:
        stream = sys.stdin.buffer if name == "-" else stack.enter_context(_opened(name))
        shown = "standard input" if name == "-" else name
        found = heads(stream)
        first = next(found)
        second = next(found, None)
        if second is None:
            yield shown, first
            continue
        yield f"{shown}:1", first
        yield f"{shown}:2", second
        for number, head in enumerate(found, 3):
            yield f"{shown}:{number}", head


def _opened(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise MisuseError(f"cannot read {name}: {error.strerror}") from None


# -- drawn for people -------------------------------------------------------------------------------------------------


def drawn(name: str, trail: Trail, left_out: int = 0) -> list[str]:
    """The verdict, the table, and below each hop what was found there. left_out: older hops not looked at."""
    word = "suspicious" if trail.suspicious else "consistent"
    older = f" ({columns.counted(left_out, 'older one')} left out)" if left_out else ""
    title = (
        f"{columns.clean(name)}: {word}, score {trail.score:g}; {columns.counted(len(trail.hops), 'hop')}{older}, "
        f"last trustworthy: {trail.last_trusted}"
    )
    before: float | None = None
    rows = []
    for one in trail.hops:
        when = one.hop.moment
        after = "" if when is None or before is None else _gap(when.at - before)
        rows.append(_row(one, after))
        before = when.at if when is not None else before
    table = columns.lines(_HEAD, rows)
    out = [title, table[0]]
    for one, line in zip(trail.hops, table[1:], strict=True):
        out.append(line)
        if one.why:
            out.append(f"     {columns.clean(one.why)}")
        said = {one.why}
        for found in sorted(one.findings, key=lambda found: -found.weight):
            why = "" if found.why in said else f": {found.why}"
            weight = f"+{found.weight:g}" if found.weight else "ours, not counted"
            out.append(columns.clean(f"   ! {found.check.value}{why} ({weight})"))
    return out


def _row(one: Judged, after: str) -> tuple[str, ...]:
    hop = one.hop
    at = "" if hop.moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(hop.moment.at))
    stands = {"last trustworthy": " <-", "ours": " ours"}.get(one.standing.value, "")
    how = hop.protocol or hop.via or hop.leap.value
    return (str(hop.number), _MARK[one.verdict] + stands, _party(hop.sender), _party(hop.taker), how[:12], at, after)


def _party(party: Party) -> str:
    name = party.name or party.claimed
    where = f"[{party.address}]" if party.address is not None and f"[{party.address}]" != name else ""
    text = " ".join(part for part in (name, where) if part) or "-"
    return text if len(text) <= _NAME else text[: _NAME - 3] + "..."


def _gap(seconds: float) -> str:
    return f"-{columns.span(-seconds)}" if seconds < 0 else columns.span(seconds)


# -- plain for scripts ------------------------------------------------------------------------------------------------


def plain(name: str, trail: Trail, left_out: int = 0) -> dict[str, Any]:
    """The trail as JSON, oldest hop first; times in seconds since the epoch. left_out: still older hops."""
    return {
        "message": name,
        "verdict": "suspicious" if trail.suspicious else "consistent",
        "score": trail.score,
        "last_trusted": trail.last_trusted,
        "left_out": left_out,
        "hops": [_plain_hop(one) for one in trail.hops],
    }


def _plain_hop(one: Judged) -> dict[str, Any]:
    hop = one.hop
    return {
        "hop": hop.number,
        "verdict": one.verdict.value,
        "standing": one.standing.value,
        "joint": one.why or None,
        "from": _plain_party(hop.sender),
        "by": _plain_party(hop.taker),
        "leap": hop.leap.value,
        "via": hop.via or None,
        "with": hop.protocol or None,
        "id": hop.ident or None,
        "for": hop.recipient or None,
        "time": hop.moment.at if hop.moment is not None else None,
        "findings": [
            {"check": found.check.value, "weight": found.weight, "reason": found.why} for found in one.findings
        ],
        "text": hop.text,
    }


def _plain_party(party: Party) -> dict[str, Any]:
    return {
        "claimed": party.claimed or None,
        "name": party.name or None,
        "address": str(party.address) if party.address is not None else None,
    }
