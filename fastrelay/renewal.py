"""One worker's part of a reload: everything that may fail is done in `prepare`, and nothing of it is in force before
`swap`, which cannot. The worker lives on, with its sessions, its mail and its connections.

Sessions under way keep the rules they began with; connections to peers, windows, routes and times of retry follow the
new configuration at their next use. spool.path, runtime_dir, user, and what a journal is opened with are for a life:
the master refuses a reload that changes them.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import NamedTuple, Protocol

from fastrelay.config import Config, authorities
from fastrelay.delivery.accounts import Account, accounts
from fastrelay.delivery.connect import Dialer
from fastrelay.doors import Doors, Standing
from fastrelay.errors import ConfigError, MachineShort
from fastrelay.eventlog import EventLog, open_events
from fastrelay.intake import Intake
from fastrelay.metrics import Counts
from fastrelay.reception.logins import users_path
from fastrelay.reception.users_file import read_users
from fastrelay.relay import Relay
from fastrelay.routing import resolver
from fastrelay.routing.overrides import Overrides
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.router import Router
from fastrelay.runtime import tasks, tls
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.settlement.notices import left_when_late
from fastrelay.spool.store import Store


class Configured(Protocol):
    """What only has to hear of the new configuration (settlement, notices)."""

    def renew(self, config: Config, /) -> None: ...


@dataclass(slots=True, frozen=True)
class Rooms:
    """The rooms a reload reaches. settings: takes the delivery settings of all sites. configured: whoever has a
    `renew(config)`."""

    store: Store
    intake: Intake
    scheduler: Scheduler
    router: Router
    relay: Relay
    dialer: Dialer
    log: EventLog
    counts: Counts
    doors: Doors
    settings: Callable[[Config], object]
    configured: Sequence[Configured]


class Prepared(NamedTuple):
    """A configuration with all that it needs, read and opened. resolver: None where the old one will do."""

    config: Config
    doors: list[Standing]
    verifying: dict[str, SSLContext]
    accounts: dict[str, Account]
    resolver: Resolver | None
    events: int


def hello_of(config: Config) -> str:
    """Our name to peers where a site's settings bear none."""
    return config.delivery.hello or config.server.hostname


def prepare(rooms: Rooms, old: Config, new: Config, sockets: Sequence[socket.socket]) -> Prepared:
    """sockets: one for each listener of `new`, ours from now on. ConfigError says what cannot be had."""
    try:
        verifying = tls.verifying_contexts(authorities(new))
        known = accounts(new.credentials)
        Overrides(new.routes)
        if users_path(new):
            read_users(users_path(new))
        asked = resolver.configured(new.dns) if new.dns != old.dns else None
        events = open_events(new.log)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    try:
        doors = rooms.doors.prepare(list(zip(new.listeners, sockets, strict=True)), new.server.hostname)
    except BaseException:
        if events > 2:
            os.close(events)
        raise
    return Prepared(new, doors, verifying, known, asked, events)


def forget(rooms: Rooms, prepared: Prepared) -> None:
    """It will not be in force after all."""
    rooms.doors.forget(prepared.doors)
    if prepared.events > 2:
        os.close(prepared.events)


def swap(rooms: Rooms, prepared: Prepared, asked: Resolver) -> None:
    """In force from now on. asked: the resolver in use. Never waits."""
    config = prepared.config
    rooms.counts.sites.know(row.name for row in config.sites)
    rooms.settings(config)
    rooms.store.renew(config.spool, config.limits)
    rooms.intake.renew(config.retry.expire, config.retry.max)
    for one in rooms.configured:
        one.renew(config)
    rooms.dialer.renew(hello_of(config), prepared.verifying, prepared.accounts)
    rooms.router.renew(config, prepared.resolver or asked)
    rooms.relay.renew()
    rooms.scheduler.renew(left_when_late(config))
    rooms.log.renew(config.log, prepared.events)
    rooms.doors.swap(prepared.doors)


class Order(Protocol):
    """What the master says. config and sockets come with "prepare"."""

    @property
    def word(self) -> str: ...
    @property
    def serial(self) -> int: ...
    @property
    def config(self) -> Config | None: ...
    @property
    def sockets(self) -> Sequence[socket.socket]: ...


class Renewal:
    """One per worker: it hears the master's orders (process/orders.py) and does what they say.

    receive(): the next one, None when the master is gone, BlockingIOError when there is none; send(word, serial, text):
    the answer; OSError, both. config, resolver: those in force. renewed(prepared): it is in force now, in every room.
    lost(why): half of it is. retiring: we shall be told to drain, and siblings go on accepting.
    """

    __slots__ = ("_config", "_lost", "_prepared", "_receive", "_renewed", "_resolver", "_rooms", "_send", "retiring")

    def __init__(
        self,
        rooms: Rooms,
        receive: Callable[[], Order | None],
        send: Callable[[str, int, str], object],
        config: Callable[[], Config],
        resolver: Callable[[], Resolver],
        *,
        renewed: Callable[[Prepared], object],
        lost: Callable[[str], object],
    ) -> None:
        self._rooms = rooms
        self._receive = receive
        self._send = send
        self._config = config
        self._resolver = resolver
        self._renewed = renewed
        self._lost = lost
        self._prepared: tuple[int, Prepared] | None = None  # which reload, and what it needs
        self.retiring = False

    def hear(self) -> bool:
        """Obey every order there is. Never waits. False: there will be no more."""
        while True:
            try:
                order = self._receive()
            except BlockingIOError:
                return True
            except OSError:
                order = None
            if order is None:
                return False
            self._obey(order)

    def _obey(self, order: Order) -> None:
        if order.word == "retire":
            self.retiring = True
        elif order.word == "prepare" and order.config is not None:
            self._forget()
            try:
                prepared = prepare(self._rooms, self._config(), order.config, order.sockets)
            except (ConfigError, MachineShort) as error:
                self._answer("refused", order.serial, str(error))
            else:
                self._prepared = order.serial, prepared
                self._answer("prepared", order.serial)
        elif order.word == "forget":
            self._forget()
        elif order.word == "swap" and self._prepared is not None and self._prepared[0] == order.serial:
            self._swap(self._prepared[1])
            self._answer("swapped", order.serial)

    def _answer(self, word: str, serial: int, text: str = "") -> None:
        with contextlib.suppress(OSError):  # the master is gone, or will miss the answer
            self._send(word, serial, text)

    def _forget(self) -> None:
        if self._prepared is not None:
            forget(self._rooms, self._prepared[1])
            self._prepared = None

    def _swap(self, prepared: Prepared) -> None:
        self._prepared = None
        try:
            swap(self._rooms, prepared, self._resolver())
        except Exception as error:  # half a configuration is in force: a bug, and a new life has the whole
            tasks.on_crash("Worker.swap", error)
            self._lost("cannot go over to the new configuration")
            return
        self._renewed(prepared)
