"""How work that may block is done: in native threads beside an event loop, else in the caller's."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fastrelay.runtime import tasks

_REST = 0.001  # seconds between two slices: long enough that the loop polls its sockets (tasks.later says why)

Away = Callable[..., Any]
"""Runs function(*args) where it may block, waits for its end whatever happens, gives its result."""


class Pace(NamedTuple):
    """away: where blocking work is done. rest(): between two slices of work, others get a turn."""

    away: Away
    rest: Callable[[], None]


def _here(function: Callable[..., Any], *args: object) -> Any:
    return function(*args)


def _breathe() -> None:
    tasks.sleep(_REST)


def _nothing() -> None:
    pass


THREADS = Pace(tasks.in_thread_to_end, _breathe)
CALLER = Pace(_here, _nothing)
