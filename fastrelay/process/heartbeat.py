"""The shared page: one row per slot, written by the worker of that slot, read by everyone.

A row holds: pid, state, last beat, progress, open sessions, load, whether its worker has left it for good, and cells
that name the messages in hand. There is no lock: every field has one writer (the row's worker; the master only when
that worker is dead), and a torn or stale read costs at most one wrong decision to accept or one late look at a
heartbeat. Rows 0 to slots - 1 are the workers', the last row (`Page.admin`) is the admin child's. Times are monotonic
seconds, the same in all processes of a machine.

Writing a field costs 0.1 us, a name 0.5 us (measured), and no system call.
"""

import enum
import mmap
import os
import struct
from typing import Final, NamedTuple

from fastrelay.errors import MisuseError
from fastrelay.process.balance import SLACK, may_accept

VERSION: Final = 2
CELLS: Final = 64  # messages in hand a worker may name at once; see inhand.py
ALONE: Final = 0  # the cell of one that is tried with no other like it
FRESH: Final = 5.0  # seconds: five missed beats, and the worker no longer counts for balance
_MAGIC: Final = b"FRELPAGE"
_HEADER: Final = struct.Struct("<8sIIQ")  # magic, version, slots, worker restarts
_RESTARTS: Final = 2  # where the header's restarts stand among 8-octet words
_CELL: Final = 16
_FIRST_CELL: Final = 64
_STRIDE: Final = _FIRST_CELL + CELLS * _CELL  # a row; whole cache lines, so that neighbours do not slow one another
_NO_IDENT: Final = bytes(_CELL)
_NO_CELLS: Final = bytes(CELLS * _CELL)
# fields by index of their type within a row: u32, u32, f64, u64, u32, u32, u32
_PID, _STATE, _SESSIONS, _LOAD, _LEFT = 0, 1, 6, 7, 8
_BEAT, _PROGRESS = 1, 2


class State(enum.IntEnum):
    """What a worker says of itself."""

    FREE = 0  # nobody's row
    STARTING = 1
    READY = 2  # accepts, or would if its siblings had more to do
    DRAINING = 3


class Row(NamedTuple):
    """One row as read at one moment."""

    slot: int
    pid: int
    state: State
    beat: float
    progress: int
    sessions: int
    load: int
    idents: tuple[bytes, ...]  # the messages in hand, 16 octets each
    alone: bytes = b""  # the one of them in the cell ALONE; b"" for none


class Page:
    """Made by the master before the fork; a worker `claim`s its row first."""

    __slots__ = ("_base", "_f64", "_memory", "_u32", "_u64", "_view", "fd", "slot", "slots")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        size = os.fstat(fd).st_size
        self._memory = mmap.mmap(fd, size)
        magic, version, slots, _ = _HEADER.unpack_from(self._memory)
        if (magic, version) != (_MAGIC, VERSION):
            raise MisuseError(f"the shared page has format {version}, this program speaks {VERSION}: stop, then start")
        self.slots: int = slots
        self._view = memoryview(self._memory)
        self._u32, self._u64, self._f64 = self._view.cast("I"), self._view.cast("Q"), self._view.cast("d")
        self.slot = -1
        self._base = 0

    @classmethod
    def create(cls, slots: int) -> "Page":
        """An empty page for that many workers and the admin child."""
        fd = os.memfd_create("fastrelay-page", os.MFD_CLOEXEC)
        os.ftruncate(fd, _STRIDE * (slots + 2))
        os.pwrite(fd, _HEADER.pack(_MAGIC, VERSION, slots, 0), 0)
        return cls(fd)

    @property
    def admin(self) -> int:
        """The row of the admin child."""
        return self.slots

    # -- the worker's ---------------------------------------------------------------------------------------------

    def claim(self, slot: int, now: float) -> None:
        """This process is `slot` from now on."""
        self.pid_of(slot)
        self.wipe(slot)
        self.slot = slot
        self._base = base = _start(slot)
        self._f64[base // 8 + _BEAT] = now
        self._u32[base // 4 + _STATE] = State.STARTING
        self._u32[base // 4 + _PID] = os.getpid()

    def beat(self, now: float, progress: int = 0) -> None:
        """Still turning; once a second. progress: any number that grows while work gets done."""
        word = self._base // 8
        self._f64[word + _BEAT] = now
        self._u64[word + _PROGRESS] = progress

    def sessions(self, count: int) -> None:
        """Open inbound sessions, written at every change."""
        self._u32[self._base // 4 + _SESSIONS] = count

    def load(self, count: int) -> None:
        """Work in hand besides sessions (messages being delivered), for people to see."""
        self._u32[self._base // 4 + _LOAD] = count

    def ready(self, is_ready: bool = True) -> None:
        """May count on this worker to accept; False while it cannot (descriptors exhausted)."""
        self._u32[self._base // 4 + _STATE] = State.READY if is_ready else State.STARTING

    def draining(self) -> None:
        """Accepts nothing any more and finishes what it has."""
        self._u32[self._base // 4 + _STATE] = State.DRAINING

    def note(self, cell: int, ident: bytes) -> None:
        """A message now in hand (16 octets), or b"" when done with it."""
        start = self._base + _FIRST_CELL + cell * _CELL
        self._memory[start : start + _CELL] = ident or _NO_IDENT

    def may_accept(self, now: float) -> bool:
        """Is it this worker's turn to accept? Ask after each accept and, while pausing, every LOOK_AGAIN seconds."""
        own = self._u32[self._base // 4 + _SESSIONS]
        return own < SLACK or may_accept(own, self.least_loaded(now, own))

    # -- everyone's -----------------------------------------------------------------------------------------------

    def least_loaded(self, now: float, none: int = 0) -> int:
        """Sessions of the least loaded worker that is ready and beats; `none` when there is no such worker."""
        least = -1
        for base in range(_STRIDE, _STRIDE * (self.slots + 1), _STRIDE):
            word = base // 4
            if self._u32[word + _STATE] == State.READY and now - self._f64[base // 8 + _BEAT] < FRESH:
                sessions = self._u32[word + _SESSIONS]
                if sessions < least or least < 0:
                    least = sessions
        return none if least < 0 else least

    def row(self, slot: int) -> Row:
        """What the worker of `slot` says of itself; all zero when there is none."""
        base = _start(slot)
        word, long = base // 4, base // 8
        octets = self._memory[base + _FIRST_CELL : base + _STRIDE]
        cells = [octets[at : at + _CELL] for at in range(0, len(octets), _CELL)] if octets != _NO_CELLS else []
        return Row(
            slot,
            self._u32[word + _PID],
            State(self._u32[word + _STATE]),
            self._f64[long + _BEAT],
            self._u64[long + _PROGRESS],
            self._u32[word + _SESSIONS],
            self._u32[word + _LOAD],
            tuple(ident for ident in cells if ident != _NO_IDENT),
            cells[ALONE] if cells and cells[ALONE] != _NO_IDENT else b"",
        )

    def rows(self) -> list[Row]:
        """The rows of all workers there are, by slot."""
        return [row for slot in range(self.slots) if (row := self.row(slot)).pid]

    @property
    def restarts(self) -> int:
        """Workers that ended unasked and were replaced, since the master started."""
        return self._u64[_RESTARTS]

    # -- the master's ---------------------------------------------------------------------------------------------

    def slot_of(self, pid: int) -> int:
        """The row (the admin child's included) that process has claimed, -1 for none yet."""
        for slot in range(self.slots + 1):
            if self._u32[_start(slot) // 4 + _PID] == pid:
                return slot
        return -1

    def pid_of(self, slot: int) -> int:
        """The process whose row it is, dead ones that are not yet reaped included; 0 for nobody's."""
        if not 0 <= slot <= self.slots:
            raise MisuseError(f"slot {slot}: this house has room for slots 0 to {self.slots - 1}")
        return self._u32[_start(slot) // 4 + _PID]

    def wipe(self, slot: int) -> None:
        """Nobody's row any more: its process is reaped."""
        start = _start(slot)
        self._u32[start // 4 + _STATE] = State.FREE
        self._memory[start : start + _STRIDE] = bytes(_STRIDE)

    def leave(self, slot: int) -> None:
        """The same, and no process comes back to this slot: whoever adopts need not wait for one. Until it is claimed
        again."""
        self.wipe(slot)
        self._u32[_start(slot) // 4 + _LEFT] = 1

    def is_left(self, slot: int) -> bool:
        """Its worker has gone for good, as `leave` said."""
        return 0 <= slot < self.slots and self._u32[_start(slot) // 4 + _LEFT] == 1

    def count_restart(self) -> None:
        """One more worker ended unasked."""
        self._u64[_RESTARTS] += 1

    def close(self) -> None:
        """Unmap and close."""
        for view in (self._u32, self._u64, self._f64, self._view):
            view.release()
        self._memory.close()
        os.close(self.fd)


def _start(slot: int) -> int:
    return _STRIDE * (slot + 1)
