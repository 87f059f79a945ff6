"""The way of a domain as a tree: what DNS said, each answer with its age, then hosts in the order of attempt, and the
site. Pure: values in, lines out.

    good.test                              TTL     from
    ├─ MX 10  mx1.good.test                5m      asked, 2 ms   AD
    │  ├─ A     198.41.0.4                 5m      asked, 3 ms   AD
    │  └─ AAAA  none                       1m      asked, 3 ms   AD
    └─ MX 20  mx2.good.test
       └─ A     199.9.14.201               20s     cache

An answer of several records has its age beside the first of them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from fastrelay.cli.columns import clean, span
from fastrelay.config import Config, Delivery, site_settings
from fastrelay.mail.outcome import Failed, Outcome
from fastrelay.mail.route import Host, Route, RouteKind
from fastrelay.routing.answers import Answer, folded
from fastrelay.routing.mx import literal_address
from fastrelay.routing.providers import PROVIDERS
from fastrelay.routing.walk import Asked, Walk

MAX_LEFT = 72  # columns for the tree; a longer line pushes its own age to the right, not everybody's
_GUIDES = {False: ("├─ ", "│  ", "└─ ", "   "), True: ("+- ", "|  ", "`- ", "   ")}
_KINDS = {
    RouteKind.MX: "by MX",
    RouteKind.IMPLICIT: "no MX, so the domain itself",
    RouteKind.LITERAL: "an address literal",
    RouteKind.STATIC: "by [[route]]",
}
_SOURCES = {"cache": "cache", "stale": "stale"}


@dataclass
class Node:
    """One line and what hangs on it. age: the answer it belongs to, in the columns to the right."""

    text: str
    age: Asked | None = None
    style: str = ""
    below: list["Node"] = field(default_factory=list)

    def add(self, text: str, age: Asked | None = None, style: str = "") -> "Node":
        """A line below this one."""
        node = Node(text, age, style)
        self.below.append(node)
        return node


def page(walk: Walk, config: Config, servers: Iterable[object], now: float, *, plain: bool = False) -> list[Text]:
    """The lines. now: monotonic seconds. plain: guides for a terminal that has ASCII alone."""
    root = Node(_title(walk.domain), style="bold")
    if walk.override:
        root.add(f'[[route]] domain = "{clean(walk.override)}" decides; DNS is not asked for MX')
    _answers(root, walk)
    for note in walk.notes:
        root.add(f"passed over: {clean(note)}", style="yellow")
    if isinstance(walk.result, Route):
        _route(root, walk.result, config, now)
    else:
        _outcome(root, walk.result, servers)
    return list(_lines(root, plain))


def _title(domain: str) -> str:
    """The domain, and what it looks like where it is written in A-labels (RFC 5890)."""
    if "xn--" not in domain:
        return clean(domain)
    try:
        return f"{clean(domain)}  ({clean(domain.encode('ascii').decode('idna'))})"
    except UnicodeError:
        return clean(domain)


# -- what DNS said ----------------------------------------------------------------------------------------------------


def _answers(root: Node, walk: Walk) -> None:
    """The MX answer, below each host its addresses; then what was asked beside it: the domain's own, or hops."""
    hosts: dict[str, list[Asked]] = {}
    for asked in walk.asked:
        if asked.answer.rdtype != "MX":
            hosts.setdefault(asked.answer.name, []).append(asked)
    for asked in walk.asked:
        if asked.answer.rdtype == "MX":
            _mx(root, asked, hosts)
    for name, some in hosts.items():
        _addresses(root if name == folded(walk.domain) else root.add(f"next hop {clean(name)}"), some)


def _mx(root: Node, asked: Asked, hosts: dict[str, list[Asked]]) -> None:
    answer = asked.answer
    node = _chain(root, answer)
    if not answer.found:
        node.add(f"MX  {_nothing(answer)}", asked, _style(answer))
        return
    age: Asked | None = asked
    width = max(len(str(one.preference)) for one in answer.exchanges)
    shown: set[str] = set()
    for one in sorted(answer.exchanges):
        name = clean(one.host) or ".  (null MX: no mail, RFC 7505)"
        host = node.add(f"MX {one.preference:>{width}}  {name}", age, "yellow" if not one.host else "")
        age = None
        some = hosts.pop(one.host, None)
        if some is not None:
            _addresses(host, some)
        elif literal_address(one.host):
            host.add("an address where a name belongs (RFC 5321 5.1), taken as it is", style="dim")
        elif one.host in shown:
            host.add("as above", style="dim")
        elif one.host:
            host.add("not asked for", style="dim")
        shown.add(one.host)


def _addresses(node: Node, some: Sequence[Asked]) -> None:
    """A and AAAA of one name. A CNAME both went through, and a name there is not, are told once."""
    missing = [asked for asked in some if not asked.answer.found]
    if len(missing) == len(some) and len({(one.answer.status, one.answer.chain) for one in missing}) == 1 < len(some):
        types = " and ".join(asked.answer.rdtype for asked in some)
        answer = some[0].answer
        _chain(node, answer).add(f"{types}  {_nothing(answer)}", some[0], _style(answer))
        return
    ends: dict[tuple[str, ...], Node] = {}
    for asked in some:
        answer = asked.answer
        end = ends.get(answer.chain)
        if end is None:
            end = ends[answer.chain] = _chain(node, answer)
        age: Asked | None = asked
        for record in answer.records or [""]:
            text = clean(record) if record else _nothing(answer)
            end.add(f"{answer.rdtype:<4}  {text}", age, "" if record else _style(answer))
            age = None


def _chain(node: Node, answer: Answer) -> Node:
    """The node at the end of the CNAMEs passed."""
    for name in answer.chain:
        node = node.add(f"CNAME  {clean(name)}")
    return node


def _nothing(answer: Answer) -> str:
    if answer.failed:
        return f"failed: {clean(answer.reason)}"
    return "none" if answer.status.value == "no data" else answer.status.value


def _style(answer: Answer) -> str:
    return "red" if answer.failed else "yellow" if answer.rdtype == "MX" or answer.status.value != "no data" else "dim"


# -- what follows -----------------------------------------------------------------------------------------------------


def _route(root: Node, route: Route, config: Config, now: float) -> None:
    settings = site_settings(config, route.site)
    count = f"{len(route.hosts)} host{'s, tried in this order' if len(route.hosts) > 1 else ''}"
    hosts = root.add(f"route {_KINDS[route.kind]}: {count}", style="bold green")
    for line in _hosts(route.hosts, settings.port):
        hosts.add(line)
    site = root.add(f"site {clean(route.site)}", style="bold")
    site.add(_named(route, config))
    site.add(limits(settings))
    site.add(f"TLS {settings.tls}" + (f", names {', '.join(settings.tls_names)}" if settings.tls == "verify" else ""))
    secure = "every answer validated (AD)" if route.secure else "not all of it validated by DNSSEC"
    site.add(f"decided anew in {_ceiling(route.expires - now)}; {secure}")


def _hosts(hosts: Sequence[Host], port: int) -> Iterator[str]:
    """Number, name, port and addresses in columns; preferences are told where they differ from all 0."""
    names = [clean(host.name) for host in hosts]
    width = max(map(len, names))
    for number, (name, host) in enumerate(zip(names, hosts, strict=True), 1):
        if host.addresses and host.addresses[0].startswith("unix:"):
            where = "local socket"
        else:
            where = f"port {host.port or port}  {', '.join(host.addresses)}"
        protocol = "  LMTP" if host.lmtp else ""
        yield f"{number:>{len(str(len(hosts)))}}  {name:<{width}}  {where}{protocol}"


def _named(route: Route, config: Config) -> str:
    if any(row.name == route.site for row in config.sites):
        return "its name and limits are those of a [[site]] row"
    if any(name == route.site for name, _ in PROVIDERS):
        return "a provider fastrelay knows by its MX; no [[site]] row changes the limits of [delivery]"
    return f"named by its {'next hops' if route.kind is RouteKind.STATIC else 'hosts'}; limits of [delivery]"


def limits(settings: Delivery) -> str:
    """The limits of a site in a line."""
    rate = settings.connect_rate
    return (
        f"at most {settings.connections} connections, {rate.count:g} new ones per {span(rate.seconds)}, "
        f"{settings.messages_per_connection} messages on each"
    )


def _outcome(root: Node, outcome: Outcome, servers: Iterable[object]) -> None:
    for_good = isinstance(outcome, Failed)
    style = "bold red" if for_good else "bold yellow"
    node = root.add(f"no route{'' if for_good else ' now'}: {clean(str(outcome.reply))}", style=style)
    node.add("mail for it is returned to its sender" if for_good else "mail for it waits and is tried again")
    if not for_good:
        node.add(f"name servers asked: {', '.join(map(str, servers)) or 'none configured'}")


# -- lines ------------------------------------------------------------------------------------------------------------


def _ceiling(seconds: float) -> str:
    """So that a TTL of 300 seconds is five minutes a moment later too."""
    return span(math.ceil(seconds))


def _age(asked: Asked) -> tuple[str, str, str]:
    answer = asked.answer
    kept = _ceiling(asked.left) if asked.left > 0 else ""
    source = _SOURCES.get(asked.source, f"asked, {asked.took * 1000:.0f} ms")
    return kept, source, "AD" if answer.secure else ""


def _lines(root: Node, plain: bool) -> Iterator[Text]:
    drawn = list(_walked(root, "", "", plain))
    ages = {id(node): _age(node.age) for _, node in drawn if node.age is not None}
    if not ages:
        yield from (_line(guide, node, "") for guide, node in drawn)
        return
    left = max(len(guide) + len(node.text) for guide, node in drawn if id(node) in ages)
    left = min(max(left, len(root.text)), MAX_LEFT)
    widths = [
        max(len(column) for column in columns) for columns in zip(("TTL", "from", ""), *ages.values(), strict=True)
    ]
    for guide, node in drawn:
        cells = ("TTL", "from", "") if node is root else ages.get(id(node))
        text = "" if cells is None else "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()
        yield _line(guide, node, "" if not text else " " * (max(left - len(guide) - len(node.text), 0) + 2) + text)


def _line(guide: str, node: Node, age: str) -> Text:
    return Text.assemble((guide, "dim"), (node.text, node.style), (age or "", "dim"))


def _walked(node: Node, guide: str, below: str, plain: bool) -> Iterator[tuple[str, Node]]:
    """Each node with its guide, in the order of lines."""
    yield guide, node
    fork, bar, end, blank = _GUIDES[plain]
    for n, child in enumerate(node.below):
        is_last = n == len(node.below) - 1
        yield from _walked(child, below + (end if is_last else fork), below + (blank if is_last else bar), plain)
