"""A small internet on loopback: a name server and mail servers of several domains, as children of one crew.

What a demonstration needs to show the walk of mail for real: domains found by MX, by a second MX because the first is
dead, by CNAME and by their own address, and one that defers part of its mail at first. Every mail server stands on an
address of its own, all on one port, as the internet has them.
"""

import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from fastrelay.errors import MachineShort, MisuseError
from fastrelay.load.crew import Crew, Wire
from fastrelay.load.name_server import NameServer
from fastrelay.load.profile import Profile, Rule
from fastrelay.load.sink import Sink
from fastrelay.load.sinks import open_socket, until_stopped
from fastrelay.load.tally import Tally
from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener

_TALLY, _COUNT = "tally", "count"
_TRIES = 50  # ports looked at until one is free on every address


@dataclass(frozen=True, slots=True)
class Domain:
    """One recipient domain. weight: its part of the mail. records: its zone lines. way: how it is found, for people.

    addresses: where its mail servers listen. defer: share of recipients deferred at first sight.
    """

    name: str
    weight: float
    way: str
    records: str
    addresses: tuple[str, ...]
    defer: float = 0.0


DOMAINS = (
    Domain(
        "large.example", 0.4, "two equal MX",
        "large.example 60 MX 10 mx1.large.example\nlarge.example 60 MX 10 mx2.large.example\n"
        "mx1.large.example 60 A 127.0.0.11\nmx2.large.example 60 A 127.0.0.12",
        ("127.0.0.11", "127.0.0.12"),
    ),
    Domain(
        "backup.example", 0.2, "2nd MX, 1st dead",
        "backup.example 60 MX 10 dead.backup.example\nbackup.example 60 MX 20 mx.backup.example\n"
        "dead.backup.example 60 A 127.0.0.99\nmx.backup.example 60 A 127.0.0.13",
        ("127.0.0.13",),
    ),
    Domain(
        "alias.example", 0.1, "CNAME, then MX",
        "alias.example 60 CNAME hosted.example\nhosted.example 60 MX 0 mx.hosted.example\n"
        "mx.hosted.example 60 A 127.0.0.14",
        ("127.0.0.14",),
    ),
    Domain("plain.example", 0.1, "no MX: address", "plain.example 60 A 127.0.0.15", ("127.0.0.15",)),
    Domain(
        "busy.example", 0.2, "MX, defers 20 %",
        "busy.example 60 MX 10 mx.busy.example\nmx.busy.example 60 A 127.0.0.16",
        ("127.0.0.16",), defer=0.2,
    ),
)  # fmt: skip


class Internet:
    """The domains, served from the moment it is entered until it is left. A context manager; start no thread before.

    port: of every mail server. name_server: "127.0.0.1:5353", to be asked for everything.
    """

    def __init__(self, domains: tuple[Domain, ...] = DOMAINS, *, seed: int = 0) -> None:
        self._domains = domains
        self._seed = seed
        self.port, self._sockets = _listen([domain.addresses for domain in domains])
        self._names = NameServer("\n".join(domain.records for domain in domains))
        self.name_server = f"127.0.0.1:{self._names.port}"

    def __enter__(self) -> Self:
        self._crew = Crew(1 + len(self._domains), self._serve)
        for some in self._sockets:
            for sock in some:
                sock.close()
        self._names.hand_over()
        return self

    def __exit__(self, *exc: object) -> None:
        self._crew.__exit__(*exc)

    def delivered(self) -> int:
        """Recipients that have got their mail so far, those who got it twice counted twice."""
        return sum(self._ask(_COUNT))

    def tallies(self) -> dict[str, Tally]:
        """What the mail servers of each domain saw so far."""
        found = [Tally.from_wire(wire) for wire in self._ask(_TALLY)]
        return {domain.name: tally for domain, tally in zip(self._domains, found, strict=True)}

    def _ask(self, word: str) -> list[Any]:
        """Each domain's answer, in order."""
        self._crew.tell(word)
        answers: dict[int, Any] = {}
        while len(answers) < len(self._domains):
            answers.update(self._crew.hear())
        return [answers[number] for number in sorted(answers)]

    def _serve(self, number: int, wire: Wire) -> None:
        """In the child: the first are the domains, the last is the name server."""
        if number == len(self._domains):
            self._serve_names(wire)
            return
        self._names.hand_over()
        domain = self._domains[number]
        tally = Tally(keep_pairs=True)
        profile: Profile = {"rcpt": Rule(defer=domain.defer)} if domain.defer else {}
        sink = Sink(tally, profile=profile, chance=random.Random(self._seed), name=f"mx.{domain.name}")
        listeners = [Listener(sock, sink.serve, spawn=tasks.spawn) for sock in self._sockets[number]]
        answers: dict[str, Callable[[], object]] = {_COUNT: lambda: tally.recipients, _TALLY: tally.to_wire}
        until_stopped(wire, listeners, answers)

    def _serve_names(self, wire: Wire) -> None:
        self._names.start()
        until_stopped(wire, [], {})


def _listen(addresses: list[tuple[str, ...]]) -> tuple[int, list[list[socket.socket]]]:
    """A port that is free on every address, and the listening sockets there."""
    for _ in range(_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        opened: list[list[socket.socket]] = []
        try:
            for some in addresses:
                opened.append([])
                for address in some:
                    opened[-1].append(open_socket(address, port))
            return port, opened
        except MisuseError:
            for sock in (sock for some in opened for sock in some):
                sock.close()
    raise MachineShort("no port is free on all of 127.0.0.11 to 127.0.0.16; is loopback 127.0.0.0/8 up?")
