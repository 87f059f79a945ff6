"""A reload, step by step: read and check, open what is new, let every worker prepare, then swap all. Or nothing.

    PREPARING -> SWAPPING -> over        what may fail comes before the swap, and then the old one stays

Promises: the configuration in force is one that every living worker could prepare, or the old one unchanged; a listener
that stays keeps its socket, so no connection is refused; workers that start meanwhile are asked too. spool.path,
runtime_dir, user, and what a journal is opened with need a restart: a configuration that changes them is refused whole,
with a line for each. Nothing here waits; `look` is called at each turn of the master's loop.
"""

import contextlib
import enum
import os
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from fastrelay.config import Config
from fastrelay.errors import ConfigError, FastrelayError, MachineShort
from fastrelay.process import cpus, orders, sockets
from fastrelay.process.children import Child
from fastrelay.process.spawn import EXIT_CONFIG, EXIT_OK, EXIT_TEMPORARY
from fastrelay.process.staff import Staff

PATIENCE: Final = 10.0  # seconds for a worker to prepare: certificates, a log file, sites by the thousand
_FOR_A_LIFE: Final = (
    ("server", "user"),
    ("server", "runtime_dir"),
    ("spool", "path"),
    ("spool", "durability"),
    ("spool", "segment_size"),
    ("spool", "completion_sync"),
)


class Step(enum.Enum):
    """Where it is."""

    PREPARING = "preparing"
    SWAPPING = "swapping"


class Verdict(NamedTuple):
    """How it ended: an exit code, and lines for the operator."""

    code: int
    lines: tuple[str, ...]


def for_a_life(old: Config, new: Config) -> list[str]:
    """One line for each key that differs and cannot change while the house stands."""
    lines = []
    for section, key in _FOR_A_LIFE:
        was, wanted = getattr(getattr(old, section), key), getattr(getattr(new, section), key)
        if was != wanted:
            lines.append(f"{new.source}: {section}.{key}: needs a restart (in force: {was!r}, wanted: {wanted!r})")
    return lines


class Reload:
    """One under way. apply(reload, now) is called at the swap, before the first worker hears of it: from then on
    whoever is started starts with the new configuration. deadline: when it has to be looked at again at the latest.
    ConfigError (several lines perhaps) or MachineShort: it cannot begin."""

    __slots__ = ("_apply", "_asked", "_fd", "_opened", "_refusals", "_serial", "_staff", "_swapping",
                 "config", "deadline", "listeners", "step")  # fmt: skip

    def __init__(
        self, serial: int, config: Config, staff: Staff, now: float, apply: Callable[["Reload", float], object]
    ) -> None:
        self._serial = serial
        self._staff = staff
        self._apply = apply
        self.config = config
        fixed = for_a_life(staff.config, config)
        if fixed:
            raise ConfigError("\n".join(fixed))
        if cpus.workers(config.server.workers) > staff.page.slots:
            raise ConfigError(f"{config.source}: server.workers: at most {staff.page.slots} without a restart")
        if len(config.listeners) > orders.MOST_LISTENERS:
            raise ConfigError(f"{config.source}: listener: at most {orders.MOST_LISTENERS} can be reloaded")
        self._opened: list[socket.socket] = []
        self.listeners = self._listen()
        try:
            self._fd = orders.sealed(config)
        except OSError as error:
            self._close_opened()
            raise MachineShort(f"cannot prepare the new configuration: {error.strerror}") from None
        self._asked: dict[int, bool] = {}  # pid -> prepared
        self._swapping: set[int] = set()
        self._refusals: list[str] = []
        self.deadline = now + PATIENCE
        self.step = Step.PREPARING

    def _listen(self) -> list[socket.socket]:
        """A socket for each listener: the one there is, or a new one."""
        there = dict(zip(self._staff.addresses, self._staff.listeners, strict=True))
        found: list[socket.socket] = []
        try:
            for listener in self.config.listeners:
                sock = there.get(sockets.canonical(listener.address))
                if sock is None:
                    sock = sockets.bind(listener.address, self._staff.identity)
                    self._opened.append(sock)
                found.append(sock)
        except FastrelayError:
            self._close_opened()
            raise
        return found

    # -- the steps ------------------------------------------------------------------------------------------------

    def answered(self, child: Child, order: orders.Order) -> None:
        """A worker said something."""
        if order.serial != self._serial or child.pid not in self._asked:
            return
        if order.word == "prepared":
            self._asked[child.pid] = True
        elif order.word == "refused":
            self._refusals.append(f"{self.config.source}: {order.text}")
        elif order.word == "swapped":
            self._swapping.discard(child.pid)

    def look(self, now: float) -> Verdict | None:
        """The next step, where it is time for one; how it ended, once it has."""
        workers = self._staff.living_workers
        if self.step is Step.PREPARING:
            return self._prepare(workers, now)
        self._swapping &= {child.pid for child in workers}  # one that ended comes again, with the new configuration
        if self._swapping and now < self.deadline:
            return None
        late = f"; {len(self._swapping)} workers have not said so yet" if self._swapping else ""
        return Verdict(EXIT_OK, (f"reloaded {self.config.source}{late}",))

    def _prepare(self, workers: list[Child], now: float) -> Verdict | None:
        if self._refusals:
            return self._give_up(workers, Verdict(EXIT_CONFIG, tuple(dict.fromkeys(self._refusals))))
        fds = [self._fd, *(sock.fileno() for sock in self.listeners)]
        for child in workers:
            if child.pid not in self._asked:
                with contextlib.suppress(OSError):  # its buffer is full, or it ends: asked again, or forgotten
                    orders.send(child.control, "prepare", self._serial, fds=fds)
                    self._asked[child.pid] = False
        silent = [child.pid for child in workers if not self._asked.get(child.pid)]
        if not silent:
            self._swap(workers, now)
        elif now >= self.deadline:
            text = f"worker process {silent[0]} did not answer for {PATIENCE:g} s: nothing was changed; try again"
            return self._give_up(workers, Verdict(EXIT_TEMPORARY, (text,)))
        return None

    def _swap(self, workers: list[Child], now: float) -> None:
        self.step = Step.SWAPPING
        self.deadline = now + PATIENCE
        os.close(self._fd)
        self._opened = []
        self._apply(self, now)
        for child in workers:
            with contextlib.suppress(OSError):  # it ends
                orders.send(child.control, "swap", self._serial)
                self._swapping.add(child.pid)

    def _give_up(self, workers: list[Child], verdict: Verdict) -> Verdict:
        for child in workers:
            with contextlib.suppress(OSError):  # it ends
                orders.send(child.control, "forget", self._serial)
        self.drop()
        return verdict

    def drop(self) -> None:
        """The old configuration stays, or the house ends: close what was opened for the new one."""
        if self.step is Step.PREPARING:
            os.close(self._fd)
            self._close_opened()

    def _close_opened(self) -> None:
        names = [sockets.name_of(sock) for sock in self._opened]
        sockets.close_all(self._opened)
        sockets.remove_files(names)
        self._opened = []
