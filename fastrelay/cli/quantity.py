"""A duration or a share on the command line, written as in the configuration: "30s", "5%"."""

from typing import Literal

import click

from fastrelay.config import parse_quantity
from fastrelay.errors import ConfigError


class Quantity(click.ParamType[float]):
    """Turns the text into seconds, or 0 to 1; a wrong one is a usage error."""

    def __init__(self, unit: Literal["duration", "share"]) -> None:
        self.name = {"duration": "TIME", "share": "SHARE"}[unit]
        self._unit = unit

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_quantity(value, self._unit, "")
        except ConfigError as error:
            self.fail(str(error).removeprefix(": "), param, ctx)


DURATION = Quantity("duration")
SHARE = Quantity("share")
