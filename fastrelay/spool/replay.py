"""Replay: from every frame of every segment, in any order, to what is open. Pure.

Per id the highest copy number wins, a damaged copy only where no good one is left, then the highest state version; DONE
beats everything (format.py). So segments may come in any order, frames twice, and files back that had been unlinked.

A DONE keeps a message down only as long as its own segment is there, and that is as long as a segment it names. Copies
that recovery made are named by none, so `unnamed` tells which DONEs have to be written again.
"""

from collections.abc import Iterator

from fastrelay.mail import state as states
from fastrelay.spool.format import DAMAGED, DONE, FILE, MESSAGE, UPDATE
from fastrelay.spool.found import Found
from fastrelay.spool.held import Held, place
from fastrelay.spool.segment import Segment


class Replay:
    """Feed it everything, then `finish`, then take what is open. present: ids whose body file was seen."""

    __slots__ = ("_also", "_early", "_ended", "_open", "_unnamed", "bodiless", "present")

    def __init__(self, present: set[bytes]) -> None:
        self.present = present
        self.bodiless: set[bytes] = set()  # ids whose body file some copy missed
        self._open: dict[bytes, Held] = {}
        self._ended: dict[bytes, bytes] = {}  # id -> marks its DONEs name, joined
        self._unnamed: dict[bytes, tuple[bytes, ...]] = {}  # id -> marks of segments with copies that were not named
        self._early: dict[bytes, tuple[int, bytes]] = {}  # states seen before their message
        self._also: dict[bytes, tuple[bytes, ...]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def feed(self, segment: Segment, frame: Found, *, cut: int = -1) -> None:
        """One good frame. cut: octets of the segment there are, when fewer than its index tells of."""
        kind = frame.kind
        if kind == MESSAGE:
            flags = frame.flags
            if 0 <= cut < frame.offset + frame.length:
                flags |= DAMAGED
            elif flags & FILE and frame.ident not in self.present and not flags & DAMAGED:
                flags |= DAMAGED
                self.bodiless.add(frame.ident)
            self.message(
                segment, frame.ident, place(frame.offset, frame.length), frame.envelope, frame.state, frame.copy, flags
            )
        elif kind == UPDATE:
            self._update(frame.ident, frame.version, frame.state)
        elif kind == DONE:
            self._end(frame.ident, frame.envelope)

    def message(
        self, segment: Segment, ident: bytes, where: int, envelope: bytes, state: bytes, copy: int, flags: int
    ) -> None:
        """One copy of a message."""
        named = self._ended.get(ident)
        if named is not None:
            if segment.mark not in named:
                self._unnamed[ident] = (*self._unnamed.get(ident, ()), segment.mark)
            return
        known = self._open.get(ident)
        if known is None:
            early = self._early.pop(ident, None)
            if early is not None and early[0] > _version(state):
                state = early[1]
            self._open[ident] = Held(segment, where, envelope, state, copy, flags)
            return
        if _version(state) > _version(known.state):
            known.state = state
        if (not flags & DAMAGED, copy) > (not known.flags & DAMAGED, known.copy):
            self._note_copy(ident, known.segment.mark)
            known.segment, known.where, known.envelope = segment, where, envelope
            known.copy, known.flags = copy, flags
        else:
            self._note_copy(ident, segment.mark)

    def finish(self) -> None:
        """Everything was fed, and `unnamed` dealt with."""
        self._early.clear()
        self._ended.clear()
        self._unnamed.clear()

    def unnamed(self) -> list[tuple[bytes, tuple[bytes, ...]]]:
        """After everything was fed: what has ended, with segments that hold a copy which no DONE names."""
        found = []
        for ident, marks in self._unnamed.items():
            left = tuple({mark: None for mark in marks if mark not in self._ended[ident]})
            if left:
                found.append((ident, left))
        return found

    def take(self) -> Iterator[tuple[bytes, Held, tuple[bytes, ...]]]:
        """What is open, about in order of arrival: id, message, marks of segments with other copies."""
        for ident in list(self._open):
            yield ident, self._open.pop(ident), self._also.pop(ident, ())

    def uses_file(self, ident: bytes) -> bool:
        """The message is open and its content is in a file."""
        held = self._open.get(ident)
        return held is not None and bool(held.flags & FILE)

    def _end(self, ident: bytes, named: bytes) -> None:
        before = self._ended.get(ident)
        if before is not None:
            if before != named:
                self._ended[ident] = before + named
            return
        self._ended[ident] = named
        known = self._open.pop(ident, None)
        if known is not None:
            marks = (known.segment.mark, *self._also.pop(ident, ()))
            unnamed = tuple(mark for mark in marks if mark not in named)
            if unnamed:
                self._unnamed[ident] = unnamed

    def _update(self, ident: bytes, version: int, state: bytes) -> None:
        known = self._open.get(ident)
        if known is not None:
            if version > _version(known.state):
                known.state = state
        elif ident not in self._ended:
            early = self._early.get(ident)
            if early is None or early[0] < version:
                self._early[ident] = (version, state)

    def _note_copy(self, ident: bytes, mark: bytes) -> None:
        also = self._also.get(ident, ())
        if mark not in also:
            self._also[ident] = (*also, mark)


def _version(state: bytes) -> int:
    return states.decode(state).version if state else 0
