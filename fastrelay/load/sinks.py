"""A sink in several processes on shared listening sockets: what `fastrelay sink` runs.

Each process counts for itself; on request and at the end the parent merges the tallies.
"""

import os
import random
import signal
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from fastrelay.errors import MisuseError
from fastrelay.load.crew import STOP, Crew, Wire
from fastrelay.load.profile import Profile
from fastrelay.load.sink import EXTENSIONS, Sink
from fastrelay.load.tally import Tally
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import wheel

_BACKLOG = 4096  # connections the kernel holds for us; capped by net.core.somaxconn
_TALLY = "tally"


@dataclass(frozen=True, slots=True)
class Settings:
    """listen: (host, port), or ("unix:/path", 0); port 0 takes a free one. keep_pairs: remember every (message,
    recipient) for loss and duplicate checks."""

    listen: tuple[tuple[str, int], ...] = (("127.0.0.1", 2526),)
    processes: int = 1
    profile: Profile = field(default_factory=dict)
    name: str = "sink.invalid"
    extensions: tuple[str, ...] = EXTENSIONS
    keep_pairs: bool = False
    seed: int = 0


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; MisuseError says why not."""
    family = socket.AF_UNIX if host.startswith("unix:") else socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_UNIX:
            path = host[5:]
            if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)
            sock.bind(path)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise MisuseError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return sock


def address_of(sock: socket.socket) -> str:
    """Where a client finds it: "127.0.0.1:2526", "[::1]:2526", "unix:/path"."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run(
    settings: Settings,
    *,
    opened: Callable[[list[str]], object],
    shown: Callable[[Tally], object],
) -> Tally:
    """Serve until INT or TERM, then the merged tally.

    opened: called once with the addresses, when connections are taken. shown: called with the tally so far on USR1.
    """
    sockets = [open_socket(host, port) for host, port in settings.listen]
    with Crew(settings.processes, lambda number, wire: _serve(number, wire, sockets, settings)) as crew:
        came = crew.on_signals(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        opened([address_of(sock) for sock in sockets])
        while signal.SIGINT not in came and signal.SIGTERM not in came:
            if signal.SIGUSR1 in came:
                came.clear()
                crew.tell(_TALLY)
                shown(_gather(crew))
            for _ in crew.hear():
                pass  # nothing comes unasked
        crew.tell(STOP)
        return _gather(crew)


def _gather(crew: Crew) -> Tally:
    missing, merged = crew.working, Tally()
    while missing:
        for _, wire in crew.hear():
            tally = Tally.from_wire(wire)
            merged.keep_pairs = tally.keep_pairs
            merged.merge(tally)
            missing -= 1
    return merged


def _serve(number: int, wire: Wire, sockets: list[socket.socket], settings: Settings) -> None:
    tally = Tally(keep_pairs=settings.keep_pairs)
    chance = random.Random(settings.seed * 1000 + number)
    sink = Sink(tally, profile=settings.profile, chance=chance, name=settings.name, extensions=settings.extensions)
    stopped = tasks.Event()

    def hear(word: str) -> None:
        if word == STOP:
            stopped.set()
        else:
            wire.say(tally.to_wire())

    ticker = tasks.Ticker(clock.TICK, lambda: wheel.turn(clock.now()))
    listeners = [Listener(sock, sink.serve, spawn=tasks.spawn) for sock in sockets]
    for listener in listeners:
        listener.start()
    wire.listen(hear)
    stopped.wait()
    for listener in listeners:
        listener.close()
    ticker.close()
    wire.say(tally.to_wire())
