"""What a child finds when it starts: its seat in the house. Everything was opened by the master before the fork."""

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from fastrelay.config import Config, Listener
from fastrelay.errors import MachineShort
from fastrelay.process.heartbeat import Page
from fastrelay.process.ledger import Ledger

CLEARED: Final = 10.0  # seconds; the master needs milliseconds


@dataclass(slots=True, eq=False)
class Seat:
    """Handed to `run_worker` and `run_admin`, which return an exit code.

    number: the post, a hint only; a worker's identity is the slot it claims. listeners: configuration and socket of
    each (none for the admin child). life_fd: readable (end of file) when the master is gone: stop within 5 s. control:
    our end of a SOCK_SEQPACKET pair to the master. suspects: idents that crashed workers before; hold them. wary: those
    in hand at crashes; try them one at a time. api, http: the admin child's sockets (runtime_dir/admin.sock; the
    address of [admin], None while it cannot be had).
    """

    config: Config
    number: int
    listeners: list[tuple[Listener, socket.socket]]
    page: Page
    ledger: Ledger
    life_fd: int
    control: socket.socket
    suspects: tuple[bytes, ...] = ()
    wary: tuple[bytes, ...] = ()
    api: socket.socket | None = None
    http: socket.socket | None = None

    def claim(self, slot: int) -> None:
        """We are `slot` now: its row of the page, its column of the ledger. Right after the slot's lock is held.

        The lock is free as soon as its holder is dead, the row only when the master has reaped that process and zeroed
        its column: until then this waits, MachineShort after CLEARED seconds.
        """
        deadline = time.monotonic() + CLEARED
        while (holder := self.page.pid_of(slot)) not in (0, os.getpid()):
            if time.monotonic() > deadline:
                raise MachineShort(f"slot {slot} still counts as held by process {holder}")
            time.sleep(0.005)
        self.page.claim(slot, time.monotonic())
        if slot != self.page.admin:
            self.ledger.attach(slot)

    def claim_admin(self) -> None:
        """The admin child's own row: it may beat there, and is then watched like a worker."""
        self.claim(self.page.admin)

    def ready(self) -> None:
        """The child does its work from now on; the master hears it at once."""
        self.page.ready()
        with contextlib.suppress(OSError):  # the master is gone, or will see the page in a second
            self.control.send(b"ready", socket.MSG_DONTWAIT)
