"""What a measurement wants of a relay, ours or a rival: a config in a folder of its own, and a command to start."""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Need(enum.Enum):
    """What a scenario wants of a relay beyond a smart host; relays that do not offer it are left out there."""

    RETRIES = "mail that was put off comes back after Wish.first_retry"
    ROUTES = "next hops by domain"
    MX = "next hops by DNS, from a name server and to a port of ours"
    MX_BY_SYSTEM = "the same, but it asks whom the system asks, at port 53"
    CLIENTS = "ten thousand clients at once"
    TLS_IN = "STARTTLS with Wish.certificate"
    TLS_OUT = "STARTTLS with the next hop, where Wish.tls_out"
    BACKLOG = "a spool that bench/seed.py can fill"


@dataclass(frozen=True, slots=True)
class Wish:
    """How a relay is to be set up. All mail goes to 127.0.0.1 port `sink`, but what `next_hops` names goes there.

    next_hops: domain -> (address, port). name_server: (address, port) to ask for MX instead of sending to `sink`;
    mail then goes to port `mail_port`. connections: to one destination. clients: at a time. first_retry: seconds.
    spool: a filled one to start on, to be linked in. certificate: and its key, for STARTTLS.
    tls_out: nothing goes out without TLS.
    """

    sink: int
    workers: int = 2
    next_hops: dict[str, tuple[str, int]] = field(default_factory=dict)
    name_server: tuple[str, int] | None = None
    mail_port: int = 25
    connections: int = 50
    clients: int = 1000
    first_retry: float = 300.0
    spool: Path | None = None
    certificate: tuple[Path, Path] | None = None
    tls_out: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """A relay ready to start. config: what it was told, for the record (its folder and ports differ each time).

    logs: read and shown when a round breaks. metrics: port of its Prometheus page, 0 = none. api: the socket of its
    queue API, "" = none. orphans: it has processes that outlive their parent, whose CPU would be missed.
    """

    command: list[str]
    env: dict[str, str]
    port: int
    config: str
    logs: tuple[Path, ...] = ()
    metrics: int = 0
    api: str = ""
    orphans: bool = False


class Relay(Protocol):
    """One of those measured. `name` is its name on the command line and in the results."""

    name: str
    offers: frozenset[Need]

    def missing(self) -> str:
        """Why it cannot run here; "" when it can."""
        ...

    def version(self) -> str:
        """As it would tell an operator."""
        ...

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        """Write a config into the empty `folder`: listen on a free loopback port, do as `wish` says."""
        ...
