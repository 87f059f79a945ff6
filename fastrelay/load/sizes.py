"""How large test messages are: one size, a range, a bell on a logarithmic scale, or sizes by weight. Pure.

Written as on the command line: `5KB`, `uniform:1KB-20MB`, `lognormal:20KB,1.5` (median, sigma of the logarithm), or
`5KB=90,1MB=9,20MB=1`. Octets of the content, header section and every CRLF counted. Sizes of real mail are close to
lognormal (most are small, most octets are in the few large ones), which is why it is offered.
"""

import math
import random
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from fastrelay.config import parse_quantity
from fastrelay.errors import ConfigError, MisuseError

LARGEST = 50 * 1024**2  # octets; lognormal draws are cut here: the relay's own default limit


class Sizes(Protocol):
    """A distribution. `largest` is never exceeded; `text` is how it is written."""

    @property
    def text(self) -> str: ...

    @property
    def smallest(self) -> int: ...

    @property
    def largest(self) -> int: ...

    def draw(self, chance: random.Random) -> int:
        """The size of one message."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """All the same."""

    size: int

    @property
    def text(self) -> str:
        return _written(self.size)

    @property
    def smallest(self) -> int:
        return self.size

    @property
    def largest(self) -> int:
        return self.size

    def draw(self, chance: random.Random) -> int:
        """Draws nothing from `chance`."""
        return self.size


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every size from `smallest` to `largest` as likely as any other."""

    smallest: int
    largest: int

    @property
    def text(self) -> str:
        return f"uniform:{_written(self.smallest)}-{_written(self.largest)}"

    def draw(self, chance: random.Random) -> int:
        """One draw."""
        return chance.randint(self.smallest, self.largest)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Half are smaller than `median`; the logarithm's standard deviation is `sigma`. Cut at LARGEST."""

    median: int
    sigma: float

    @property
    def text(self) -> str:
        return f"lognormal:{_written(self.median)},{self.sigma:g}"

    @property
    def smallest(self) -> int:
        return 0

    @property
    def largest(self) -> int:
        return LARGEST

    def draw(self, chance: random.Random) -> int:
        """One draw."""
        return min(LARGEST, int(self.median * math.exp(chance.gauss(0.0, self.sigma))))


@dataclass(frozen=True, slots=True)
class Weighted:
    """These sizes, as often as their weights say. edges: the running sums of the weights."""

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    edges: tuple[float, ...]

    @property
    def text(self) -> str:
        return ",".join(f"{_written(size)}={weight:g}" for size, weight in zip(self.sizes, self.weights, strict=True))

    @property
    def smallest(self) -> int:
        return min(self.sizes)

    @property
    def largest(self) -> int:
        return max(self.sizes)

    def draw(self, chance: random.Random) -> int:
        """One draw."""
        return self.sizes[bisect(self.edges, chance.random() * self.edges[-1], 0, len(self.sizes) - 1)]


def parse_sizes(text: str) -> Sizes:
    """What the words mean. MisuseError says which are not understood."""
    kind, colon, rest = text.partition(":")
    if colon and kind == "uniform":
        low, dash, high = rest.partition("-")
        made = Uniform(_octets(low, text), _octets(high, text)) if dash else None
        if made is None or made.smallest > made.largest:
            raise MisuseError(f"--size {text}: write a range like uniform:1KB-20MB")
        return made
    if colon and kind == "lognormal":
        median, comma, sigma = rest.partition(",")
        spread = _number(sigma, text) if comma else 1.0
        if not 0 < spread <= 5:
            raise MisuseError(f"--size {text}: sigma is above 0 and at most 5, as in lognormal:20KB,1.5")
        return Lognormal(_octets(median, text), spread)
    if colon:
        raise MisuseError(f"--size {text}: no distribution {kind!r}; there are uniform and lognormal")
    if "=" not in text:
        return Fixed(_octets(text, text))
    pairs = [word.partition("=") for word in text.split(",")]
    weights = tuple(_number(weight, text) for _, _, weight in pairs)
    if min(weights) <= 0:
        raise MisuseError(f"--size {text}: every size of a list needs a weight above 0, as in 5KB=90,1MB=10")
    return Weighted(tuple(_octets(size, text) for size, _, _ in pairs), weights, tuple(accumulate(weights)))


def _octets(text: str, whole: str) -> int:
    try:
        return int(parse_quantity(text, "size", "--size"))
    except ConfigError as error:
        raise MisuseError(f"--size {whole}: {str(error).removeprefix('--size: ')}") from None


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MisuseError(f"--size {whole}: {text!r} is no number") from None


def _written(octets: int) -> str:
    for unit, name in ((1000**2, "MB"), (1000, "KB")):
        if octets >= unit and octets % unit == 0:
            return f"{octets // unit}{name}"
    return str(octets)
