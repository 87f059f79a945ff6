"""One worker: the rooms of one slot, built, started and ended in order. Wiring only; every decision lives in a room.

    claim a slot -> settle its tail -> open the doors -> load its backlog -> serve -> drain or stop

Promises
- Nothing is accepted before the journal can commit; the backlog is loaded behind open doors.
- TERM: no new connection, no new transaction in or out, final dots awaited up to drain_timeout. INT, QUIT and the end
  of the master: the same at once. Either way what rides is written and synced before the process ends.
- A slot nobody holds is adopted by the least loaded worker (adoption.py).
- A worker that cannot read all the mail of its slot ends, so that its successor does: none lies there unknown.
- A reload (renewal.py) is prepared, then swapped in; a worker that could not swap ends, and its successor starts with
  the new configuration.
"""

import enum
import gc
import os
import signal
import socket
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastrelay import config as configuration
from fastrelay import metrics, renewal
from fastrelay.adoption import Adoption
from fastrelay.control import Control
from fastrelay.control import Door as ControlDoor
from fastrelay.control.explain import Explainer
from fastrelay.control.pulse import Pulse
from fastrelay.control.traces import Traces
from fastrelay.delivery.accounts import accounts
from fastrelay.delivery.carrier import Carrier
from fastrelay.delivery.connect import Dialer
from fastrelay.delivery.hosts import Place
from fastrelay.delivery.pool import Pool
from fastrelay.doors import Doors
from fastrelay.errors import FastrelayError, MachineShort
from fastrelay.eventlog import EventLog
from fastrelay.intake import Intake
from fastrelay.jury import Jury
from fastrelay.mail.ident import IdentSource, born
from fastrelay.mail.route import LimitKey, Route
from fastrelay.process import orders
from fastrelay.process.inhand import InHand
from fastrelay.process.seat import Seat
from fastrelay.process.spawn import EXIT_OK, EXIT_TEMPORARY
from fastrelay.process.suspensions import Suspensions
from fastrelay.reception.door import Door
from fastrelay.reception.logins import Logins, users_path
from fastrelay.reception.policy import Policy
from fastrelay.reception.users import Users
from fastrelay.relay import Relay
from fastrelay.renewal import Prepared, Renewal, Rooms
from fastrelay.routing import guard, resolver
from fastrelay.routing.reverse import claim, verified_name
from fastrelay.routing.router import Router
from fastrelay.runtime import certificates, clock, tasks, tls
from fastrelay.runtime.signals import SignalWatch
from fastrelay.runtime.stream import connect, ticking
from fastrelay.schedule.scheduler import Scheduler
from fastrelay.settlement.classify import classify
from fastrelay.settlement.notices import Notices, left_when_late
from fastrelay.settlement.settle import Settle
from fastrelay.spool import slots
from fastrelay.spool.disk import Disk
from fastrelay.spool.slots import Slot
from fastrelay.spool.store import Store
from fastrelay.suspending import Suspending
from fastrelay.trail.known import known_to

BEAT = 1.0  # seconds; the master misses a worker after [server] hang_timeout
LONG_AWAY = 86400.0  # seconds without a record, after which the wall clock is not trusted at once
TELL_EVERY = 10.0  # seconds between two lines about room at least: memory may come and go within one
GRACE = 3600.0  # seconds in which nothing expires then
LAST_CALL = 2.0  # seconds of drain_timeout kept for the spool's last sync
LINGER = 10.0  # seconds a worker whose siblings go on lets sessions come to their own end before it says 421


class Ending(enum.Enum):
    """How the worker was told to end."""

    DRAIN = "drain"
    QUICK = "quick"


def run_worker(seat: Seat, disk: Disk | None = None) -> int:
    """The life of a worker; its exit code. Raises what keeps it from starting. disk: the spool's, the real one."""
    slot = slots.claim(Path(seat.config.spool.path))
    try:
        seat.claim(slot.number)
        return Worker(seat, slot, disk).run()
    finally:
        slot.close()


class Worker:
    """The rooms of one slot and their neighbours."""

    def __init__(self, seat: Seat, slot: Slot, disk: Disk | None = None) -> None:
        config = seat.config
        self._seat = seat
        self._slot = slot
        self._config = config
        self._runtime_dir = Path(config.server.runtime_dir)
        self._ending: Ending | None = None
        self._ended = tasks.Event()
        self._loaded = False
        self._refusing = False  # new mail gets 452, and the operator was told
        self._told_at = -TELL_EVERY
        self._code = EXIT_OK
        self._sessions = 0
        self._asked = (0, 0, 0, 0)  # what resolvers before this one were asked
        self._beaten = clock.now()
        self.counts = metrics.Counts(row.name for row in config.sites)
        self.log = EventLog(config.log, counts=self.counts, name=f"slot {slot.number}")
        self.log.start()
        tasks.on_crash = self._crashed
        self._exporter = metrics.Exporter(self.counts, slot.number)
        self._ticks = [ticking(), tasks.Ticker(BEAT, self._beat)]
        self._watches = [
            SignalWatch(signal.SIGTERM, lambda: self._end(Ending.DRAIN)),
            SignalWatch(signal.SIGINT, lambda: self._end(Ending.QUICK)),
            SignalWatch(signal.SIGQUIT, lambda: self._end(Ending.QUICK)),
            SignalWatch(signal.SIGUSR1, self.log.reopen),
            tasks.DescriptorWatch(seat.ledger.eventfd, self._slot_freed),
        ]
        self._life = tasks.DescriptorWatch(seat.life_fd, self._orphaned)
        settings_of, set_settings = _settings(config)
        self.store = Store(slot, config.spool, config.limits, disk=disk, note=self.log.write, counts=self.counts)
        self.resolver = resolver.configured(config.dns)
        self.router = Router(config, self.resolver)
        self.traces = Traces(lambda: self.pool.close_idle())  # what is connected already could not be listened to
        dialer = Dialer(
            renewal.hello_of(config),
            classify,
            guard.forbidden,
            tls.client_context(verify=False),
            tls.verifying_contexts(configuration.authorities(config)),
            accounts=accounts(config.credentials),
            connect=self.traces.connecting(connect),
        )
        self.pool = Pool(settings_of, seat.ledger, dialer, self.counts)
        self.scheduler = Scheduler(settings_of, notice_left=left_when_late(config))
        self.jury = Jury(known_to(config), self.store.head, self.log, self.counts)
        self.intake = Intake(self.store, self.scheduler, IdentSource(), config.retry.expire, config.retry.max)
        self.adoption = Adoption(
            Path(config.spool.path),
            self.store,
            self.intake.recovered,
            may_adopt=self._is_least_loaded,
            lost=self._start_over,
            say=self.log.say,
            is_left=seat.page.is_left,
        )
        self.pulse = Pulse(self.counts, self.scheduler.lanes)
        self.suspending = Suspending(
            Suspensions(Path(config.spool.path)), self.scheduler, self.store.envelope, self.log.say
        )
        settle = Settle(self.store, self.scheduler, self.intake, self.log, self.counts, config)
        self.relay = Relay(
            self.store,
            self.scheduler,
            self.router,
            lambda: Carrier(self.pool),
            settle,
            settings_of,
            in_hand=InHand(seat.page),
            wary=seat.wary,
        )
        users = Users(users_path(config), config.auth.iterations, self.log.say)
        self.logins = Logins(users, self.log.say, seat.ledger.failed, seat.ledger.known)
        self._notices = notices = Notices(self.store, self.intake, config)
        self.doors = Doors(self._door, lambda: self._config.server.drain_timeout)
        self.doors.swap(self.doors.prepare(seat.listeners, config.server.hostname))
        self.control = Control(
            slot.number,
            self.store,
            self.scheduler,
            eventlog=self.log,
            site_of=self._site_of,
            parts=self._parts(),
            loading=lambda: self.adoption.under_way or not self._loaded,
            notices=notices,
            look_again=self.suspending.look,
            traces=self.traces,
            pulse=self.pulse,
            explainer=Explainer(
                self.scheduler,
                self.router,
                self.store,
                seat.ledger,
                lambda: self._config,
                unconnected=self.relay.runners.unconnected,
                in_line=self.pool.in_line,
                rests=lambda address, port: dialer.health.rests_until(Place("", address, port)),
                ending=lambda: self._ending is not None,
            ),
        )
        rooms = Rooms(
            self.store,
            self.intake,
            self.scheduler,
            self.router,
            self.relay,
            dialer,
            self.log,
            self.counts,
            self.doors,
            set_settings,
            (settle, notices, self.logins),
        )
        self._renewal = Renewal(
            rooms,
            lambda: orders.receive(seat.control),
            lambda word, serial, text: orders.send(seat.control, word, serial, text),
            lambda: self._config,
            lambda: self.resolver,
            renewed=self._renewed,
            lost=self._start_over,
        )
        self._orders = tasks.DescriptorWatch(seat.control.fileno(), self._hear)

    def _door(self, listener: configuration.Listener, sock: socket.socket, hostname: str) -> Door:
        shown = certificates.of_listener(listener, self.log.say)
        return Door(
            Policy(listener, hostname),
            [sock],
            self.intake,
            self._seat.ledger,
            self.log,
            self.counts,
            tls=shown,
            balance=self._balance,
            memory=self._memory_share,
            look_up=lambda client: verified_name(self.resolver, client),
            check_helo=lambda name, client: claim(self.resolver, name, client),
            give_up=self.pool.close_idle,
            logins=self.logins,
            judge=self.jury.consider if listener.judge_received else None,
            expanded=self._notices.expanded if listener.aliases else None,
            tap=self.traces,
        )

    def _parts(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        """What `status` shows of each room."""
        return {
            "spool": self.store.statistics,
            "schedule": self.scheduler.statistics,
            "routing": self.router.statistics,
            "delivery": self.pool.statistics,
            "relay": self.relay.statistics,
            "log": self.log.statistics,
            "jury": self.jury.statistics,
            "ledger": self._seat.ledger.statistics,
            "room": self._room,
        }

    def _room(self) -> dict[str, str]:
        """Why new mail is refused, "" where it is taken."""
        try:
            self.store.check_room()
        except MachineShort as short:
            return {"refused": short.detail or short.text}
        return {"refused": ""}

    # -- the life -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """From the tail of the journal to the last sync. The exit code."""
        self.store.recover()
        self._mind_the_clock()
        self.suspending.look()
        door = ControlDoor(self.control.answer, self._runtime_dir / f"slot-{self._slot.number:03d}.sock")
        self.doors.open()
        self._seat.ready()
        tasks.spawn(self._load)
        self._ended.wait()
        assert self._ending is not None
        self._seat.page.draining()
        seconds = 0.0
        if self._ending is Ending.DRAIN:
            patience = self._config.server.drain_timeout
            seconds = max(0.0, patience - LAST_CALL - min(self.store.drain_seconds, patience / 2))
        self._drain(seconds)
        self._audit()
        door.close()
        self.store.close()
        self._exporter.flush()
        self.log.close()
        return self._code

    def _drain(self, seconds: float) -> None:
        """Doors and lanes together, then the spool."""
        self._hear()
        if self._renewal.retiring and seconds:
            self.doors.pause()
            began = clock.now()
            while self.doors.sessions and clock.now() - began < min(LINGER, seconds / 2):
                tasks.sleep(0.02)
            seconds -= clock.now() - began
        parts: list[Callable[[float], object]] = [*(door.drain for door in self.doors.all), self.relay.drain]
        left = len(parts)
        over = tasks.Event()

        def one(drain: Callable[[float], object]) -> None:
            nonlocal left
            try:
                drain(seconds)
            finally:
                left -= 1
                if not left:
                    over.set()

        for part in parts:
            tasks.spawn(one, part)
        over.wait()
        self.pool.close_idle()
        try:
            self.store.drain()
        except FastrelayError as error:
            self.log.say(
                "error",
                f"the last records of {self._slot.path} are not on disk: {error}; what became of their mail is not "
                f"known at the next start: some may go out again, and what was in memory alone is lost",
            )
            self._code = EXIT_TEMPORARY

    def _audit(self) -> None:
        """Nothing moves any more: is every open recipient accounted for?"""
        audit = self.scheduler.walk()
        self.counts.orphans = audit.orphans
        self.log.say(
            "error" if audit.orphans else "info", f"audit: {sum(audit[:-1])} places taken, {audit.orphans} orphans"
        )

    def _load(self) -> None:
        """Schedule the backlog; what was in hand at three crashes is held, loudly."""
        suspects = frozenset(self._seat.suspects)
        try:
            for entry in self.store.load():
                self.intake.recovered(entry, suspect=entry.ident in suspects)
        except Exception as error:  # a bug too: mail that nobody knows of is worse than a worker that comes again
            if not isinstance(error, FastrelayError):
                tasks.on_crash("Worker.load", error)
            self._start_over(f"cannot load the backlog of {self._slot.path}: {error}")
            return
        gc.freeze()  # a full collection over a million queued messages stops a worker for 0.3 s
        self._loaded = True

    def _start_over(self, why: str) -> None:
        """There is mail in our slot that we do not know of: nobody would ever try it. A new life reads all of it."""
        self.log.say("error", f"{why}; this worker ends, for its successor to read the slot anew")
        self._code = EXIT_TEMPORARY
        self._end(Ending.DRAIN)

    def _mind_the_clock(self) -> None:
        """A wall clock that has jumped ahead must not expire a whole spool."""
        gap = clock.wall() - self.store.newest if self.store.newest else 0.0
        if gap > LONG_AWAY:
            self.scheduler.spare_until = clock.now() + GRACE
            self.log.say(
                "warning",
                f"the newest record of {self._slot.path} is {gap / 3600:.0f} h old: nothing expires for an hour, "
                f"in case it is the clock that is wrong",
            )

    def _end(self, how: Ending) -> None:
        if self._ending is None:
            self._ending = how
            self._ended.set()
        elif how is Ending.QUICK and self._ending is Ending.DRAIN:
            self._ending = how
            self.relay.cut()
            for door in self.doors.all:
                door.cut()

    def _hear(self) -> None:
        """The master's orders. Its end is told of by the life pipe."""
        if not self._renewal.hear():
            self._orders.close()

    def _renewed(self, prepared: Prepared) -> None:
        """A reload: what rooms do not keep themselves."""
        self._config = prepared.config
        if prepared.resolver is not None:
            self._asked = self._dns()
            self.resolver = prepared.resolver

    def _dns(self) -> tuple[int, int, int, int]:
        """Questions answered since the start: hits, misses, negative, stale."""
        now, before = self.resolver, self._asked
        return (before[0] + now.hits, before[1] + now.misses, before[2] + now.negatives, before[3] + now.stales)

    # -- callbacks of the house -----------------------------------------------------------------------------------

    def _orphaned(self) -> None:
        """The master is gone. Its pipe stays readable: heard once, it is left alone."""
        self._life.close()
        self._end(Ending.QUICK)

    def _balance(self, change: int) -> bool:
        page = self._seat.page
        if change:
            self._sessions += change
            page.sessions(self._sessions)
        return page.may_accept(clock.now())

    def _is_least_loaded(self) -> bool:
        return self._sessions <= self._seat.page.least_loaded(clock.now(), self._sessions)

    def _memory_share(self) -> float:
        return self.store.statistics()["memory"] / max(self._config.limits.memory, 1)

    def _slot_freed(self) -> None:
        for key in self._seat.ledger.freed():
            if isinstance(key, LimitKey):
                self.pool.slot_freed(key)

    def _site_of(self, domain: str) -> str:
        route = self.router.route_cached(domain, clock.now())
        return route.site if isinstance(route, Route) else ""

    def _crashed(self, name: str, error: BaseException) -> None:
        """A task ended with an error: a bug of ours, told whole on stderr and in one line of the log."""
        self.log.say("error", f"task {name} ended with {type(error).__name__}: {error}; please report it")
        text = "".join(traceback.format_exception(error))
        os.write(2, text.encode("utf-8", "replace")[:16_384])

    # -- time -----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = clock.now()
        counts = self.counts
        counts.loop_lag_seconds.observe(max(0.0, now - self._beaten - BEAT))
        self._beaten = now
        self._seat.page.beat(now, counts.received + self.store.progress)
        self._seat.page.load(counts.out_active)
        self.scheduler.tick(now)
        self.relay.tick(now)
        self.pool.tick(now)
        self.store.tick()
        if now - self._told_at >= TELL_EVERY:
            self._tell_of_room(now)
        self.doors.tick()
        counts.queue_messages = len(self.store)
        oldest = self.store.page(None, 1)
        counts.queue_oldest_seconds = max(0.0, clock.wall() - born(oldest[0])) if oldest else 0.0
        counts.orphans = self.scheduler.audit().orphans
        counts.tasks = tasks.running()
        counts.dns_hit, counts.dns_miss, counts.dns_negative, counts.dns_stale = self._dns()
        self._exporter.flush()
        self.suspending.look()
        self.traces.tick(now)
        self.pulse.tick(clock.wall())
        if self._loaded and self._ending is None:
            self.adoption.look(now)

    def _tell_of_room(self, now: float) -> None:
        """Whoever looks at stderr learns that new mail is refused for want of room, why, and when it is over."""
        try:
            self.store.check_room()
        except MachineShort as short:
            if not self._refusing:
                self._refusing, self._told_at = True, now
                riding = self.store.statistics()["riding"]
                self.log.say(
                    "error",
                    f"new mail is refused with 452: {short.detail or short.text}; make room in {self._slot.path}, or "
                    f"wait until mail has gone out"
                    + (
                        f"; {riding} records are in memory alone: a restart now would send mail again" if riding else ""
                    ),
                )
        else:
            if self._refusing:
                self._refusing, self._told_at = False, now
                self.log.say("info", "new mail is taken again")


def _settings(
    config: configuration.Config,
) -> tuple[Callable[[str], configuration.Delivery], Callable[[configuration.Config], None]]:
    """Delivery settings in force by site name, one look-up, asked at every lease; and how others come into force."""
    rows: dict[str, configuration.Delivery] = {}
    default = config.delivery

    def settings_of(site: str) -> configuration.Delivery:
        return rows.get(site, default)

    def put(config: configuration.Config) -> None:
        nonlocal rows, default
        rows, default = {row.name: row.delivery for row in config.sites}, config.delivery

    put(config)
    return settings_of, put
