"""`fastrelay resolve`: the way from a domain to its hosts, drawn as an operator would."""

from typing import Any

import click
import msgspec
from rich.console import Console

from fastrelay.cli import exits
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.resolve_page import page
from fastrelay.config import load
from fastrelay.mail.address import domain_of
from fastrelay.mail.outcome import Failed, Outcome
from fastrelay.mail.route import Route
from fastrelay.routing.resolver import configured
from fastrelay.routing.router import Router
from fastrelay.routing.walk import Asked, Walk
from fastrelay.runtime import clock
from fastrelay.runtime.stream import ticking

_WIDTH = 1000  # columns: a long line is the terminal's to wrap, not ours to cut


@click.command()
@CONFIG_FILE
@click.option("--server", "servers", multiple=True, metavar="ADDRESS", help="Ask this name server instead; repeatable.")
@AS_JSON
@click.argument("domain")
def resolve(file: str | None, servers: tuple[str, ...], as_json: bool, domain: str) -> int:
    """Draw the way from a domain to its hosts.

    DOMAIN may also be a mail address. Every question to DNS with its answer, how long it is kept, where it came from
    and whether the server validated it (AD). Then the hosts in the order they would be tried, and the site whose limits
    apply; or the reply a sender would get. This asks afresh: a running relay may still use what it has cached. Exit
    code 0 with a route, 75 when there is none now, 65 when there is none for good.

    Example:  fastrelay resolve gmail.com
    """
    config = load(file)
    if servers:
        config = msgspec.structs.replace(config, dns=msgspec.structs.replace(config.dns, nameservers=servers))
    resolver = configured(config.dns)
    ticker = ticking()
    try:
        walk = Router(config, resolver).explain(domain_of(domain))
    finally:
        ticker.close()
    if as_json:
        print(msgspec.json.encode(plain(walk, clock.now())).decode())
    else:
        console = Console(highlight=False, width=_WIDTH)
        ascii_only = console.options.ascii_only
        for line in page(walk, config, resolver.servers, clock.now(), plain=ascii_only):
            console.print(line)
    if isinstance(walk.result, Route):
        return exits.OK
    return exits.DATA if isinstance(walk.result, Failed) else exits.TEMPORARY


# -- plain for scripts ------------------------------------------------------------------------------------------------


def plain(walk: Walk, now: float) -> dict[str, Any]:
    """The walk as JSON: `route` or `outcome`, one of them null; seconds instead of monotonic times."""
    route = walk.result if isinstance(walk.result, Route) else None
    outcome = walk.result if isinstance(walk.result, Outcome) else None
    return {
        "domain": walk.domain,
        "override": walk.override or None,
        "asked": [_plain_asked(asked) for asked in walk.asked],
        "passed_over": list(walk.notes),
        "route": None
        if route is None
        else {
            "kind": route.kind.value,
            "site": route.site,
            "hosts": msgspec.to_builtins(route.hosts),
            "seconds_left": round(route.expires - now, 3),
            "secure": route.secure,
        },
        "outcome": None
        if outcome is None
        else {
            "permanent": isinstance(outcome, Failed),
            "code": outcome.reply.code,
            "enhanced_code": outcome.reply.enhanced,
            "content": outcome.reply.text,
        },
    }


def _plain_asked(asked: Asked) -> dict[str, Any]:
    answer = asked.answer
    return {
        "name": answer.name,
        "type": answer.rdtype,
        "status": answer.status.value,
        "cname": list(answer.chain),
        "records": [f"{one.preference} {one.host or '.'}" for one in sorted(answer.exchanges)] or list(answer.records),
        "ttl": answer.ttl,
        "seconds_left": round(asked.left, 3),
        "source": asked.source,
        "seconds": round(asked.took, 6),
        "reason": answer.reason,
        "secure": answer.secure,
    }
