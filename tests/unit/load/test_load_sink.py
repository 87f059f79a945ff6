"""The sink's session over a stream that is a script: what the client sends, piece by piece; what comes back."""

import random
from typing import cast

import pytest

from fastrelay.load.profile import Profile, Rule
from fastrelay.load.sink import Sink
from fastrelay.load.tally import Tally
from fastrelay.runtime.stream import Stream

SESSION = (
    b"EHLO c\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@Y.example>\r\nrcpt to:<b@z>\r\nDATA\r\n"
    b"X-Id: r1-0000000001-0000000001000000\r\n\r\nbody\r\n..dot\r\n.\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<c@z>\r\nDATA\r\n.\r\nNOOP\r\nQUIT\r\n"
)
CODES = [220, 250, 250, 250, 250, 354, 250, 250, 250, 354, 250, 250, 221]


class ScriptedStream:
    """Gives out `pieces`, then the end; keeps what is written."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.written = b""
        self.closed = False

    def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    read_waiting_first = read

    def write(self, octets: bytes) -> None:
        self.written += octets

    def expire_in(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        self.closed = True

    def codes(self) -> list[int]:
        lines = self.written.split(b"\r\n")
        assert lines.pop() == b""
        return [int(line[:3]) for line in lines if line[3:4] == b" "]


def serve(pieces: list[bytes], profile: Profile | None = None) -> tuple[list[int], Tally]:
    tally, stream = Tally(keep_pairs=True), ScriptedStream(pieces)
    Sink(tally, profile=profile, chance=random.Random(1)).serve(cast(Stream, stream))
    assert stream.closed and tally.open == 0
    return stream.codes(), tally


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 10_000])
def test_however_the_octets_are_cut(size: int) -> None:
    codes, tally = serve([SESSION[n : n + size] for n in range(0, len(SESSION), size)])
    assert codes == CODES
    assert (tally.connections, tally.messages, tally.recipients, tally.unmarked, tally.broken) == (1, 2, 3, 1, 0)
    assert tally.pairs == {"r1-0000000001 a@Y.example": 1, "r1-0000000001 b@z": 1}
    assert tally.domains == {"y.example": 1, "z": 2}
    assert tally.octets == len(b"X-Id: r1-0000000001-0000000001000000\r\n\r\nbody\r\n..dot\r\n")


def test_half_a_message_is_none() -> None:
    codes, tally = serve([SESSION[: SESSION.index(b"..dot")]])
    assert codes == CODES[:6] and (tally.messages, tally.broken) == (0, 1)


def test_only_the_true_end_ends() -> None:
    body = b"a\n.\nb\r.\rc\r\n.\nd\n.\r\ne\r\n.x\r\n.\r\n"
    codes, tally = serve([b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n", body, b"QUIT\r\n"])
    assert codes == [220, 250, 250, 354, 250, 221] and tally.octets == len(body) - 3


def test_refused_recipients_leave_nothing_to_send() -> None:
    codes, tally = serve([SESSION], {"rcpt": Rule(defer=1.0)})
    assert codes[:6] == [220, 250, 250, 450, 450, 554] and tally.messages == 0 and tally.deferred == 3


@pytest.mark.parametrize(
    ("phase", "rule", "codes"),
    [
        ("connect", Rule(reject=1.0), [554]),
        ("ehlo", Rule(defer=1.0), [220, 421]),
        ("connect", Rule(disconnect=1.0), []),
        ("dot", Rule(disconnect=1.0), [220, 250, 250, 250, 250, 354]),
        ("mail", Rule(disconnect=1.0), [220, 250]),
    ],
)
def test_refusals_that_end_the_session(phase: str, rule: Rule, codes: list[int]) -> None:
    said, tally = serve([SESSION], {phase: rule})
    assert said == codes and tally.messages == 0
    assert tally.deferred + tally.rejected + tally.disconnected == 1


def test_shares_repeat_with_the_seed() -> None:
    session = b"EHLO c\r\n" + b"MAIL FROM:<s@x>\r\n" * 1000 + b"QUIT\r\n"
    one, two = serve([session], {"mail": Rule(defer=0.2)}), serve([session], {"mail": Rule(defer=0.2)})
    assert one[0] == two[0] and 150 < one[1].deferred < 250


def test_endless_line_ends_the_session() -> None:
    codes, _ = serve([b"x" * 60_000, b"x" * 60_000, b"\r\n"])
    assert codes == [220]
