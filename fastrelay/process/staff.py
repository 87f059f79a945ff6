"""Posts and their children in deed: fork into a seat, send signals, reap and undo what the dead left.

Decisions are children.py's and master.py's. The shared page and ledger are made here, before the first fork, and only
here is a dead worker's column cleared: after reaping, before its post is filled again.
"""

import contextlib
import itertools
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from fastrelay import metrics
from fastrelay.config import Config
from fastrelay.process import orders, sockets
from fastrelay.process.admin_sockets import AdminSockets
from fastrelay.process.children import LIVE, Child, Kind, Post, Step, drain, quit_now
from fastrelay.process.handover import Handover
from fastrelay.process.heartbeat import Page, Row
from fastrelay.process.ledger import Ledger
from fastrelay.process.privileges import Identity
from fastrelay.process.rows import COLUMNS
from fastrelay.process.seat import Seat
from fastrelay.process.spawn import spawn

_DEAD: Final = ("Z", "X")  # /proc/PID/stat: a zombie only waits for its parent
Run: TypeAlias = Callable[[Seat], int]

SPARE_SLOTS: Final = 8  # slots beyond two per worker (an upgrade doubles them): room for TTIN and stragglers


class Staff:
    """All posts of the house. `poll` hears the children's control sockets; the master adds its own descriptors.

    own_fds(): closed in every child. handover: page and ledger are another master's, and ours too from now on.
    """

    def __init__(
        self,
        config: Config,
        identity: Identity,
        runs: dict[Kind, Run],
        workers: int,
        own_fds: Callable[[], Sequence[int]],
        handover: Handover | None = None,
    ) -> None:
        self.config = config  # in force
        self.identity = identity
        self._runs = runs
        self._own_fds = own_fds
        self._life, self._life_end = os.pipe2(os.O_CLOEXEC)
        if handover is None:
            self.page = Page.create(min(COLUMNS, 2 * workers + SPARE_SLOTS))
            self.ledger = Ledger.create(self.page.slots)
        else:
            self.page = Page(handover.page)
            self.ledger = Ledger(handover.ledger, handover.eventfds)
        self.poll = select.poll()
        self.listeners: list[socket.socket] = []
        self.admin_sockets: AdminSockets | None = None
        self.successor = 0  # the master of an upgrade
        self.successor_ended = 0
        self.posts: list[Post] = []
        self.add_posts(workers, admin=handover is None)

    @property
    def has_admin(self) -> bool:
        """There is an admin child to run."""
        return Kind.ADMIN in self._runs

    def add_posts(self, workers: int, *, admin: bool) -> None:
        """Empty ones, for so many workers more, and for the admin child where there is one."""
        taken = {post.number for post in self.workers}
        free = (number for number in itertools.count() if number not in taken)
        self.posts += [Post(Kind.WORKER, number) for number in itertools.islice(free, max(workers, 0))]
        if admin and self.has_admin:
            self.posts.append(Post(Kind.ADMIN, 0))

    def set_workers(self, count: int, now: float) -> None:
        """So many workers from now on: posts are added, or the highest end in order."""
        wanted = sorted((post for post in self.workers if post.wanted), key=lambda post: post.number)
        for post in wanted[count:]:
            self.retire(post, now)
        self.add_posts(count - len(wanted), admin=False)

    def replace_admin(self, now: float, *, again: bool = True) -> None:
        """The admin child makes way for one that knows more, or for another master's; callers wait meanwhile."""
        for post in [one for one in self.posts if one.kind is Kind.ADMIN]:
            post.wanted = again
            if post.child is not None:
                self.apply(post.child, quit_now(post.child, now))
            elif not again:
                self.posts.remove(post)

    def retire(self, post: Post, now: float) -> None:
        """End the child of a post for good, in order, while others go on; the post goes with it."""
        post.wanted = False
        if post.child is None:
            self.posts.remove(post)
            return
        with contextlib.suppress(OSError):  # TERM alone will do
            orders.send(post.child.control, "retire")
        self.apply(post.child, drain(post.child, now, self.config.server.drain_timeout))

    def bury(self) -> bool:
        """Undo what dead processes of another master left, which is dead too. False: none of them is left, alive or
        not."""
        own = {child.pid for child in self.children}
        left = False
        for slot in range(self.page.slots + 1):
            pid = self.page.pid_of(slot)
            if not pid or pid in own:
                continue
            if not _is_dead(pid):
                left = True
            elif slot == self.page.admin:
                self.page.wipe(slot)
            else:
                self._clear_slot(slot)
        return left

    @property
    def workers(self) -> list[Post]:
        """The posts of workers, those that are to end included."""
        return [post for post in self.posts if post.kind is Kind.WORKER]

    @property
    def living_workers(self) -> list[Child]:
        """Workers that nobody has asked to end."""
        return [post.child for post in self.workers if post.child is not None and post.child.phase in LIVE]

    @property
    def addresses(self) -> list[str]:
        """Of the listeners as configured, in the order of `listeners`."""
        return [sockets.canonical(listener.address) for listener in self.config.listeners]

    @property
    def children(self) -> list[Child]:
        """Every child that is not reaped."""
        return [post.child for post in self.posts if post.child is not None]

    def start(self, post: Post, now: float, suspects: tuple[bytes, ...], wary: tuple[bytes, ...]) -> None:
        """Fork a child into `post`. OSError when the machine cannot."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        is_worker = post.kind is Kind.WORKER
        listeners = list(zip(self.config.listeners, self.listeners, strict=True)) if is_worker else []
        seat = Seat(self.config, post.number, listeners, self.page, self.ledger, self._life, theirs, suspects)
        seat.wary = wary
        admin = self.admin_sockets
        if admin is not None and not is_worker:
            seat.api, seat.http = admin.api, admin.http
        run = self._runs[post.kind]

        def enter() -> None:
            """What belongs to the master or to a sibling is closed; the locks of the premises stay open on purpose."""
            for sibling in self.children:
                sibling.control.close()
            ours.close()
            for fd in (self._life_end, *self._own_fds()):
                os.close(fd)
            if not is_worker:
                sockets.close_all(self.listeners)
            elif admin is not None:
                sockets.close_all(admin.all)

        try:
            pid = spawn(self.identity, enter, lambda: run(seat))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        post.child = Child(pid, now, ours)
        self.poll.register(ours, select.POLLIN)

    def hear(self, fd: int) -> tuple[Child, orders.Order] | None:
        """What a child says. "ready" only means: look at the page now. Its silence for good is for `reap`."""
        child = next((one for one in self.children if one.control.fileno() == fd), None)
        if child is None:
            return None
        try:
            order = orders.receive(child.control)
        except BlockingIOError:
            return None
        except OSError:
            order = None
        if order is None:
            self.poll.unregister(fd)
            return None
        return child, order

    def reap(self) -> tuple[Post, int] | None:
        """A post whose child has ended, and how: an exit code, or minus the signal that killed it. None: no more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            for post in self.posts:
                if post.child is not None and post.child.pid == pid:
                    return post, os.waitstatus_to_exitcode(status)
            if pid == self.successor:
                self.successor_ended = os.waitstatus_to_exitcode(status)
            # else a stranger: as pid 1 of a container orphans are ours to bury

    def clear(self, post: Post) -> Row | None:
        """Undo what the ended child of `post` left in shared memory. Returns its last words, None if it had no row."""
        child = post.child
        assert child is not None
        with contextlib.suppress(KeyError):  # it had hung up before
            self.poll.unregister(child.control)
        child.control.close()
        row = self.row(child)
        if row is not None:
            if post.kind is Kind.WORKER:
                self._clear_slot(row.slot, for_good=not post.wanted)
            else:
                self.page.wipe(row.slot)
        return row

    def _clear_slot(self, slot: int, *, for_good: bool = False) -> None:
        self.ledger.clear_column(slot)
        metrics.forget_gauges(slot)
        (self.page.leave if for_good else self.page.wipe)(slot)  # last: from here on a successor may claim the slot

    def row(self, child: Child) -> Row | None:
        """What the child says of itself, None before it claimed a row."""
        slot = self.page.slot_of(child.pid)
        return None if slot < 0 else self.page.row(slot)

    def apply(self, child: Child, step: Step | None) -> None:
        """Enter the phase and send the signal of a step; nothing for None."""
        if step is not None:
            child.enter(step)
            if step.signal is not None:
                self.send(child, step.signal)

    def send(self, child: Child, number: signal.Signals) -> None:
        """A signal to a child, which may just have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    def refuse_connections(self) -> None:
        """Close our share of the listening sockets; they are gone when every worker has closed its own."""
        sockets.close_all(self.listeners)
        self.listeners = []

    def close(self, *, handed: bool = False) -> None:
        """The end of the house, or (handed) of this master only. Children still there (only when the master failed) see
        their life pipe end and stop."""
        self.refuse_connections()
        if self.admin_sockets is not None:
            self.admin_sockets.close(handed=handed)
        for fd in (self._life, self._life_end):
            os.close(fd)
        for child in self.children:
            child.control.close()
        self.page.close()
        self.ledger.close()


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in _DEAD
    except (FileNotFoundError, ProcessLookupError):
        return True
