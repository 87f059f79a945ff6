"""Recovery: first the tail is settled, then the door may open, then the backlog is loaded in slices.

`settle` scans what has no index, drops what ABORTs void and what is torn, writes every batch whose sync nobody saw
again into a segment of this life, and makes corrupt stretches visible; when it returns, nothing more depends on pages
that may be on disk or not, and each scanned segment has an index. `load` then reads indexes alone, no body.

What was written again stays in the index of its first segment: the DONE of such a message has to name that one too, or
it could end before the copy there does. And each scanned segment is synced: a frame whose `synced` proves others must
not get lost after it was believed.

The same two steps serve a slot that was adopted.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from fastrelay.mail import envelope as envelopes
from fastrelay.mail import state as states
from fastrelay.runtime import clock
from fastrelay.spool.bodies import Bodies
from fastrelay.spool.disk import Disk, How
from fastrelay.spool.format import ABORT, DAMAGED, DONE, FILE, FRAME_HEADER, MAX_BATCH_FRAMES, MESSAGE
from fastrelay.spool.found import Found
from fastrelay.spool.frames import Entry as IndexEntry
from fastrelay.spool.frames import Frame, guess_frame, join_marks
from fastrelay.spool.held import place
from fastrelay.spool.index import decode_index, entry_of, is_whole
from fastrelay.spool.pace import Away
from fastrelay.spool.quarantine import Quarantine
from fastrelay.spool.register import Register
from fastrelay.spool.replay import Replay
from fastrelay.spool.scan import Damage, Scan, scan
from fastrelay.spool.segment import Segment
from fastrelay.spool.survey import Piece, Survey, read_whole

SLICE = 0.005  # seconds of work before others get a turn
_LOOKS = 32  # frames between two looks at the clock
LOST = "damaged: its content is lost, see the Quarantine event"


class Entry(NamedTuple):
    """An open message of the backlog. state: None when nobody has tried it."""

    ident: bytes
    envelope: bytes
    state: bytes | None


class _Scanned(NamedTuple):
    """A scanned segment. tail: its unsettled batches, ready to be written again. heads: of all frames, by offset."""

    scan: Scan
    heads: dict[int, bytes]
    tail: list[list[Frame]]


class Recovery:
    """Of what one survey found. submit: waits until frames are on stable storage, in one batch.

    write_index(segment, size, entries): in a native thread. rest: gives others a turn. progress: octets read so far.
    """

    __slots__ = (
        "_aborts",
        "_away",
        "_bodies",
        "_disk",
        "_quarantine",
        "_rest",
        "_scanned",
        "_submit",
        "_survey",
        "_write_index",
        "newest",
        "progress",
    )

    def __init__(
        self,
        disk: Disk,
        found: Survey,
        *,
        away: Away,
        bodies: Bodies,
        quarantine: Quarantine,
        submit: Callable[[list[Frame]], None],
        write_index: Callable[[Segment, int, list[IndexEntry]], None],
        rest: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._survey = found
        self._away = away
        self._bodies = bodies
        self._quarantine = quarantine
        self._submit = submit
        self._write_index = write_index
        self._rest = rest
        self._scanned: dict[bytes, list[Found]] = {}  # mark -> frames of a segment without an index
        self._aborts: dict[bytes, int] = {}  # nonce of a segment -> its first void batch
        self.progress = 0
        self.newest = max((piece.prelude.newest for piece in found.pieces if piece.prelude), default=0)

    # -- the tail ---------------------------------------------------------------------------------------------------

    def settle(self, register: Register) -> Replay:
        """Settle the tail; what it held is in the Replay that `load` goes on with. MachineShort, OSError."""
        survey, away = self._survey, self._away
        replay = Replay({ident for ident in survey.bodies.values() if ident is not None})
        aborts = self._aborts
        scanned: list[tuple[Piece, _Scanned]] = []
        for path in survey.unborn:
            away(self._disk.remove, path)
        for piece in survey.pieces:
            register.segments[piece.segment.mark] = piece.segment
            if piece.prelude is not None:
                _void(aborts, piece.prelude.aborts)
                continue
            one: _Scanned = away(self._scan, piece)
            scanned.append((piece, one))
            self.newest = max(self.newest, one.scan.newest)
            every = [one.scan.frames, *one.scan.tail]
            _void(aborts, [(frame.ident, frame.version) for some in every for frame in some if frame.kind == ABORT])
        for piece, one in scanned:
            void = self._void_from(piece)
            known = list(one.scan.frames)
            for found, frames in zip(one.scan.tail, one.tail, strict=True):
                if found[0].batch < void:
                    known += self._write_again(frames, found, replay)
            self._scanned[piece.segment.mark] = known
            for damage in one.scan.damage:
                self._damaged(piece.segment, damage, replay)
        for path in survey.strange:
            self._strange(path, replay)
        for piece, one in scanned:  # only now: whoever believes these indexes will not look at the tail again
            away(self._remove, piece.segment.index_path)
            entries = [entry_of(frame, one.heads[frame.offset]) for frame in self._scanned[piece.segment.mark]]
            away(self._write_index, piece.segment, piece.size, entries)
        return replay

    def _void_from(self, piece: Piece) -> int:
        """The first batch of a segment that does not count."""
        return self._aborts.get(piece.segment.header.nonce, 1 << 62)

    def _scan(self, piece: Piece) -> _Scanned:  # in a native thread
        disk, segment = self._disk, piece.segment
        fd = disk.open(segment.path, How.READ)
        try:

            def read(size: int, offset: int) -> bytes:
                octets = disk.read(fd, size, offset)
                self.progress += len(octets)
                return octets

            found = scan(read, piece.size, segment.header)
            every = [*found.frames, *[frame for batch in found.tail for frame in batch]]
            heads = {frame.offset: disk.read(fd, FRAME_HEADER, frame.offset) for frame in every}
            if self._bodies.durable:
                with contextlib.suppress(OSError):  # then what its index says is not sure to last, and may be scanned
                    disk.sync(fd)
            return _Scanned(found, heads, [[_again(frame, read) for frame in batch] for batch in found.tail])
        finally:
            disk.close(fd)

    def _write_again(self, frames: list[Frame], found: list[Found], replay: Replay) -> list[Found]:
        """A batch of the tail into a segment of this life; those frames of it that count."""
        pairs = [(frame, before) for frame, before in zip(frames, found, strict=True) if _counts(before, replay)]
        if not pairs:
            return []
        self._submit([frame for frame, _ in pairs])
        for frame, before in pairs:
            segment = frame.segment
            assert isinstance(segment, Segment)
            replay.feed(
                segment,
                msgspec.structs.replace(before, offset=frame.offset, length=frame.length, copy=frame.copy),
            )
        return [before for _, before in pairs]

    def _damaged(self, segment: Segment, damage: Damage, replay: Replay) -> None:
        why = "corrupt" if damage.corrupt else "torn"
        kept = self._away(self._quarantine.keep, segment, damage.offset, damage.length, why)
        shown = self._show(damage.claims, replay) if damage.corrupt else []
        least = 1 if damage.corrupt else 0  # nobody read 250 for what is torn
        self._quarantine.tell(why, segment.path, damage.length, kept, shown, least=least, offset=damage.offset)

    def _strange(self, path: str, replay: Replay) -> None:
        """A log whose header is damaged: nothing in it can be trusted, but what it seems to hold is shown."""
        claims = []
        octets = b""
        with contextlib.suppress(OSError):
            octets = self._away(read_whole, self._disk, path)
            claims = self._away(_claims, octets)
        shown = self._show(claims, replay)
        kept = self._away(self._quarantine.keep_file, path, "strange")
        self._quarantine.tell("no segment header", path, len(octets), kept, shown)

    def _show(self, claims: Iterable[tuple[bytes, bytes]], replay: Replay) -> list[bytes]:
        """Make messages visible that were lost: the envelope they claim, no content, never sent."""
        frames = []
        for ident, octets in claims:
            try:
                envelope = envelopes.decode(octets)
            except msgspec.DecodeError:
                continue
            if envelope.recipients:
                state = states.encode(
                    states.State(0, states.untouched(len(envelope.recipients), envelope.created).recipients, LOST)
                )
                frames.append(Frame(MESSAGE, ident, octets, state, flags=DAMAGED, content_crc=0))
        for start in range(0, len(frames), MAX_BATCH_FRAMES):
            some = frames[start : start + MAX_BATCH_FRAMES]
            self._submit(some)
            for frame in some:
                segment = frame.segment
                assert isinstance(segment, Segment)
                replay.message(
                    segment, frame.ident, place(frame.offset, frame.length), frame.envelope, frame.state, 0, DAMAGED
                )
        return [frame.ident for frame in frames]

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._disk.remove(path)

    # -- the backlog ------------------------------------------------------------------------------------------------

    def load(self, replay: Replay, register: Register) -> Iterator[Entry]:
        """Everything that is open, registered as it comes. Waits; works in slices of 5 ms."""
        began = clock.now()
        looks = 0
        lost: dict[bytes, list[bytes]] = {}  # mark of a segment that is gone or cut short -> what is lost with it
        for piece in self._survey.pieces:
            cut = piece.size if piece.prelude is not None and piece.size < piece.prelude.size else -1
            for frame in self._frames(piece, replay):
                if 0 <= cut < frame.offset + frame.length:  # else it is a torn end that was never more than that
                    lost.setdefault(piece.segment.mark, [])
                replay.feed(piece.segment, frame, cut=cut)
                looks += 1
                if looks % _LOOKS == 0 and clock.now() - began >= SLICE:
                    self._rest()
                    began = clock.now()
            self._rest()
            began = clock.now()
        self._name(replay)
        replay.finish()
        self._sort_bodies(replay)
        ended: list[Frame] = []
        bodiless: list[bytes] = []
        for ident, held, also in replay.take():
            if held.state and states.decode(held.state).ended:
                ended.append(Frame(DONE, ident, join_marks((held.segment.mark, *also))))
                continue
            if held.flags & DAMAGED:
                held.state = _on_hold(held.envelope, held.state)
                if ident in replay.bodiless:
                    bodiless.append(ident)
                elif held.segment.mark in lost:
                    lost[held.segment.mark].append(ident)
            register.add(ident, held, also)
            yield Entry(ident, held.envelope, held.state or None)
            looks += 1
            if looks % _LOOKS == 0 and clock.now() - began >= SLICE:
                self._rest()
                began = clock.now()
        self._write_all(ended)
        for piece in self._survey.pieces:
            if piece.segment.mark in lost:
                self._cut(piece, lost[piece.segment.mark])
        if bodiless:
            self._quarantine.tell("body files lost", self._bodies.directory, 0, False, bodiless)

    def _name(self, replay: Replay) -> None:
        """DONEs for copies that no DONE names: those we made of messages that had ended already."""
        self._write_all([Frame(DONE, ident, join_marks(marks)) for ident, marks in replay.unnamed()])

    def _write_all(self, frames: list[Frame]) -> None:
        for start in range(0, len(frames), MAX_BATCH_FRAMES):
            self._submit(frames[start : start + MAX_BATCH_FRAMES])

    def _frames(self, piece: Piece, replay: Replay) -> Iterable[Found]:
        frames = self._scanned.pop(piece.segment.mark, None)
        if frames is not None:
            return frames
        prelude = piece.prelude
        assert prelude is not None
        octets = self._away(self._index, piece)
        if octets is not None:
            return decode_index(octets, prelude)
        if piece.segment.lost:
            self._quarantine.tell("segment and index lost", piece.segment.path, piece.segment.size, False, [])
            return []
        # Its tail was settled before its index was written; what looks like one now may have been proved synced then.
        found: _Scanned = self._away(self._scan, piece)
        void = self._void_from(piece)
        tail = [frame for batch in found.scan.tail if batch[0].batch < void for frame in batch]
        return found.scan.frames + [frame for frame in tail if _counts(frame, replay)]

    def _index(self, piece: Piece) -> bytes | None:  # in a native thread
        assert piece.prelude is not None
        try:
            octets = read_whole(self._disk, piece.segment.index_path)
        except OSError:
            return None
        self.progress += len(octets)
        return octets if is_whole(octets, piece.prelude) else None

    def _cut(self, piece: Piece, lost: list[bytes]) -> None:
        why = "segment lost, its index is left" if piece.segment.lost else "segment cut short"
        assert piece.prelude is not None
        self._quarantine.tell(why, piece.segment.path, piece.prelude.size - piece.size, False, lost, least=0)

    def _sort_bodies(self, replay: Replay) -> None:
        unnamed = []
        for path, ident in self._survey.bodies.items():
            if ident is not None and replay.uses_file(ident):
                self._bodies.found(ident, path.rpartition("/")[0])
            else:
                unnamed.append(path)
        if unnamed:
            self._away(self._bodies.remove, unnamed)


def _void(aborts: dict[bytes, int], found: Iterable[tuple[bytes, int]]) -> None:
    for nonce, batch in found:
        aborts[nonce] = min(batch, aborts.get(nonce, batch))


def _counts(frame: Found, replay: Replay) -> bool:
    """For frames of a tail. A body is synced before its frame is written and removed after the frame's DONE was synced:
    one that is missing was taken back by a commit that failed."""
    return not frame.flags & FILE or bool(frame.flags & DAMAGED) or frame.ident in replay.present


def _again(frame: Found, read: Callable[[int, int], bytes]) -> Frame:
    """A frame of the tail, to be written in this life."""
    size = frame.prefix_size + frame.inline
    body = read(size, frame.body_offset) if size else b""
    return Frame(
        frame.kind,
        frame.ident,
        frame.envelope,
        frame.state,
        frame.version,
        body[: frame.prefix_size],
        (body[frame.prefix_size :],) if frame.inline else (),
        frame.content_size,
        frame.content_crc,
        frame.copy + 1 if frame.kind == MESSAGE else frame.copy,
        frame.flags,
    )


def _claims(octets: bytes) -> list[tuple[bytes, bytes]]:
    """(id, envelope) of what seem to be messages in a log without a header: the first frame tells the mark."""
    mark, found, at = octets[128:136], [], 128
    while mark.strip(b"\0") and at >= 0:
        if at % 8 == 0:
            claim = guess_frame(octets[at : at + 65536])
            if claim is not None:
                found.append(claim)
        at = octets.find(mark, at + 1)
    return found


def _on_hold(envelope: bytes, state: bytes) -> bytes:
    """The state of a damaged message: as it is, but held."""
    if state:
        known = states.decode(state)
        if known.held:
            return state
    else:
        decoded = envelopes.decode(envelope)
        known = states.untouched(len(decoded.recipients), decoded.created)
    return states.encode(states.State(known.version + 1, known.recipients, LOST))
