"""`fastrelay serve`: the house in the foreground, as a service manager or a terminal runs it."""

import click

from fastrelay.admin import run_admin
from fastrelay.cli.options import CONFIG_FILE
from fastrelay.config import load
from fastrelay.process.announce import announce
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.worker import run_worker


@click.command()
@CONFIG_FILE
def serve(file: str | None) -> int:
    """Run the relay in the foreground.

    Prints "ready" on stderr once every worker accepts mail; event lines go where [log] says (stdout by default).
    TERM finishes what is under way and ends, INT ends at once; neither loses mail. Exit code 78 for a wrong
    configuration, 75 when another relay holds its runtime_dir or spool.

    Example:  fastrelay serve -c /etc/fastrelay/fastrelay.toml
    """
    config = load(file)
    for note in config.notes:
        announce(note)
    premises = Premises.take(config)
    try:
        return Master(config, premises, run_worker, run_admin).run()
    finally:
        premises.close()
