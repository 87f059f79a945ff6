"""The master: binds, forks, watches, replaces, and ends the house. No event loop, no thread, no octet of a peer.

Promises: signal handlers only queue; everything happens in one loop, wait -> handle -> reap -> manage. What to do with
a child is decided in children.py and done in staff.py. No hub of gevent and no second thread ever exist here, so a fork
copies nothing that runs. It keeps the uid it was started with.

If no worker ever becomes ready, the house ends with the error of the first that failed. Later a post backs off from 1 s
to 60 s while the others go on. Signals: TERM drains, bounded by server.drain_timeout; INT and QUIT, or a second TERM,
stop quickly; TTIN and TTOU add and end a worker; USR1 goes to the children (reopen logs); HUP reloads and USR2
upgrades (changes.py).
"""

import contextlib
import gc
import math
import os
import select
import signal
import time
from typing import Final

from fastrelay.config import Config
from fastrelay.process import cpus, sockets
from fastrelay.process.admin_sockets import AdminSockets
from fastrelay.process.announce import announce
from fastrelay.process.changes import Changes, Reread
from fastrelay.process.children import Child, Kind, Phase, Post, drain, next_step, quit_now
from fastrelay.process.crashes import Crashes
from fastrelay.process.heartbeat import Row
from fastrelay.process.notify import Notifier
from fastrelay.process.premises import Premises
from fastrelay.process.privileges import raise_descriptor_limit
from fastrelay.process.spawn import EXIT_OK, EXIT_SOFTWARE, HANDLED, ending
from fastrelay.process.staff import Run, Staff
from fastrelay.process.upgrade import PATIENCE

LOOK: Final = 1.0  # seconds between two looks at the page when nothing happens
GAP: Final = 5.0  # a turn that comes so late means that we slept too: old beats prove nothing then


class Master:
    """One house. `run` returns the exit code."""

    def __init__(
        self,
        config: Config,
        premises: Premises,
        run_worker: Run,
        run_admin: Run | None = None,
        *,
        reread: Reread | None = None,
        upgrade_patience: float = PATIENCE,
    ) -> None:
        self._premises = premises
        self._notifier = Notifier(os.environ)
        self._look = min(LOOK, self._notifier.watchdog_interval or LOOK)
        self._wake, self._wake_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        runs: dict[Kind, Run] = {Kind.WORKER: run_worker}
        if run_admin is not None:
            runs[Kind.ADMIN] = run_admin
        handed = premises.handover
        workers = cpus.workers(config.server.workers)
        self._staff = Staff(config, premises.identity, runs, workers, self._own_fds, handed)
        self._crashes = Crashes(() if handed is None else handed.suspects)
        self._changes = Changes(
            self._staff,
            premises,
            self._notifier,
            reread=reread,
            suspects=lambda: self._crashes.suspects,
            patience=upgrade_patience,
        )
        self._stopping: Phase | None = None
        self._ever_ready = False
        self._exit: int = EXIT_OK
        self._last_turn = self._awake_since = time.monotonic()

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Until the last child has ended. ConfigError or MachineShort when it cannot even begin."""
        raise_descriptor_limit()
        try:
            self._open_sockets(time.monotonic())
            self._staff.poll.register(self._wake, select.POLLIN)
            signal.set_wakeup_fd(self._wake_end, warn_on_full_buffer=False)
            for handled in HANDLED:
                signal.signal(handled, _queued)
            gc.collect()
            gc.freeze()  # what is there now is shared with every child; collecting it would copy each page it stands on
            while self._manage(time.monotonic()):
                for number in self._wait(time.monotonic()):
                    self._handle(number, time.monotonic())
                self._reap(time.monotonic())
            return self._exit
        finally:
            self._close()

    def _own_fds(self) -> list[int]:
        """Closed in every child."""
        return [self._wake, self._wake_end, *self._notifier.fds, *self._changes.fds]

    def _open_sockets(self, now: float) -> None:
        staff, identity, handed = self._staff, self._premises.identity, self._premises.handover
        passed = sockets.Passed(os.environ) if handed is None else sockets.Passed({}, handed.sockets, handed.files)
        try:
            staff.listeners = sockets.open_all(staff.addresses, identity, passed)
            self._changes.files = [address for address in staff.addresses if passed.ours(address)]
            if staff.has_admin:
                staff.admin_sockets = AdminSockets(staff.config, identity, passed, announce, now)
            self._changes.open(passed)
        finally:
            passed.close_rest(announce)

    def _wait(self, now: float) -> bytes:
        """Until a signal, a word from a child, or the next moment something is due. The signals that came."""
        timeout = min(self._look, self._changes.deadline - now)
        for post in self._staff.posts:
            if post.child is not None:
                timeout = min(timeout, post.child.deadline - now)
            elif self._stopping is None:
                timeout = min(timeout, post.not_before - now)
        queued = b""
        for fd, _ in self._staff.poll.poll(max(0, math.ceil(timeout * 1000))):
            if fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    queued = os.read(self._wake, 4096)
            elif not self._changes.hear(fd, now):
                heard = self._staff.hear(fd)
                if heard is not None:
                    self._changes.answered(*heard)
        return queued

    def _handle(self, number: int, now: float) -> None:
        match number:
            case signal.SIGTERM:
                self._stop(Phase.QUITTING if self._stopping else Phase.DRAINING, now)
            case signal.SIGINT | signal.SIGQUIT:
                self._stop(Phase.QUITTING, now)
            case signal.SIGTTIN:
                self._add_worker()
            case signal.SIGTTOU:
                self._end_worker(now)
            case signal.SIGUSR1:
                for child in self._staff.children:
                    self._staff.send(child, signal.SIGUSR1)
            case signal.SIGHUP:
                self._changes.want_reload()
            case signal.SIGUSR2:
                self._changes.want_upgrade()

    # -- reaping --------------------------------------------------------------------------------------------------

    def _reap(self, now: float) -> None:
        while (ended := self._staff.reap()) is not None:
            post, code = ended
            child = post.child
            assert child is not None
            row = self._staff.clear(post)
            if not child.asked and self._stopping is None:
                self._mourn(post, child, row, code, now)
            elif code not in (EXIT_OK, -signal.SIGINT, -signal.SIGTERM):
                announce(f"{post.name} (process {child.pid}) {ending(code)} while stopping")
                if code > 0 and self._stopping is not None:  # not as promised: whoever stops us must hear of it
                    self._exit = self._exit or code
            post.child = None
            if not post.wanted:
                self._staff.posts.remove(post)

    def _mourn(self, post: Post, child: Child, row: Row | None, code: int, now: float) -> None:
        """The child ended unasked: say so, note what it had in hand, decide when the next may start."""
        where = "" if row is None or post.kind is Kind.ADMIN else f", slot {row.slot}"
        told = f"{post.name} (process {child.pid}{where}) {ending(code)}"
        pause = post.vacated(now)
        if post.kind is Kind.WORKER:
            self._staff.page.count_restart()
            if row is not None and code:
                for ident in self._crashes.note(row.idents, row.alone):
                    announce(f"message {ident.hex()} was in hand at three crashes: it will be held")
            if not self._ever_ready:
                post.not_before = math.inf  # until a sibling shows that it can work at all
                self._exit = self._exit or (code if code > 0 else EXIT_SOFTWARE)
                announce(told)
                return
        told += f"; replaced {f'in {pause:g} s' if pause else 'at once'}"
        if code == -signal.SIGKILL and child.phase is not Phase.KILLED:
            told += "; not by us: see the kernel's log, memory may have run out"
        announce(told)

    # -- managing -------------------------------------------------------------------------------------------------

    def _manage(self, now: float) -> bool:
        """Watch every child and fill empty posts. False when the house is empty and done."""
        if now - self._last_turn > GAP:
            self._awake_since = now
        self._last_turn = now
        staff = self._staff
        for post in staff.posts:
            if post.child is not None:
                self._watch(post, post.child, now)
        if self._stopping is None:
            self._changes.look(now)
            if self._changes.stop_wanted:
                self._stop(Phase.DRAINING, now)
        if self._stopping is None:
            if self._exit and not self._ever_ready and not any(post.child for post in staff.workers):
                announce("no worker became ready: giving up")
                self._stop(Phase.QUITTING, now)
            else:
                self._look_for_admin_address(now)
                self._fill(now)
        if self._is_leaving and not any(post.child for post in staff.workers):
            if not staff.children:
                return False
            for child in staff.children:  # the admin child last: the drain stays visible to the end
                staff.apply(child, quit_now(child, now))
        if self._notifier.watchdog_interval:
            self._notifier.alive()
        if self._changes.news and self._changes.in_charge and self._stopping is None:
            self._tell_ready()
        return True

    def _watch(self, post: Post, child: Child, now: float) -> None:
        row = self._staff.row(child)
        hang_timeout = self._staff.config.server.hang_timeout
        if post.kind is Kind.ADMIN and row is None:
            hang_timeout = math.inf  # an admin child that never claimed its row cannot be missed
        step = next_step(child, row, now, hang_timeout, self._awake_since)
        if step is None:
            return
        if step.phase is Phase.READY:
            child.ready_since = now
            if post.kind is Kind.WORKER:
                self._prove_ready(now)
        elif step.phase is Phase.ABORTED:
            announce(
                f"{post.name} (process {child.pid}) has not beaten for {hang_timeout:g} s: ending it, stacks follow"
            )
        elif step.phase is Phase.KILLED:
            announce(f"{post.name} (process {child.pid}) does not end: killing it")
        self._staff.apply(child, step)

    def _prove_ready(self, now: float) -> None:
        """A worker became ready: if it is the first ever, those that failed before it get another chance."""
        if not self._ever_ready:
            self._ever_ready, self._exit = True, EXIT_OK
            for post in self._staff.workers:
                if post.not_before == math.inf:
                    post.not_before = now + 1.0

    def _fill(self, now: float) -> None:
        for post in self._staff.posts:
            if post.child is None and post.not_before <= now:
                try:
                    self._staff.start(post, now, self._crashes.suspects, self._crashes.wary)
                except OSError as error:
                    announce(f"cannot start {post.name}: {error.strerror}; trying again in {post.vacated(now):g} s")

    def _look_for_admin_address(self, now: float) -> None:
        """Where it was taken and is free again, the admin child makes way for one that has it."""
        staff = self._staff
        if staff.admin_sockets is not None and staff.admin_sockets.look(now):
            staff.replace_admin(now)

    def _tell_ready(self) -> None:
        """Once, when every worker there is accepts; one that already failed is not waited for."""
        living = [post.child for post in self._staff.workers if post.child is not None and post.wanted]
        if living and all(child.phase is Phase.READY for child in living):
            self._changes.news = False
            where = ", ".join(sockets.name_of(sock) for sock in self._staff.listeners)
            text = f"{len(living)} worker{'s' if len(living) > 1 else ''} on {where or 'no listener'}"
            if self._staff.admin_sockets is not None and self._staff.admin_sockets.name:
                text += f"; admin on {self._staff.admin_sockets.name}"
            announce(f"ready: {text}; spool {self._premises.spool}")
            self._notifier.ready(text)

    # -- more and less --------------------------------------------------------------------------------------------

    @property
    def _is_leaving(self) -> bool:
        return self._stopping is not None or self._changes.handed

    def _add_worker(self) -> None:
        workers = self._staff.workers
        if self._is_leaving or len(workers) >= self._staff.page.slots:
            announce(f"no worker added: {len(workers)} of at most {self._staff.page.slots} are there")
            return
        self._staff.add_posts(1, admin=False)
        announce(f"one worker more: {sum(post.wanted for post in self._staff.workers)}")

    def _end_worker(self, now: float) -> None:
        wanted = [post for post in self._staff.workers if post.wanted]
        if self._is_leaving or len(wanted) < 2:
            announce("no worker ended: the last one stays")
            return
        self._staff.retire(max(wanted, key=lambda one: one.number), now)
        announce(f"one worker less: {len(wanted) - 1}")

    # -- the end --------------------------------------------------------------------------------------------------

    def _stop(self, how: Phase, now: float) -> None:
        """how: DRAINING or QUITTING. New connections are refused from here on."""
        timeout = self._staff.config.server.drain_timeout
        if self._stopping is None:
            if self._changes.in_charge:
                self._notifier.stopping()
            self._changes.stopping()
        if self._stopping is not how:
            announce(f"draining, up to {timeout:g} s" if how is Phase.DRAINING else "stopping now")
        self._stopping = how
        self._staff.refuse_connections()
        for post in self._staff.workers:
            if post.child is not None:
                step = drain(post.child, now, timeout) if how is Phase.DRAINING else quit_now(post.child, now)
                self._staff.apply(post.child, step)

    def _close(self) -> None:
        for (
            number
        ) in HANDLED:  # ignored rather than reset: a second TERM now changes nothing, least of all our exit code
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        self._staff.close(handed=not self._changes.in_charge)
        self._changes.close()
        for fd in (self._wake, self._wake_end):
            os.close(fd)
        self._notifier.close()
        if self._stopping is not None and self._exit == EXIT_OK:
            announce("stopped")


def _queued(number: int, frame: object) -> None:
    """The number already stands in the wake-up pipe, put there by the interpreter; `_handle` acts on it."""
