"""What goes to the disk together, and what came back: the values between tasks, committer and journal.

A Group is on disk whole or not at all; a Trip is one visit to the disk, with the groups and records it carried.
"""

from collections.abc import Sequence

from fastrelay.errors import FastrelayError
from fastrelay.runtime import tasks
from fastrelay.spool.format import MESSAGE
from fastrelay.spool.frames import Frame
from fastrelay.spool.journal import News


class Way:
    """How frames go: through a committer to the disk, or where memory.py keeps them."""

    __slots__ = ()

    def submit(self, group: "Group") -> None:
        """`group` is kept as promised when this returns; waits. Raises what went wrong: then nothing of it is."""
        raise NotImplementedError

    def ride(self, record: Frame) -> None:
        """`record` is kept soon."""
        raise NotImplementedError


class Group:
    """Frames that are on disk together or not at all. No frames: a barrier, done when all before it is synced.

    place: where a task waits, None when none does. keep: on failure written again later instead of failing.
    """

    __slots__ = ("error", "frames", "keep", "messages", "octets", "place")

    def __init__(self, frames: Sequence[Frame], *, keep: bool = False) -> None:
        self.frames = frames
        self.octets = sum([frame.octets for frame in frames])
        self.messages = sum([frame.kind == MESSAGE for frame in frames])
        self.place: tasks.Parking | None = None
        self.error: FastrelayError | None = None
        self.keep = keep


class Arrival(Group):
    """A new message, first among its frames, and the records that belong to it."""

    __slots__ = ()


class Trip:
    """One visit to the disk. error: why it failed (then no group is on disk). synced: nothing written awaits a sync."""

    __slots__ = ("error", "groups", "news", "records", "seconds", "synced")

    def __init__(self, groups: list[Group], records: list[Frame]) -> None:
        self.groups = groups
        self.records = records
        self.news: list[News] = []
        self.error: FastrelayError | None = None
        self.synced = False
        self.seconds = 0.0
