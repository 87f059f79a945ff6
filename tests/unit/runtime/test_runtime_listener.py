"""runtime/listener.py where the machine is short: it rests, and does not spin on a queue it cannot empty."""

import errno
import os
import socket

from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener


class Short(socket.socket):
    """One whose every accept finds no descriptor left."""

    asked = 0

    def _accept(self) -> tuple[int, object]:
        self.asked += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_without_descriptors_it_rests_for_a_second() -> None:
    """The queue stays readable all the while: it is looked at once, and not again before an alarm."""
    sock = Short()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    told: list[int] = []
    listener = Listener(sock, lambda stream: None, spawn=tasks.spawn, on_short=told.append)
    rung: list[bool] = []
    with socket.create_connection(sock.getsockname()):
        listener.start()
        alarm = tasks.Alarm(0.3, lambda: rung.append(True))
        while not rung:
            tasks.run_loop_once()
        alarm.close()
    listener.close()
    assert 1 <= sock.asked <= 2 and told == [errno.EMFILE] * sock.asked  # twice on a machine that stood still
