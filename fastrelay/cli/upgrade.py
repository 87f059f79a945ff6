"""`fastrelay upgrade`: a new program takes over the sockets and the spool of a running relay."""

import click

from fastrelay.cli.hatch import ask
from fastrelay.cli.options import CONFIG_FILE
from fastrelay.config import load
from fastrelay.process.upgrade import PATIENCE

_BEYOND = 15.0  # seconds: a reload that is under way comes first


@click.command()
@CONFIG_FILE
def upgrade(file: str | None) -> int:
    """Let a new program take over, without a gap.

    The relay starts the program it was itself started as, as it is on disk now (install over it, or move the link it
    was started by), with the configuration as it is now. Once every worker of it accepts mail the old one drains and
    ends. Exit code 0; 75 when the new one did not become ready: then nothing has changed; 69 when no relay runs.

    Example:  fastrelay upgrade -c /etc/fastrelay/fastrelay.toml
    """
    return ask(load(file), "upgrade", PATIENCE + _BEYOND)
