"""What is asked of us by the service manager's environment."""

import os

import pytest

from fastrelay.process.notify import Notifier, _one_line


def test_nobody_asked() -> None:
    notifier = Notifier({})
    assert notifier.watchdog_interval == 0 and notifier.fds == ()
    notifier.ready("all is well")  # silent, and no error
    notifier.alive()
    notifier.close()


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "0"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_beats_at_half_of_what_it_asked(variables: dict[str, str], interval: float) -> None:
    environment = {**variables, "HOME": "/"}
    assert Notifier(environment).watchdog_interval == interval
    assert environment == {"HOME": "/"}, "children must not speak in our name"


def test_a_status_is_one_short_line() -> None:
    assert _one_line(" a\n b\tc ") == "a b c"
    assert len(_one_line("x" * 1000)) == 200
