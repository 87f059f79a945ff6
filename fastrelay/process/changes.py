"""What changes a house while it stands: reload, upgrade from either side, the hatch that asks for them.

The master calls `look` at each turn of its loop, `hear` for each descriptor that is ours, `answered` for each word of a
worker. One change at a time: a reload asked for while something is under way comes after it, once, however often it was
asked for.

in_charge: this process is the master of the house. An old master gives that away (upgrade.py) and a new one gets it, by
the old one's word or by its end.
"""

import contextlib
import math
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from fastrelay.config import Config
from fastrelay.errors import FastrelayError, MachineShort, MisuseError
from fastrelay.process import cpus, hatch, orders, sockets, upgrade
from fastrelay.process.announce import announce, reason
from fastrelay.process.children import Child, Kind, Phase
from fastrelay.process.handover import Handover, Link
from fastrelay.process.hatch import Hatch
from fastrelay.process.notify import Notifier
from fastrelay.process.premises import Premises
from fastrelay.process.reload import Reload
from fastrelay.process.spawn import EXIT_OK, EXIT_SOFTWARE, EXIT_TEMPORARY, ending, exit_code
from fastrelay.process.staff import Staff
from fastrelay.process.upgrade import Upgrade

Reread = Callable[[], Config]

AGAIN: Final = 10.0  # seconds between two attempts to make runtime_dir again


class Changes:
    """One per master. reread: the configuration as it is now, checked; None where there is nothing to read again.
    suspects(): idents to hold. patience: seconds until a new program must be ready."""

    def __init__(
        self,
        staff: Staff,
        premises: Premises,
        notifier: Notifier,
        *,
        reread: Reread | None,
        suspects: Callable[[], tuple[bytes, ...]],
        patience: float,
    ) -> None:
        self._staff = staff
        self._premises = premises
        self._notifier = notifier
        self._reread = reread
        self._patience = patience
        self._serial = 0
        self._reload: Reload | None = None
        self._reload_wanted = False
        self._upgrade: Upgrade | None = None
        self._upgrade_wanted = False
        self._hatch: Hatch | None = None
        self._hatch_socket: socket.socket | None = None
        handed = premises.handover
        self._link = None if handed is None else Link(socket.socket(fileno=handed.link))
        self._predecessor = 0 if handed is None else handed.master
        self._strangers = False  # children of another master may have left rows
        self._said_ready = False
        self._restore_at = 0.0
        self._suspects = suspects
        self.news = True  # the house has a master who has not told so yet
        self.stop_wanted = False  # the master after us is told to stop
        self.files: list[str] = []  # addresses of listeners whose socket files are ours to remove

    # -- the beginning and the end --------------------------------------------------------------------------------

    def open(self, passed: sockets.Passed) -> None:
        """The hatch, and the link to a master before us. MachineShort or ConfigError as any listener."""
        address = f"unix:{hatch.path_of(self._staff.config)}"
        self._hatch_socket = passed.take(address) or hatch.listen(self._staff.config)
        if self.in_charge:
            self._open_hatch()
        if self._link is not None:
            self._staff.poll.register(self._link.fileno(), select.POLLIN)

    def _open_hatch(self) -> None:
        assert self._hatch_socket is not None
        self._hatch = Hatch(self._hatch_socket, self._staff.poll, select.POLLIN)

    @property
    def fds(self) -> list[int]:
        """No child's business."""
        found = [] if self._hatch_socket is None else [self._hatch_socket.fileno()]
        if self._hatch is not None:
            found = self._hatch.fds
        links = (self._link, None if self._upgrade is None else self._upgrade.link)
        return [*found, *(link.fileno() for link in links if link is not None)]

    @property
    def in_charge(self) -> bool:
        """This process is the master of the house: the premises are its own."""
        return not self._premises.handed

    @property
    def handed(self) -> bool:
        """The house was ours, and is another master's now."""
        return self._upgrade is not None and self._upgrade.phase is upgrade.Phase.HANDED

    @property
    def deadline(self) -> float:
        """When `look` has something to do at the latest."""
        times = [one.deadline for one in (self._reload, self._upgrade) if one is not None]
        return min(times, default=float("inf"))

    def stopping(self) -> None:
        """The house ends: nothing is changed any more."""
        if self._link is not None and self.in_charge:
            self._link.say("stop")
        self._reload_wanted = self._upgrade_wanted = False
        if self._reload is not None:
            self._reload.drop()
            self._reload = None
        if self._upgrade is not None and self._upgrade.phase is upgrade.Phase.STARTING:
            self._fail_upgrade("the house is told to stop")
        self._answer("reload", EXIT_TEMPORARY, ["the relay is stopping"])
        self._answer("upgrade", EXIT_TEMPORARY, ["the relay is stopping"])

    def close(self) -> None:
        """After the last child. The files of our sockets go with a house, not with a master that handed it over. A link
        stays open: its end tells the other master that this process is gone."""
        if self._hatch is not None:
            self._hatch.close()
        elif self._hatch_socket is not None:
            self._hatch_socket.close()
        if self.in_charge:
            sockets.remove_files([f"unix:{hatch.path_of(self._staff.config)}", *self.files])

    # -- what is heard --------------------------------------------------------------------------------------------

    def hear(self, fd: int, now: float) -> bool:
        """A descriptor became readable. True: it was one of ours."""
        if self._hatch is not None and self._hatch.owns(fd):
            word = self._hatch.hear(fd)
            if word == "reload":
                self._reload_wanted = True
            elif word == "upgrade":
                self._upgrade_wanted = True
            return True
        if self._upgrade is not None and fd == self._upgrade.link.fileno():
            self._hear_successor(self._upgrade, now)
            return True
        if self._link is not None and fd == self._link.fileno():
            self._hear_predecessor(self._link)
            return True
        return False

    def answered(self, child: Child, order: orders.Order) -> None:
        """A worker's word."""
        if self._reload is not None:
            self._reload.answered(child, order)

    def want_reload(self) -> None:
        """HUP."""
        self._reload_wanted = True

    def want_upgrade(self) -> None:
        """USR2."""
        self._upgrade_wanted = True

    def look(self, now: float) -> None:
        """At each turn: what is under way goes on, what is wanted begins."""
        if self._reload is not None:
            verdict = self._reload.look(now)
            if verdict is not None:
                self._reload = None
                self._told("reload", verdict.code, verdict.lines)
        elif self._upgrade is not None:
            self._mind_upgrade(self._upgrade, now)
        elif not self.in_charge:
            self._tell_ready()
        elif self._reload_wanted:
            self._begin_reload(now)
        elif self._upgrade_wanted:
            self._begin_upgrade(now)
        if self._strangers:
            self._strangers = self._staff.bury()
        if self.in_charge and now >= self._restore_at and not self._premises.is_there:
            self._restore(now)

    def _restore(self, now: float) -> None:
        """Somebody removed runtime_dir. Sockets and the metrics' files cannot be put back, so whoever has some there is
        replaced in order; connections wait meanwhile."""
        staff, path = self._staff, self._premises.runtime_dir
        try:
            self._premises.restore()
            if self._hatch is not None:
                self._hatch.close()
            self._hatch_socket = hatch.listen(staff.config)
            self._open_hatch()
            if staff.admin_sockets is not None:
                staff.admin_sockets.restore()
        except (FastrelayError, OSError) as error:
            if not self._restore_at:
                announce(f"{path} is gone and cannot be made again: {reason(error)}; trying again every {AGAIN:g} s")
            self._restore_at = now + AGAIN
            return
        self._restore_at = 0.0
        announce(f"{path} was removed: made again, and every worker is replaced, in order; counters begin at zero")
        wanted = [post for post in staff.workers if post.wanted]
        for post in wanted:
            staff.retire(post, now)
        staff.add_posts(len(wanted), admin=False)
        staff.replace_admin(now)

    def _answer(self, word: str, code: int, lines: Sequence[str]) -> None:
        if self._hatch is not None:
            hatch.answer(self._hatch.take(word), code, lines)

    def _told(self, word: str, code: int, lines: Sequence[str]) -> None:
        for line in lines:
            announce(line if code == EXIT_OK else f"{word} refused: {line}")
        self._answer(word, code, lines)

    # -- reload ---------------------------------------------------------------------------------------------------

    def _begin_reload(self, now: float) -> None:
        self._reload_wanted = False
        self._serial += 1
        try:
            if self._reread is None:
                raise MisuseError("there is no configuration to read again")
            self._reload = Reload(self._serial, self._reread(), self._staff, now, self._apply)
        except FastrelayError as error:
            self._told("reload", exit_code(error), str(error).splitlines())
        except Exception as error:  # a bug of ours, or a program half replaced: no reason to end a house that serves
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            self._told("reload", EXIT_SOFTWARE, [f"internal error, please report it: {why}"])
        else:
            self._reload.look(now)

    def _apply(self, reload: Reload, now: float) -> None:
        """The swap, as far as the master goes."""
        staff, config = self._staff, reload.config
        for note in config.notes:
            announce(note)
        before, after = set(staff.addresses), {sockets.canonical(one.address) for one in config.listeners}
        sockets.close_all([sock for sock in staff.listeners if sock not in reload.listeners])
        sockets.remove_files(address for address in self.files if address not in after)
        self.files = [address for address in self.files if address in after] + sorted(after - before)
        staff.config, staff.listeners = config, reload.listeners
        staff.set_workers(cpus.workers(config.server.workers), now)
        if staff.admin_sockets is not None:
            staff.admin_sockets.renew(config, now)
        staff.replace_admin(now)

    # -- upgrade, the old master's side ---------------------------------------------------------------------------

    def _begin_upgrade(self, now: float) -> None:
        self._upgrade_wanted = False
        staff = self._staff
        try:
            upgrade.may_begin(os.getpid())
            if self._link is not None:
                raise MachineShort(f"process {self._predecessor} of the last upgrade is still draining; try again")
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, contextlib.ExitStack() as failing:
                failing.callback(ours.close)
                self._upgrade = Upgrade(self._handover(theirs), ours, self._notifier.environment, now, self._patience)
                failing.pop_all()
        except FastrelayError as error:
            self._told("upgrade", exit_code(error), [f"{error}: nothing was changed"])
            return
        except OSError as error:
            self._told("upgrade", EXIT_TEMPORARY, [f"cannot make a link: {error.strerror}: nothing was changed"])
            return
        staff.successor, staff.successor_ended = self._upgrade.pid, 0
        staff.poll.register(self._upgrade.link.fileno(), select.POLLIN)
        announce(f"upgrade: process {self._upgrade.pid} starts, {self._patience:g} s to be ready")

    def _handover(self, theirs: socket.socket) -> Handover:
        staff, premises, admin = self._staff, self._premises, self._staff.admin_sockets
        door = f"unix:{hatch.path_of(staff.config)}"
        assert self._hatch_socket is not None
        listening = {
            **{address: sock.fileno() for address, sock in zip(staff.addresses, staff.listeners, strict=True)},
            **({} if admin is None else admin.handed),
            door: self._hatch_socket.fileno(),
        }
        return Handover(
            master=os.getpid(),
            spool=os.path.abspath(premises.spool),
            runtime_dir=os.path.abspath(premises.runtime_dir),
            locks=premises.lock_fds,
            page=staff.page.fd,
            ledger=staff.ledger.fd,
            eventfds=staff.ledger.eventfds,
            sockets=listening,
            files=(door, *self.files, *([] if admin is None else admin.files)),
            link=theirs.fileno(),
            suspects=self._suspects(),
        )

    def _mind_upgrade(self, under_way: Upgrade, now: float) -> None:
        if under_way.phase is upgrade.Phase.STARTING and now >= under_way.deadline:
            self._fail_upgrade(f"process {under_way.pid} was not ready after {self._patience:g} s and was ended")

    def _hear_successor(self, under_way: Upgrade, now: float) -> None:
        word = under_way.link.heard()
        if word == "ready" and under_way.phase is upgrade.Phase.STARTING:
            self._hand_over(under_way, now)
        elif word == "stop":
            self.stop_wanted = True
        elif word is None and under_way.phase is upgrade.Phase.STARTING:
            self._fail_upgrade(f"process {under_way.pid} {self._end_of_successor()} before it was ready")
        elif word is None and self.stop_wanted:
            self._drop_upgrade(under_way)
        elif word is None:
            self._take_back(under_way)

    def _end_of_successor(self) -> str:
        """How it ended; it is gone, or about to be."""
        staff = self._staff
        if staff.successor:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):  # reaped before, and its end is known
                staff.successor_ended = upgrade.end(staff.successor)
            staff.successor = 0
        return ending(staff.successor_ended)

    def _fail_upgrade(self, why: str) -> None:
        under_way = self._upgrade
        assert under_way is not None
        with contextlib.suppress(ProcessLookupError):
            under_way.kill()
        self._end_of_successor()
        self._drop_upgrade(under_way)
        self._told("upgrade", EXIT_TEMPORARY, [f"{why}: nothing was changed"])

    def _drop_upgrade(self, under_way: Upgrade) -> None:
        self._staff.poll.unregister(under_way.link.fileno())
        under_way.link.close()
        self._upgrade = None
        self._strangers = True

    def _hand_over(self, under_way: Upgrade, now: float) -> None:
        staff = self._staff
        patience = staff.config.server.drain_timeout
        under_way.phase, under_way.deadline = upgrade.Phase.HANDED, math.inf
        line = f"process {under_way.pid} has taken over; process {os.getpid()} drains, up to {patience:g} s"
        self._told("upgrade", EXIT_OK, [line])
        if self._hatch is not None:
            self._hatch.release()
            self._hatch = None
        self._notifier.main_pid(under_way.pid)
        self._premises.handed = True
        under_way.link.say("yours")
        for post in list(staff.posts):
            if post.kind is Kind.WORKER:
                staff.retire(post, now)
        staff.replace_admin(now, again=False)

    def _take_back(self, under_way: Upgrade) -> None:
        """The new master is gone, and we are still here."""
        announce(f"upgrade: process {under_way.pid} {self._end_of_successor()}; process {os.getpid()} serves again")
        self._drop_upgrade(under_way)
        self._staff.add_posts(cpus.workers(self._staff.config.server.workers), admin=True)
        self._take_charge()
        self._notifier.main_pid(os.getpid())

    # -- upgrade, the new master's side ---------------------------------------------------------------------------

    def _tell_ready(self) -> None:
        workers = self._staff.workers
        ready = all(post.child is not None and post.child.phase is Phase.READY for post in workers)
        if ready and not self._said_ready and self._link is not None:
            self._said_ready = True
            self._link.say("ready")

    def _hear_predecessor(self, link: Link) -> None:
        word = link.heard()
        if word is None:
            self._staff.poll.unregister(link.fileno())
            link.close()
            self._link = None
            self._strangers = True
        if not self.in_charge and (word == "yours" or word is None):
            how = "took over from" if word else "takes the place of"
            announce(f"upgrade: process {os.getpid()} {how} process {self._predecessor}")
            self._staff.add_posts(0, admin=True)
            self._take_charge()

    def _take_charge(self) -> None:
        self.news = True
        self._premises.take_charge()
        self._open_hatch()
