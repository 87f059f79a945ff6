"""`fastrelay stop`: TERM to the master that holds the pid file, then wait until its last child is gone."""

import os
import signal
import sys
import time

import click

from fastrelay.cli import exits
from fastrelay.cli.columns import span
from fastrelay.cli.options import CONFIG_FILE
from fastrelay.cli.quantity import DURATION
from fastrelay.config import load
from fastrelay.errors import MisuseError
from fastrelay.process.pidlock import holder
from fastrelay.process.premises import pid_file

_LOOK = 0.05  # seconds between two looks at the lock
_BEYOND = 15.0  # seconds after drain_timeout: the master's own patience with workers that hang


@click.command()
@CONFIG_FILE
@click.option("--now", is_flag=True, help="Do not wait for transactions under way; no mail is lost.")
@click.option("--timeout", type=DURATION, help="How long to wait, as 90s.  [default: server.drain_timeout + 15s]")
def stop(file: str | None, now: bool, timeout: float | None) -> int:
    """Stop a running relay and wait until it is gone.

    Sessions end after the message they are at; nothing is lost, the queue stays in the spool. Exit code 0 when it is
    gone, 69 when none runs with this configuration, 75 when it is still there at the end of the timeout.

    Example:  fastrelay stop --now
    """
    config = load(file)
    path = pid_file(config)
    patience = config.server.drain_timeout + _BEYOND
    if timeout is not None:
        patience = timeout
    try:
        pid = holder(path)
        if pid is None:
            print(f"fastrelay stop: no relay runs in {path.parent}; name its configuration with -c", file=sys.stderr)
            return exits.UNAVAILABLE
        if pid:
            os.kill(pid, signal.SIGINT if now else signal.SIGTERM)
    except PermissionError:
        raise MisuseError(f"not allowed to stop it: be root or the user who started it ({path})") from None
    except ProcessLookupError:
        pid = 0  # it has just ended; its workers may still be at it
    began = time.monotonic()
    while holder(path) is not None:
        if time.monotonic() - began >= patience:
            print(
                f"fastrelay stop: process {pid or 'unknown'} is still there after {span(patience)}; wait longer "
                f"(--timeout) or end it at once (--now)",
                file=sys.stderr,
            )
            return exits.TEMPORARY
        time.sleep(_LOOK)
    print(f"stopped after {time.monotonic() - began:.1f} s")
    return exits.OK
