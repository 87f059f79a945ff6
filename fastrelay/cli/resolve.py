"""`fastrelay resolve`: the way from a domain to its hosts, drawn as an operator would."""

from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from fastrelay.cli import exits
from fastrelay.cli.columns import clean, span
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import Config, Delivery, load, site_settings
from fastrelay.mail.address import domain_of
from fastrelay.mail.outcome import Failed, Outcome
from fastrelay.mail.route import Route
from fastrelay.routing.answers import Answer
from fastrelay.routing.resolver import Resolver, configured
from fastrelay.routing.router import Router
from fastrelay.routing.walk import Asked, Walk
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.stream import wheel

_WIDTH = 1000  # columns: a long line is the terminal's to wrap, not ours to cut


@click.command()
@CONFIG_FILE
@click.option("--server", "servers", multiple=True, metavar="ADDRESS", help="Ask this name server instead; repeatable.")
@AS_JSON
@click.argument("domain")
def resolve(file: str | None, servers: tuple[str, ...], as_json: bool, domain: str) -> int:
    """Draw the way from a domain to its hosts.

    DOMAIN may also be a mail address. Every question to DNS with its answer, then the hosts in the order they would be
    tried, and the site whose limits apply; or the reply a sender would get. This asks afresh: a running relay may still
    use what it has cached. Exit code 0 with a route, 75 when there is none now, 65 when there is none for good.

    Example:  fastrelay resolve gmail.com
    """
    config = load(file)
    if servers:
        config = msgspec.structs.replace(config, dns=msgspec.structs.replace(config.dns, nameservers=servers))
    resolver = configured(config.dns)
    ticker = tasks.Ticker(clock.TICK, lambda: wheel.turn(clock.now()))
    try:
        walk = Router(config, resolver).explain(domain_of(domain))
    finally:
        ticker.close()
    if as_json:
        print(msgspec.json.encode(plain(walk, clock.now())).decode())
    else:
        console = Console(highlight=False, width=_WIDTH)
        console.print(drawn(walk, config, resolver, clock.now()))
    if isinstance(walk.result, Route):
        return exits.OK
    return exits.DATA if isinstance(walk.result, Failed) else exits.TEMPORARY


# -- drawn for people -------------------------------------------------------------------------------------------------


def drawn(walk: Walk, config: Config, resolver: Resolver, now: float) -> Tree:
    """The walk as a tree. now: monotonic seconds."""
    tree = Tree(Text(clean(walk.domain), "bold"))
    if walk.override:
        tree.add(Text(f'[[route]] domain = "{walk.override}" decides; DNS is not asked for MX'))
    for asked in walk.asked:
        branch = tree.add(_question(asked))
        for line in _links(asked.answer):
            branch.add(Text(line))
    for note in walk.notes:
        tree.add(Text(f"passed over: {clean(note)}", "yellow"))
    if isinstance(walk.result, Route):
        _route(tree, walk.result, config, now)
    else:
        _outcome(tree, walk.result, resolver)
    return tree


def _question(asked: Asked) -> Text:
    answer = asked.answer
    text = Text(f"{answer.rdtype} {clean(answer.name)}")
    if answer.found:
        kept = f"TTL {span(asked.left)}"
    else:
        kept = answer.reason or (f"kept for {span(asked.left)}" if asked.left else "")
        text.append(f"  {answer.status.value}", "red" if answer.failed else "yellow")
    source = {"servers": f"asked, {asked.took * 1000:.0f} ms", "cache": "already known", "stale": "stale"}[asked.source]
    secure = ", AD" if answer.secure else ""
    text.append(f"  ({clean(kept)}{'; ' if kept else ''}{source}{secure})", "dim")
    return text


def _links(answer: Answer) -> list[str]:
    """The CNAME chain, then the records: MX by preference."""
    out = [f"CNAME {clean(name)}" for name in answer.chain]
    if answer.exchanges:
        best_first = sorted(answer.exchanges)
        return [*out, *(f"{one.preference:>5} {clean(one.host) or '. (null MX)'}" for one in best_first)]
    return [*out, *map(clean, answer.records)]


def _route(tree: Tree, route: Route, config: Config, now: float) -> None:
    settings = site_settings(config, route.site)
    title = f"route: {route.kind.value}, {len(route.hosts)} host{'s' if len(route.hosts) > 1 else ''} in this order"
    hosts = tree.add(Text(title, "bold green"))
    for number, host in enumerate(route.hosts, 1):
        where = ", ".join(host.addresses)
        port = host.port or settings.port
        hosts.add(Text(f"{number}. {clean(host.name)}  port {port}  {where}  (preference {host.preference})"))
    site = tree.add(Text(f"site: {clean(route.site)}", "bold"))
    site.add(Text(limits(settings)))
    site.add(Text(f"decided anew in {span(route.expires - now)}"))


def limits(settings: Delivery) -> str:
    """The limits of a site in a line."""
    rate = settings.connect_rate
    return (
        f"at most {settings.connections} connections, {rate.count:g} new ones per {span(rate.seconds)}, "
        f"{settings.messages_per_connection} messages on each; TLS {settings.tls}"
    )


def _outcome(tree: Tree, outcome: Outcome, resolver: Resolver) -> None:
    for_good = isinstance(outcome, Failed)
    style = "bold red" if for_good else "bold yellow"
    branch = tree.add(Text(f"no route{'' if for_good else ' now'}: {clean(str(outcome.reply))}", style))
    branch.add(Text("mail for it is returned to its sender" if for_good else "mail for it waits and is tried again"))
    if not for_good:
        branch.add(Text(f"name servers asked: {', '.join(map(str, resolver.servers)) or 'none configured'}"))


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
