"""Units: durations, sizes, rates and shares as the file writes them, and the types that ask for them."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from fastrelay.errors import ConfigError


class Rate(msgspec.Struct, frozen=True):
    """`count` events per `seconds`."""

    count: float
    seconds: float


Duration = Annotated[float, msgspec.Meta(extra={"unit": "duration"}, ge=0)]
Lasting = Annotated[float, msgspec.Meta(extra={"unit": "duration"}, gt=0)]  # a zero would return or refuse all mail
Size = Annotated[int, msgspec.Meta(extra={"unit": "size"}, ge=0)]
Share = Annotated[float, msgspec.Meta(extra={"unit": "share"}, ge=0, le=1)]
PerTime = Annotated[Rate, msgspec.Meta(extra={"unit": "rate"})]
PerTimeOrNone = Annotated[Rate | None, msgspec.Meta(extra={"unit": "rate"})]
ByteRate = Annotated[float, msgspec.Meta(extra={"unit": "byterate"}, ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KIB, MIB, GIB = 1024, 1024**2, 1024**3


_DURATION = {"ms": 0.001, "s": 1.0, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_SIZE = {"B": 1, "": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_PER = {"s": 1.0, "sec": 1.0, "min": MINUTE, "m": MINUTE, "h": HOUR, "hour": HOUR, "d": DAY, "day": DAY}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\Z")


def _quantity(text: str, units: Mapping[str, float], example: str) -> float:
    match = _NUMBER.match(text.strip())
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not understood: write it like {example}")
    return float(match[1]) * units[match[2]]


def in_unit(unit: str, value: Any) -> Any:
    """A string of the file in the unit its key asks for; other types pass on to the type check."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number to work with")
    if unit == "rate":
        rate = _rate(value)
        if isinstance(rate, Rate) and rate.count <= 0:
            raise ValueError(f'{value!r} would let nothing through: write it like "100/min"')
        return rate
    if not unit or not isinstance(value, str):
        return value
    if unit == "duration":
        return _quantity(value, _DURATION, '"30s", "5m", "4h" or "5d"')
    if unit == "size":
        return int(_quantity(value, _SIZE, '"500KiB", "64MiB" or "1GiB"'))
    if unit == "share":
        return _quantity(value, {"%": 0.01}, '"5%"')
    if unit == "byterate":
        return _quantity(value.removesuffix("/s"), _SIZE, '"500B/s"')
    raise AssertionError(f"no such unit: {unit}")


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return Rate(float(value), 1.0) if isinstance(value, int | float) and value is not True else value
    count, slash, per = value.partition("/")
    if not slash or per.strip() not in _PER:
        raise ValueError(f'{value!r} is not understood: write it like "100/min" or "20/s"')
    return Rate(_quantity(count, {"": 1}, '"100/min"'), _PER[per.strip()])


def parse_quantity(text: str, unit: Literal["duration", "size", "share"], key: str) -> float:
    """Seconds of "30s", octets of "64MiB", 0..1 of "5%", as in the file. ConfigError naming `key` else."""
    try:
        return float(in_unit(unit, text))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
