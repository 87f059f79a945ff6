"""The sink's session over a stream that is a script: what the client sends, piece by piece; what comes back."""

import random
import ssl
from typing import cast

import pytest

from fastrelay.load.limits import Limits
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
        self.peer = ("192.0.2.1", 1)
        self.handshakes: list[bytes] = []  # what had been written before each

    def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    read_waiting_first = read

    def write(self, octets: bytes) -> None:
        self.written += octets

    def expire_in(self, seconds: float) -> None:
        assert seconds > 0

    def write_nowait(self, octets: bytes) -> bool:
        self.write(octets)
        return True

    def start_tls(self, context: object, *, server_side: bool) -> None:
        assert server_side
        self.handshakes.append(self.written)

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


def talk(octets: bytes, limits: Limits) -> tuple[list[int], Tally]:
    tally, stream = Tally(), ScriptedStream([octets])
    Sink(tally, limits=limits).serve(cast(Stream, stream))
    return stream.codes(), tally


def test_recipients_above_the_limit_are_put_off_and_the_message_goes_to_the_others() -> None:
    three = b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n.\r\nQUIT\r\n"
    codes, tally = talk(three, Limits(recipients=2))
    assert codes == [220, 250, 250, 250, 452, 354, 250, 221]
    assert (tally.recipients, tally.limited, tally.deferred) == (2, 1, 0)
    assert talk(three, Limits(recipients=3))[1].limited == 0


def test_a_second_domain_is_put_off() -> None:
    mixed = b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@X>\r\nDATA\r\n.\r\n"
    mixed += b"MAIL FROM:<>\r\nRCPT TO:<b@y>\r\n"
    codes, tally = talk(mixed, Limits(one_domain=True))
    assert codes == [220, 250, 250, 451, 250, 354, 250, 250, 250] and tally.limited == 1


@pytest.mark.parametrize(("words", "last"), [(b"421 4.7.0 enough\r\n", [421]), (b"", [])])
def test_after_the_most_messages_the_connection_ends(words: bytes, last: list[int]) -> None:
    one = b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n"
    codes, tally = talk(one * 3 + b"QUIT\r\n", Limits(messages=2, enough=words))
    assert codes == [220, *[250, 250, 354, 250] * 2, *last]
    assert (tally.messages, tally.limited, tally.broken) == (2, 1, 0)


def test_one_connection_too_many_is_told_and_not_counted_in() -> None:
    tally = Tally()
    sink = Sink(tally, limits=Limits(per_client=1))
    second = ScriptedStream([])

    class Meeting(ScriptedStream):
        """While it is served another one comes."""

        def read_waiting_first(self) -> bytes:
            sink.serve(cast(Stream, second))
            return b""

    sink.serve(cast(Stream, Meeting([])))
    assert second.codes() == [421] and second.closed
    assert (tally.connections, tally.throttled, tally.peak, tally.open) == (2, 1, 1, 0)
    third = ScriptedStream([b"QUIT\r\n"])
    sink.serve(cast(Stream, third))
    assert third.codes() == [220, 221] and tally.throttled == 1


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_starttls_is_offered_once_and_what_came_before_it_is_void() -> None:
    tally = Tally()
    stream = ScriptedStream([b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<injected@x>\r\n", b"EHLO c\r\nSTARTTLS\r\nQUIT\r\n"])
    Sink(tally, tls=CONTEXT).serve(cast(Stream, stream))
    assert stream.codes() == [220, 250, 220, 250, 500, 221] and tally.encrypted == 1
    (before,) = stream.handshakes
    assert b"250 STARTTLS\r\n" in before and before.endswith(b"220 2.0.0 Ready\r\n")
    assert b"STARTTLS" not in stream.written[len(before) :]


def test_implicit_tls_comes_before_the_greeting() -> None:
    stream = ScriptedStream([b"QUIT\r\n"])
    Sink(Tally(), tls=CONTEXT, implicit=True).serve(cast(Stream, stream))
    assert stream.handshakes == [b""] and stream.codes() == [220, 221]


def test_without_a_certificate_there_is_no_starttls() -> None:
    codes, _ = serve([b"EHLO c\r\nSTARTTLS\r\nQUIT\r\n"])
    assert codes == [220, 250, 500, 221]
