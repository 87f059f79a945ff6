"""`fastrelay reload`: the configuration is read again by a running relay."""

import click

from fastrelay.cli.hatch import ask
from fastrelay.cli.options import CONFIG_FILE
from fastrelay.config import load

_PATIENCE = 60.0  # seconds: a reload under way, and the one that follows it


@click.command()
@CONFIG_FILE
def reload(file: str | None) -> int:
    """Read the configuration again, without a gap.

    The relay reads the file it was started with; all of it, or nothing, is in force when this returns. Sessions under
    way keep the rules they began with. Exit code 0; 78 when the configuration is wrong or changes what needs a restart
    (spool.path, server.runtime_dir, server.user, ...): then the old one stays in force; 69 when no relay runs.

    Example:  fastrelay reload -c /etc/fastrelay/fastrelay.toml
    """
    return ask(load(file), "reload", _PATIENCE)
