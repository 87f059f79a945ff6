"""Whole lines to a descriptor by a native thread, so that a slow disk or a full pipe never stops the event loop.

Lines gather in one buffer and go to the thread every FLUSH seconds (one wake-up and one write for all of them). The
bound counts what gathers and what the thread still holds; at the bound lines are refused and counted, and once there is
room again one line, made by `summary`, says how many were lost.

Writes hold whole lines only: to a pipe or socket at most PIPE_BUF octets (larger ones of two processes tear), to a
regular file up to FILE_WRITE (O_APPEND makes each write one piece). A write that failed half-way is repeated from the
start of its line, behind a newline of its own: what a full disk tore is one line that does not parse (or one line
twice, where only the newline was missing), never two lines mixed.
After an error the thread tries again every RETRY seconds; nothing is raised.

Before `start` there is no thread: lines are written on the spot (the master, which must have neither thread nor loop).
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from fastrelay.runtime import tasks

PIPE_WRITE = select.PIPE_BUF  # 4,096 on Linux: the size up to which pipe(7) promises not to mix writers
FILE_WRITE = 64 * 1024
FLUSH = 0.05  # seconds; 20 wake-ups a second under load, none when idle
RETRY = 1.0


class LineWriter:
    """`put` lines on the loop. fd stays the caller's; limit: octets held at most."""

    __slots__ = (
        "_alarm",
        "_closing",
        "_fd",
        "_gathered",
        "_limit",
        "_on_error",
        "_on_recovery",
        "_queue",
        "_queued",
        "_summary",
        "_turns",
        "_unsaid",
        "_writer_thread",
        "_written",
        "lost",
    )

    def __init__(
        self,
        fd: int,
        limit: int,
        summary: Callable[[int], bytes],
        on_error: Callable[[OSError], None] = lambda error: None,
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        self._fd = fd
        self._limit = limit
        self._summary = summary
        self._on_error = on_error  # called in the thread, once per row of failures
        self._on_recovery = on_recovery  # likewise, behind the first write that goes well again
        self._turns: deque[tuple[int, Callable[[int], object]]] = deque()
        self._gathered = bytearray()
        self._alarm: tasks.Alarm | None = None
        self._queue: SimpleQueue[bytes | Callable[[], None] | None] = SimpleQueue()
        self._writer_thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._queued = 0  # octets taken: written by the loop only
        self._written = 0  # octets done with: written by the thread only
        self._unsaid = 0
        self.lost = 0  # lines refused since the start

    @property
    def held(self) -> int:
        """Octets not yet written."""
        return self._queued - self._written

    def start(self) -> None:
        """From now on a native thread writes. After the fork, on the loop's thread."""
        if self._writer_thread is None:
            self._writer_thread = tasks.start_native_thread("line-writer", self._run)

    def put(self, line: bytes) -> bool:
        """Take a line (it ends with a newline and has at most PIPE_WRITE octets). False: no room, counted in `lost`."""
        if self._writer_thread is None:
            return self._put_now(line)
        if self._queued - self._written + len(line) > self._limit or (self._unsaid and not self._say()):
            self._refuse()
        else:
            self._gathered += line
            self._queued += len(line)
            if self._alarm is None:
                self._alarm = tasks.Alarm(FLUSH, self.flush)
            return True
        return False

    def flush(self) -> None:
        """Hand what has gathered to the thread now."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        if self._unsaid and not self._say():
            self._alarm = tasks.Alarm(RETRY, self.flush)
        if self._gathered:
            self._queue.put(bytes(self._gathered))
            self._gathered.clear()

    def redirect(self, fd: int, done: Callable[[int], object]) -> None:
        """What is put from now on goes to `fd`, and so does what the one before does not take. done(the one before) is
        called once nothing goes there any more, in the thread; both stay the caller's."""
        if self._writer_thread is not None:
            self.flush()
        self._turns.append((fd, done))
        if self._writer_thread is None:
            self._turn()
        else:
            self._queue.put(self._turn)

    def _turn(self) -> None:
        """Go over to the descriptor last named, where that has not been done."""
        while self._turns:
            fd, done = self._turns.popleft()
            old, self._fd = self._fd, fd
            done(old)

    def close(self, seconds: float) -> bool:
        """Write what is left, for at most `seconds` (blocks the thread it is called on). True: everything is out."""
        if self._writer_thread is None:
            return True
        self.flush()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        self._queue.put(None)
        self._writer_thread.join(seconds)
        self._closing.set()  # a thread that stands before a full disk or pipe gives up
        self._writer_thread = None
        return self.held == 0

    def _refuse(self) -> None:
        self.lost += 1
        self._unsaid += 1
        if self._alarm is None:
            self._alarm = tasks.Alarm(RETRY, self.flush)

    def _say(self) -> bool:
        line = self._summary(self._unsaid)
        if self.held + len(line) > self._limit:
            return False
        self._unsaid = 0
        self._gathered += line
        self._queued += len(line)
        return True

    def _put_now(self, line: bytes) -> bool:
        try:
            _write_once(self._fd, line)
        except OSError as error:
            self.lost += 1
            self._on_error(error)
            return False
        return True

    # -- in the native thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (octets := self._queue.get()) is not None:
            if not isinstance(octets, bytes):
                octets()
                continue
            self._write(octets)
            self._written += len(octets)

    def _chunk(self) -> int:
        return FILE_WRITE if stat.S_ISREG(os.fstat(self._fd).st_mode) else PIPE_WRITE

    def _write(self, octets: bytes) -> None:
        chunk = self._chunk()
        start, torn, failing = 0, False, False
        while start < len(octets):
            end = octets.rfind(b"\n", start, start + chunk) + 1
            piece = octets[start:end]
            try:
                done = _write_once(self._fd, b"\n" + piece if torn else piece) - torn
            except OSError as error:
                if not failing:
                    failing = True
                    self._on_error(error)
                if self._closing.wait(RETRY):
                    return
                if self._turns:
                    self._turn()
                    if self._fd < 0:
                        return  # nobody wants them any more
                    chunk, torn = self._chunk(), False
                continue
            if failing:
                failing = False
                self._on_recovery()
            if done == len(piece):
                start, torn = end, False
            elif done > 0:
                whole = octets.rfind(b"\n", start, start + done) + 1
                torn = whole != start + done
                start = max(whole, start)


def _write_once(fd: int, octets: bytes) -> int:
    """One write; on a descriptor somebody made non-blocking, wait for room first."""
    try:
        return os.write(fd, octets)
    except BlockingIOError:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll(int(RETRY * 1000))
        return os.write(fd, octets)
