"""`fastrelay explain`: why is mail to a domain, or one message, where it is?"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import click

from fastrelay.cli import exits
from fastrelay.cli.api import Api
from fastrelay.cli.columns import clean, lines, span
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.queue import shown
from fastrelay.config import load
from fastrelay.mail.address import domain_of

Answer = dict[str, Any]
_IDENT = re.compile(r"[0-9a-f]{32}\Z")
_RECORDS = 4  # of one DNS answer that are shown; --json has all
_FIRST = ("connections", "connect_rate")  # the limits that hold mail back most often
_SECONDS = ("connection_lifetime", "idle_timeout")


@click.command()
@click.argument("name", metavar="DOMAIN|ID")
@CONFIG_FILE
@AS_JSON
def explain(file: str | None, as_json: bool, name: str) -> int:
    """Say why mail to a domain, or one message, is where it is.

    Route and DNS, site, the limits in force and where each comes from, window, suspensions, last replies, next attempt,
    and one sentence. Asks all workers of a running relay. Exit code 65 when there is no such message.

    Example:  fastrelay explain example.com
    """
    api = Api(load(file))
    if _IDENT.match(name.lower()):
        told = api.get("explain", {"id": name.lower()})
    else:
        told = api.get("explain", {"domain": domain_of(name)})
    if told is None:
        print(f"fastrelay explain: no message {name} in the queue; the event log has its end", file=sys.stderr)
        return exits.DATA
    return shown(told, as_json, page)


def page(told: Answer) -> list[str]:
    """The answer of /api/v1/explain as lines: the sentence first, then what it rests on."""
    out: list[str] = []
    by_domain: dict[str, list[Answer]] = {}
    for one in told["explained"]:
        by_domain.setdefault(one["domain"], []).append(one)
    for domain, slots in by_domain.items():
        if out:
            out.append("")
        out += [f"{clean(domain)}: {clean(slots[0]['why'] if len(by_domain) > 1 else told['why'])}", ""]
        out += _domain(slots)
    return out or [told["why"]]


def _domain(slots: list[Answer]) -> Iterator[str]:
    one = max(slots, key=lambda one: int(one["queued"]["items"]))
    route = one["route"]
    if route is not None:
        hosts = ", ".join(f"{host['name']}{_port(host)} [{', '.join(_addresses(host))}]" for host in route["hosts"])
        yield _fact("route", f"{route['kind']}, decided for another {span(route['seconds_left'])}: {hosts}")
    else:
        yield _fact("route", one["outcome"] or "not known yet")
    for asked in one["dns"] if one["dns"] is not None else ():
        records = asked["records"]
        more = f" and {len(records) - _RECORDS} more" if len(records) > _RECORDS else ""
        answer = ", ".join(records[:_RECORDS]) + more or asked["reason"] or asked["status"]
        left = f"{asked['source']}, fresh for {span(asked['seconds_left'])}"
        yield _fact("dns", f"{asked['name']} {asked['type']}: {answer} ({left})")
    if one["dns"] is None:
        yield _fact("dns", "the name servers have not answered within a second")
    yield _fact("site", one["site"] or "not known yet")
    if one.get("login"):
        yield _fact("login", f'that of [[credentials]] "{one["login"]}"')
    ledger = one["ledger"]
    limits = one["limits"]
    for name in sorted(limits, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)):
        limit = limits[name]
        value = span(limit["value"]) if name in _SECONDS else limit["value"]
        used = ""
        if ledger is not None and name == "connections":
            used = f", {ledger['connections']} in use on this machine"
        elif ledger is not None and name == "connect_rate":
            seconds = ledger["rate_seconds"]
            used = f", the next may begin {f'in {seconds:.1f} s' if seconds else 'now'}"
        yield _fact("limit" if name == "connections" else "", f"{name} = {value} ({limit['from']}){used}")
    for bar in one["suspensions"]:
        until = f"for another {span(bar['seconds'])}" if bar["seconds"] is not None else "until resumed"
        yield _fact("suspended", f"{bar['kind']} {bar['name'] or '<>'} {until}: {bar['reason']}")
    yield ""
    yield from lines(
        ("WORKER", "QUEUED", "WAITING", "READY", "CONNECTING", "SENDING", "TRIES", "NEXT", "OLDEST", "WINDOW", "STATE"),
        [_row(slot) for slot in slots],
    )
    replies = [
        (reply["seconds_ago"], reply["reply"]) for slot in slots for reply in (slot["lane"] or {}).get("last", ())
    ]
    if replies:
        yield ""
        yield from lines(("AGO", "LAST REPLIES OF THE SITE"), [(span(ago), text) for ago, text in sorted(replies)[:5]])


def _row(slot: Answer) -> tuple[object, ...]:
    found, lane = slot["queued"], slot["lane"]
    places, connecting = found["places"], found.get("unconnected", 0)
    state, window = "", ""
    if lane is not None:
        window = f"{lane['window']['size']} of {lane['window']['limit']}"
        if lane["window"]["closed_seconds"]:
            state = f"closed to {lane['window']['limit']} for {span(lane['window']['closed_seconds'])}"
        if lane["suspended_seconds"]:
            state = f"at rest for {span(lane['suspended_seconds'])}"
    ready = f"{places.get('ready', 0)}" + (f" (number {found['position']:,})" if found.get("position") else "")
    return (
        f"slot-{slot['slot']:03d}",
        found["items"],
        sum(count for place, count in places.items() if place not in ("ready", "running")),
        ready,
        connecting,
        places.get("running", 0) - connecting,
        found["attempts"] if found["items"] else "",
        _attempt(found),
        span(found["oldest_seconds"]) if found["items"] else "",
        window,
        state,
    )


def _attempt(found: Answer) -> str:
    """When the next one is; of what is suspended or held until told otherwise nobody knows."""
    seconds, waiting = found["next_seconds"], found["places"].get("waiting", 0)
    if seconds is None or (seconds > 0.0 and not waiting):
        return ""
    return "none left" if found.get("next_is_expiry") else f"in {span(seconds)}" if seconds > 0.0 else "now"


def _addresses(host: Answer) -> Iterator[str]:
    """Those that failed a moment ago are tried last."""
    resting = host.get("resting", {})
    for address in host["addresses"]:
        yield f"{address} rests {span(resting[address])}" if address in resting else address


def _port(host: Answer) -> str:
    return f":{host['port']}" if host["port"] else ""


def _fact(name: str, text: str) -> str:
    return f"{name:<10} {clean(text)}"
