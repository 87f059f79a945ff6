"""The journal on disk: what each octet means, and why a 250 can be trusted. Pure; files are disk.py's business.

**Files of a slot.** `segment-NNNNNNNNNN.log` are appended to and never rewritten; `.index` beside one is its contents
without the bodies (index.py, rebuildable); `bodies/` holds contents too large for a frame (bodies.py); `quarantine/`
what was found damaged; `adopted-N/` a whole slot taken over, read like the slot itself.

**Segment.** A header of 128 octets (64, twice, so that one flipped bit costs nothing), then frames. The header bears
the format version, the segment's number and 16 random octets, the *nonce*. A file whose version is newer than ours is
refused and left as it is. A frame is written in the oldest version that can hold it; there is only one so far.

**Frame.** 80 octets of header, then envelope, state, prefix, content, padding to 8 octets. The header starts with the
first 8 octets of the nonce (the *mark*) and ends with a CRC over header, envelope and state, seeded with the nonce;
prefix and content have CRCs of their own, unseeded: the content's is computed once at reception and travels with every
copy. Nothing of a segment is ever sent to a peer, so no mail body can contain the mark: after a damaged length the next
frame is where the mark stands at a multiple of 8 *and* the seeded CRC holds (2^-96 for a body to forge that).

    MESSAGE  envelope, state merged into this copy ("" = untouched), prefix, content (flag FILE: in bodies/)
    UPDATE   state of a message; `version` says which is newer; a full state, so only the newest counts
    DONE     the message has ended; envelope = marks of the segments that still hold a copy of it
    ABORT    ident = nonce of a segment, version = a batch number: that batch and later ones there are void
    SEAL     last frame of a finished segment

**Batch.** Frames written by one call are a batch: all or nothing. Each bears the batch's number, its own place in it
and their count, so a batch is whole when `count` good frames with one number are there. At most 4 MiB and 256 messages,
never over two segments. `synced` in every frame is the last batch of this segment known to be on disk when the frame
was written; S below is the highest `synced` any good frame of the segment bears.

**The proof.** A sender reads 250 only after (1) all frames of its batch were written, (2) fdatasync of the segment
returned, and (3) the segment's name was synced into its directory (at its opening, before its first batch). So:
- Batch <= S: a later frame was written after that batch's sync, so its octets are on disk. A bad frame there is
  corruption: quarantined, reported, visible; its neighbours are replayed.
- Batch > S, whole, every CRC right: replayed. Its sync may not have returned: the sender got no answer and will send
  again (RFC 1047), or read 250. Recovery writes it again into a segment of its own life and syncs that before anything
  else commits, so it never relies on pages whose sync nobody saw.
- Batch > S, not whole: its sync cannot have returned, nobody read 250 for it: dropped whole, octets kept aside.
- A failed sync tells nothing about its pages (they may be dropped or written). Its senders read 451, the segment is
  never written again, and ABORT is synced into a fresh one before anything else commits: a later replay ignores it.
- Per id the highest copy number wins, then the highest state version; DONE beats everything. Replay therefore does not
  depend on the order of files, nor on frames being there twice, nor on files that reappear after an unlink.
- A frame is needed while it is the newest MESSAGE copy or newest UPDATE of an open message, a DONE while a segment it
  names exists or may reappear, an ABORT while its segment does. Every segment with a copy is named: recovery, which
  makes copies before it knows what has ended, writes the DONE again where one of its copies has. A segment is unlinked
  after its needed frames were written forward and synced, and whatever supersedes an UPDATE of it as well; not for an
  ended message whose copy 0 lies there: no older copy is left that could ask for its state, and a newer one brings it
  along (merged where it was written forward; where by recovery, with every UPDATE later than its MESSAGE). It counts
  as existing until the directory was synced after the unlink.

Limits: frame head 16 MiB, numbers as in the structs below. Times are wall seconds.
"""

import struct
import zlib

import msgspec

VERSION = 1
SEGMENT_HEADER = 128
FRAME_HEADER = 80
MAX_BATCH = 4 * 1024 * 1024  # octets; what a crash can tear, and what 1,000 buffers of 4 KiB carry
MAX_BATCH_MESSAGES = 256
MAX_BATCH_FRAMES = 2048  # with the records that ride; keeps place and count small and a batch one or two writes
MAX_HEAD = 16 * 1024 * 1024  # envelope + state: 1,000 recipients with DSN parameters stay under 1 MiB

MESSAGE, UPDATE, DONE, ABORT, SEAL = 1, 2, 3, 4, 5
FILE = 1  # the content is in bodies/<id>
DAMAGED = 2  # content was lost to corruption: the message is shown, never sent

_MAGIC = b"fastrly\n"
_SEGMENT = struct.Struct("<8sHHIQ16sQ12s")  # magic, version, 0, 0, number, nonce, created ms, 0
_CRC = struct.Struct("<I")
_HALF = SEGMENT_HEADER // 2


class SegmentHeader(msgspec.Struct, frozen=True, gc=False):
    """Who a segment is. mark: what its frames begin with. seed: what their CRCs start from."""

    number: int
    nonce: bytes
    created: float
    mark: bytes
    seed: int


def segment_header(number: int, nonce: bytes, created: float) -> SegmentHeader:
    """The header of a new segment."""
    return SegmentHeader(number, nonce, int(created * 1000) / 1000, nonce[:8], zlib.crc32(nonce))


def encode_segment(header: SegmentHeader) -> bytes:
    """The first 128 octets of a segment."""
    half = _SEGMENT.pack(_MAGIC, VERSION, 0, 0, header.number, header.nonce, round(header.created * 1000), bytes(12))
    return (half + _CRC.pack(zlib.crc32(half))) * 2


class Foreign(Exception):
    """These octets are no segment of ours, or its header is damaged twice."""


class Newer(Exception):
    """A segment of a format version we do not know: `version`."""

    def __init__(self, version: int) -> None:
        super().__init__(f"format version {version}, this program knows {VERSION}")
        self.version = version


def decode_segment(octets: bytes) -> SegmentHeader:
    """The header in the first octets of a file; Newer, or Foreign when neither copy is good."""
    newer = 0
    for start in (0, _HALF):
        half = octets[start : start + _HALF]
        if len(half) < _HALF or half[:8] != _MAGIC:
            continue
        _, version, _, _, number, nonce, created, _ = _SEGMENT.unpack_from(half)
        if version <= VERSION and zlib.crc32(half[:-4]) == _CRC.unpack_from(half, _HALF - 4)[0]:
            return segment_header(number, nonce, created / 1000)
        newer = max(newer, version)
    if newer > VERSION:
        raise Newer(newer)
    raise Foreign("not a segment, or its header is damaged")
