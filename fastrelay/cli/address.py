"""An address on the command line: "127.0.0.1:2525", "[::1]:25", "unix:/path"."""

import click

from fastrelay.config import parse_address
from fastrelay.errors import ConfigError


class Address(click.ParamType[tuple[str, int]]):
    """Turns the text into (host, port); a wrong one is a usage error."""

    name = "HOST:PORT"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        try:
            host, port = parse_address(value, "address")
        except ConfigError as error:
            self.fail(str(error).removeprefix("address: "), param, ctx)
        return ("127.0.0.1" if host == "localhost" else host), port


ADDRESS = Address()
