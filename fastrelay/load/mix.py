"""To whom test messages go: a weighted mix of recipient domains, and addresses drawn from it. Pure.

Written as on the command line: `a.test=3,b.test=1`, `a.test`, or `10000` (or `10000:load.test`) for so many domains
d0.load.test, d1.load.test ... of equal weight.
"""

import random
from bisect import bisect
from collections.abc import Iterable, Iterator
from itertools import accumulate

from fastrelay.errors import MisuseError

Domains = tuple[tuple[str, float], ...]  # (name, weight)

DOMAINS: Domains = (("load.invalid", 1.0),)
_MAILBOXES = 1000  # distinct local parts per domain
_MOST = 1_000_000  # generated domains: some 100 MB of names


class Mix:
    """Draws recipients by the weights of `domains`. One seed, one order. Cost of a draw: O(log domains)."""

    __slots__ = ("_chance", "_edges", "_names", "_number")

    def __init__(self, domains: Domains, seed: int, first: int = 0) -> None:
        self._names = [name for name, _ in domains]
        self._edges = list(accumulate(weight for _, weight in domains))
        self._chance = random.Random(seed)
        self._number = first

    def draw(self, count: int) -> list[str]:
        """Recipients of the next message; distinct within it."""
        names, number = self._names, self._number
        self._number = number + count
        mailboxes = count if count > _MAILBOXES else _MAILBOXES
        if len(names) == 1:
            return [f"user{(number + n) % mailboxes}@{names[0]}" for n in range(count)]
        edges, draw, last = self._edges, self._chance.random, len(names) - 1
        whole = edges[-1]
        return [f"user{(number + n) % mailboxes}@{names[bisect(edges, draw() * whole, 0, last)]}" for n in range(count)]


def parse_domains(words: Iterable[str]) -> Domains:
    """What the words of the command line mean; DOMAINS of none. MisuseError says which are not understood."""
    found: list[tuple[str, float]] = []
    for word in words:
        for one in word.split(","):
            found += _generated(one) if one[:1].isdigit() and "." not in one.partition(":")[0] else [_weighted(one)]
    return tuple(found) or DOMAINS


def _weighted(text: str) -> tuple[str, float]:
    name, equals, weight = text.partition("=")
    try:
        pair = name.strip(), float(weight) if equals else 1.0
    except ValueError:
        raise MisuseError(f"--domains {text}: write a weight like example.com=2.5") from None
    if not pair[0] or not pair[1] > 0 or set(pair[0]) & set("<>@ \r\n"):
        raise MisuseError(f"--domains {text}: a name and a weight above 0, like example.com=2.5")
    return pair


def _generated(text: str) -> Iterator[tuple[str, float]]:
    count, colon, parent = text.partition(":")
    if not count.isdigit() or not 0 < int(count) <= _MOST or (colon and not parent):
        raise MisuseError(f"--domains {text}: write 10000 or 10000:load.test for so many domains")
    return ((f"d{n}.{parent or DOMAINS[0][0]}", 1.0) for n in range(int(count)))
