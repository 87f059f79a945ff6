"""Posts and their children in deed: fork into a seat, send signals, reap and undo what the dead left.

Decisions are children.py's and master.py's. The shared page and ledger are made here, before the first fork, and only
here is a dead worker's column cleared: after reaping, before its post is filled again.
"""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from fastrelay import metrics
from fastrelay.config import Config
from fastrelay.process import sockets
from fastrelay.process.admin_sockets import AdminSockets
from fastrelay.process.children import Child, Kind, Post, Step
from fastrelay.process.heartbeat import Page, Row
from fastrelay.process.ledger import Ledger
from fastrelay.process.privileges import Identity
from fastrelay.process.rows import COLUMNS
from fastrelay.process.seat import Seat
from fastrelay.process.spawn import spawn

Run: TypeAlias = Callable[[Seat], int]

SPARE_SLOTS: Final = 8  # slots beyond two per worker (an upgrade doubles them): room for TTIN and stragglers


class Staff:
    """All posts of the house. `poll` hears the children's control sockets; the master adds its own descriptors."""

    def __init__(
        self, config: Config, identity: Identity, runs: dict[Kind, Run], workers: int, own_fds: Sequence[int]
    ) -> None:
        self._config = config
        self._identity = identity
        self._runs = runs
        self._own_fds = own_fds  # closed in every child
        self._life, self._life_end = os.pipe2(os.O_CLOEXEC)
        self.page = Page.create(min(COLUMNS, 2 * workers + SPARE_SLOTS))
        self.ledger = Ledger.create(self.page.slots)
        self.poll = select.poll()
        self.listeners: list[socket.socket] = []
        self.admin_sockets: AdminSockets | None = None
        self.posts = [Post(Kind.WORKER, number) for number in range(workers)]
        if self.has_admin:
            self.posts.append(Post(Kind.ADMIN, 0))

    @property
    def has_admin(self) -> bool:
        """There is an admin child to run."""
        return Kind.ADMIN in self._runs

    @property
    def workers(self) -> list[Post]:
        """The posts of workers, those that are to end included."""
        return [post for post in self.posts if post.kind is Kind.WORKER]

    @property
    def children(self) -> list[Child]:
        """Every child that is not reaped."""
        return [post.child for post in self.posts if post.child is not None]

    def start(self, post: Post, now: float, suspects: tuple[bytes, ...]) -> None:
        """Fork a child into `post`. OSError when the machine cannot."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        is_worker = post.kind is Kind.WORKER
        listeners = list(zip(self._config.listeners, self.listeners, strict=True)) if is_worker else []
        seat = Seat(self._config, post.number, listeners, self.page, self.ledger, self._life, theirs, suspects)
        admin = self.admin_sockets
        if admin is not None and not is_worker:
            seat.api, seat.http = admin.api, admin.http
        run = self._runs[post.kind]

        def enter() -> None:
            """What belongs to the master or to a sibling is closed; the locks of the premises stay open on purpose."""
            for sibling in self.children:
                os.close(sibling.control)
            ours.close()
            for fd in (self._life_end, *self._own_fds):
                os.close(fd)
            if not is_worker:
                sockets.close_all(self.listeners)
            elif admin is not None:
                sockets.close_all(admin.all)

        try:
            pid = spawn(self._identity, enter, lambda: run(seat))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        post.child = Child(pid, now, ours.detach())
        self.poll.register(post.child.control, select.POLLIN)

    def hear(self, fd: int) -> None:
        """A word from a child only means: look at the page now. Its silence for good is for `reap`."""
        try:
            heard = os.read(fd, 4096)
        except OSError:
            heard = b""
        if not heard:
            self.poll.unregister(fd)

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
            # else a stranger: as pid 1 of a container orphans are ours to bury

    def clear(self, post: Post) -> Row | None:
        """Undo what the ended child of `post` left in shared memory. Returns its last words, None if it had no row."""
        child = post.child
        assert child is not None
        with contextlib.suppress(KeyError):  # it had hung up before
            self.poll.unregister(child.control)
        os.close(child.control)
        row = self.row(child)
        if row is not None:
            if post.kind is Kind.WORKER:
                self.ledger.clear_column(row.slot)
                metrics.forget_gauges(row.slot)
            self.page.wipe(row.slot)  # last: from here on a successor may claim the slot
        return row

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

    def close(self) -> None:
        """The end of the house. Children still there (only when the master failed) see their life pipe end and stop."""
        self.refuse_connections()
        if self.admin_sockets is not None:
            self.admin_sockets.close()
        for fd in (self._life, self._life_end):
            os.close(fd)
        for child in self.children:
            os.close(child.control)
        self.page.close()
        self.ledger.close()
