"""What a measurement wants of a relay, ours or a rival: a config in a folder of its own, and a command to start."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Setup:
    """A relay ready to start. config: what it was told, for the record (paths and ports in it differ each time)."""

    command: list[str]
    env: dict[str, str]
    port: int
    config: str
    logs: tuple[Path, ...] = field(default=())  # read and shown when a round breaks


class Relay(Protocol):
    """One of those measured. `name` is its name on the command line and in the results."""

    name: str

    def missing(self) -> str:
        """Why it cannot run here; "" when it can."""
        ...

    def version(self) -> str:
        """As it would tell an operator."""
        ...

    def prepare(self, folder: Path, sink: int, workers: int) -> Setup:
        """Write a config into the empty `folder`: listen on a free loopback port, all mail goes to port `sink`."""
        ...
