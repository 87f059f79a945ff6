"""`fastrelay top`: what a running relay does, on a screen that lives."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live

from fastrelay.cli import exits
from fastrelay.cli.api import Api
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.cli.top_page import WIDE, drawn
from fastrelay.config import load
from fastrelay.errors import MachineShort, PeerError

_EVERY = 1.0  # seconds; the workers count by the second
_KEYS = "q or Ctrl-C ends it"
Answer = dict[str, Any]


@click.command()
@click.option("--once", is_flag=True, help="Print it once and end.")
@CONFIG_FILE
@AS_JSON
def top(file: str | None, as_json: bool, once: bool) -> int:
    """Show rates, workers, sites and commits, live; q or Ctrl-C ends it.

    Rates are per second: over the last three seconds, the last minute, and its best second. COMMIT is the time of one
    batch on disk. A relay that ends meanwhile is waited for. With --json, or into a pipe, it is printed once.

    Example:  fastrelay top --once
    """
    api = Api(load(file))
    told = api.get("top") or {}
    if as_json:
        print(msgspec.json.encode(told).decode())
        return _code(told)
    console = Console(highlight=False)
    if once or not console.is_terminal:
        if not console.is_terminal:
            console.width = WIDE
        console.print(drawn(told, console.width))
        return _code(told)
    try:
        with one_key() as ended, Live(console=console, screen=True, auto_refresh=False) as live:
            note = ""
            while True:
                page = drawn(told, console.width, console.height, note=note, keys=_KEYS)
                live.update(page, refresh=True)
                if ended(_EVERY):
                    return exits.OK
                told, note = _asked(api, told)
    except KeyboardInterrupt:
        return exits.OK


def _asked(api: Api, before: Answer) -> tuple[Answer, str]:
    """The next answer. A relay that restarts, or is too busy, is no reason to end: what it said last stays, and why."""
    try:
        return api.get("top") or before, ""
    except (PeerError, MachineShort) as error:
        at = time.strftime("%H:%M:%S")
        return before, f"no answer at {at}, this is what it said before: {error}"


@contextmanager
def one_key() -> Iterator[Callable[[float], object]]:
    """Inside, `ended(seconds)` waits so long for a q, which nobody has to follow by Enter. The terminal is put back."""
    try:
        descriptor = sys.stdin.fileno()
        kept = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):  # no terminal to type on
        yield time.sleep
        return

    def ended(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([descriptor], [], [], left)[0] and os.read(descriptor, 1) in (b"q", b"Q", b""):
                return True
        return False

    try:
        tty.setcbreak(descriptor)
        yield ended
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, kept)


def _code(told: Answer) -> int:
    return exits.TEMPORARY if told.get("incomplete") else exits.OK
