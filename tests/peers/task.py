"""A test's body in a task of the loop, for what may wait only there."""

from collections.abc import Callable
from typing import Any

from fastrelay.runtime import tasks


def run(body: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The result of `body` run as a task, or its error. PeerTimeout when it is not over in time."""
    over = tasks.Parking()

    def task() -> None:
        try:
            over.wake(body())
        except BaseException as error:
            over.fail(error)

    tasks.spawn(task)
    return over.wait(seconds)
