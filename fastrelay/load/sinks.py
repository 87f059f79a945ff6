"""A sink in several processes on shared listening sockets: what `fastrelay sink` and `fastrelay bench --sink` run.

Each process counts for itself; on request and at the end the parent merges the tallies. Connection limits hold over all
processes together.
"""

import os
import random
import signal
import socket
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from fastrelay.errors import MisuseError
from fastrelay.load.crew import STOP, Crew, Wire
from fastrelay.load.limits import NO_LIMITS, Limits, Presence
from fastrelay.load.profile import Profile
from fastrelay.load.sink import EXTENSIONS, Sink
from fastrelay.load.tally import Difference, Tally
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.crowd import Crowd
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import ticking
from fastrelay.runtime.tls import server_context

_BACKLOG = 4096  # connections the kernel holds for us; capped by net.core.somaxconn
_LOOK = 0.05  # seconds between two looks at what has arrived
_TALLY, _COUNT = "tally", "count"


@dataclass(frozen=True, slots=True)
class Settings:
    """listen: (host, port), or ("unix:/path", 0); port 0 takes a free one. keep_pairs: remember every (message,
    recipient) for loss and duplicate checks. certificate, key: PEM files; then TLS is offered, or with `implicit` comes
    first."""

    listen: tuple[tuple[str, int], ...] = (("127.0.0.1", 2526),)
    processes: int = 1
    profile: Profile = field(default_factory=dict)
    name: str = "sink.invalid"
    extensions: tuple[str, ...] = EXTENSIONS
    keep_pairs: bool = False
    seed: int = 0
    limits: Limits = NO_LIMITS
    certificate: str = ""
    key: str = ""
    implicit: bool = False


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


class Sinks:
    """The processes, serving from the moment this is entered until it is left. A context manager; start no thread
    before. ConfigError for a certificate that cannot be used, MisuseError for an address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = server_context(settings.certificate, settings.key) if settings.certificate else None
        self._presence: Presence | None = None
        if settings.limits.connections or settings.limits.per_client:
            self._presence = Presence(settings.limits, settings.processes)
        self._sockets = [open_socket(host, port) for host, port in settings.listen]
        self.addresses = [address_of(sock) for sock in self._sockets]

    def __enter__(self) -> Self:
        self.crew = Crew(self._settings.processes, self._serve)
        for sock in self._sockets:
            sock.close()
        return self

    def __exit__(self, *exc: object) -> None:
        self.crew.__exit__(*exc)

    def arrived(self) -> int:
        """Recipients that have got their mail so far, those who got it twice counted twice. Waits for the answers."""
        return sum(self._ask(_COUNT))

    def tally(self) -> Tally:
        """What all processes saw so far, merged. Waits for the answers."""
        return self._merged(_TALLY)

    def end(self) -> Tally:
        """Serve no longer; the last word of all."""
        return self._merged(STOP)

    def wait(self, pairs: list[str], patience: float, progress: Callable[[int], object]) -> tuple[Tally, Difference]:
        """Until every pair ("IDENT ADDRESS") of `pairs` has arrived, or nothing has for `patience` seconds.

        progress: called with the number of recipients that have their mail. Ctrl-C ends the wait.
        """
        seen, latest = -1, 0.0
        tally = Tally()
        difference = tally.difference(pairs)
        try:
            while difference.lost:
                arrived = self.arrived()
                progress(arrived)
                now = clock.now()
                if arrived > seen:
                    seen, latest = arrived, now + patience
                    if arrived >= len(pairs):
                        difference = self.tally().difference(pairs)
                        continue
                if now >= latest:
                    break
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            pass  # what has not come counts as lost
        tally = self.tally()
        return tally, tally.difference(pairs)

    def _merged(self, word: str) -> Tally:
        merged = Tally(keep_pairs=self._settings.keep_pairs)
        for wire in self._ask(word):
            merged.merge(Tally.from_wire(wire))
        return merged

    def _ask(self, word: str) -> list[Any]:
        self.crew.tell(word)
        missing = self.crew.working
        answers: list[Any] = []
        while len(answers) < missing:
            answers += [answer for _, answer in self.crew.hear()]
        return answers

    def _serve(self, number: int, wire: Wire) -> None:
        """In the child."""
        settings = self._settings
        sink = _made(settings, number, self._presence, self._tls)
        tally = sink.tally
        crowd = Crowd()
        listeners = [Listener(sock, sink.serve, spawn=crowd.spawn) for sock in self._sockets]
        until_stopped(wire, listeners, {_COUNT: lambda: tally.recipients, _TALLY: tally.to_wire})
        wire.say(tally.to_wire())


def until_stopped(wire: Wire, listeners: list[Listener], answers: dict[str, Callable[[], object]]) -> None:
    """In a child of a crew: serve, with the answers to what the parent asks, until it says stop."""
    stopped = tasks.Event()

    def hear(word: str) -> None:
        if word == STOP:
            stopped.set()
        elif word in answers:
            wire.say(answers[word]())

    ticker = ticking()
    for listener in listeners:
        listener.start()
    wire.listen(hear)
    stopped.wait()
    for listener in listeners:
        listener.close()
    ticker.close()


def _made(settings: Settings, number: int, presence: Presence | None, tls: ssl.SSLContext | None) -> Sink:
    return Sink(
        Tally(keep_pairs=settings.keep_pairs),
        profile=settings.profile,
        chance=random.Random(settings.seed * 1000 + number),
        name=settings.name,
        extensions=settings.extensions,
        limits=settings.limits,
        presence=presence,
        number=number,
        tls=tls,
        implicit=settings.implicit,
    )


def run(
    settings: Settings,
    *,
    opened: Callable[[list[str]], object],
    shown: Callable[[Tally], object],
) -> Tally:
    """Serve until INT or TERM, then the merged tally.

    opened: called once with the addresses, when connections are taken. shown: called with the tally so far on USR1.
    """
    with Sinks(settings) as sinks:
        came = sinks.crew.on_signals(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        opened(sinks.addresses)
        while signal.SIGINT not in came and signal.SIGTERM not in came:
            if signal.SIGUSR1 in came:
                came.clear()
                shown(sinks.tally())
            for _ in sinks.crew.hear():
                pass  # nothing comes unasked
        return sinks.end()
