"""What a destination is called: the name its lane, window, limits and metrics hang on. Pure.

The first row, the operator's before the shipped ones, that names the recipient domain or whose mx_suffix covers all
hosts of best preference gives its name. Otherwise the site is the sorted set of its MX host names, so that domains
hosted together share a lane without anyone listing them. `all` hosts, not one: a backup MX at a big provider does not
make a domain that provider's.
"""

import hashlib
from collections.abc import Iterable, Sequence

from fastrelay.config import Site
from fastrelay.routing.answers import folded, pattern
from fastrelay.routing.providers import PROVIDERS

MAX_NAME = 255  # characters; the name stands in log lines, metrics and ledger keys


class Sites:
    """The rows in order."""

    __slots__ = ("_domains", "_rows", "_suffixes", "names")

    def __init__(self, rows: Sequence[Site]) -> None:
        self.names = frozenset([row.name for row in rows] + [name for name, _ in PROVIDERS])
        self._rows = tuple([row.name for row in rows])
        self._domains: dict[str, int] = {}
        self._suffixes: list[tuple[int, str, tuple[str, ...]]] = []
        shipped = [Site(name=name, mx_suffix=suffixes) for name, suffixes in PROVIDERS]
        for rank, row in enumerate((*rows, *shipped)):
            for domain in row.domain:
                self._domains.setdefault(pattern(domain), rank)
            self._suffixes.append((rank, row.name, tuple(_dotted(folded(one)) for one in row.mx_suffix)))

    def name(self, domain: str, best: Iterable[str], hosts: Iterable[str]) -> str:
        """The site of `domain`, whose MX list has `best` at its head and `hosts` in all; names case-folded."""
        rank = self._rank(domain)
        heads = [_dotted(host) for host in best]
        for row, name, suffixes in self._suffixes:
            if row == rank or (suffixes and heads and all(head.endswith(suffixes) for head in heads)):
                return name
        return _shortened(",".join(sorted(set(hosts))))

    def named(self, domain: str) -> str:
        """The site of the first row that names the domain itself, however its mail travels; "" where none does."""
        rank = self._rank(domain)
        return "" if rank is None else self._rows[rank]

    def _rank(self, domain: str) -> int | None:
        """The first row that names the domain, or with ".suffix" one above it."""
        ranks = [self._domains[domain]] if domain in self._domains else []
        rest = domain
        while rest:
            rank = self._domains.get("." + rest)
            if rank is not None:
                ranks.append(rank)
            rest = rest.partition(".")[2]
        return min(ranks, default=None)


def _dotted(name: str) -> str:
    return name if name.startswith(".") else "." + name


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    mark = hashlib.blake2b(name.encode("utf-8"), digest_size=8).hexdigest()
    return f"{name[: MAX_NAME - len(mark) - 1]}~{mark}"
