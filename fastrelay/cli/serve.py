"""`fastrelay serve`: the house in the foreground, as a service manager or a terminal runs it."""

import click

from fastrelay.admin import run_admin
from fastrelay.cli.check import told_of, verify
from fastrelay.cli.options import CONFIG_FILE
from fastrelay.config import Config, load
from fastrelay.process.announce import announce
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.worker import run_worker


@click.command()
@CONFIG_FILE
def serve(file: str | None) -> int:
    """Run the relay in the foreground.

    Prints "ready" on stderr once every worker accepts mail; event lines go where [log] says (stdout by default).
    TERM finishes what is under way and ends, INT ends at once; neither loses mail. HUP reads the configuration again,
    USR2 lets a new program take over (it goes on when this process ends), TTIN and TTOU add and end a worker, USR1
    opens the event log's file anew. Exit code 78 for a wrong configuration, 75 when another relay holds its runtime_dir
    or spool.

    Example:  fastrelay serve -c /etc/fastrelay/fastrelay.toml
    """
    config = load(file)

    def reread() -> Config:
        fresh = load(file)
        verify(fresh)
        return fresh

    for note in config.notes:
        announce(note)
    verify(config)
    with told_of(config):
        premises = Premises.take(config)
        try:
            return Master(config, premises, run_worker, run_admin, reread=reread).run()
        finally:
            premises.close()
