"""What a peer says, under any octets in any pieces: replies or one PeerError, the same ones, bounded and printable; and
the client machine behind it: no reply is credited to a command that was not sent."""

import re
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.errors import PeerError
from fastrelay.mail.reply import Reply
from fastrelay.smtp.client import Client, State
from fastrelay.smtp.replies import MAX_LINE, MAX_LINES, MAX_REPLY, ReplyReader
from tests.fuzz.effort import effort

CODES = [b"250", b"220", b"354", b"421", b"550", b"450", b"199", b"600", b"25", b"2500", b"abc"]
LONG = [b"x" * MAX_LINE, b"y" * (MAX_LINE - 6), b"y" * (MAX_LINE - 5) + b"\rz", b"x" * 100]
TEXTS = [
    b"",
    b"Ok",
    b"2.1.0 Ok",
    b"5.1.1 no such user",
    b"2.1",
    b"2.1.1000 x",
    b"\xff\x00\x1b[2J",
    "caf\u00e9".encode(),
]
TEXTS += [b"x\ry", b"PIPELINING", b"SIZE 1000", b"STARTTLS", b"\r" * 3, *LONG]
LINES = st.tuples(
    st.sampled_from(CODES), st.sampled_from([b" ", b" ", b"-", b"", b"\t"]), st.sampled_from(TEXTS),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\r\n", b""]),
).map(b"".join)  # fmt: skip
GOOD = st.sampled_from(
    [b"250 Ok\r\n", b"250-one\r\n250 two\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 4.3.2 bye\r\n"]
)
SAID = st.lists(GOOD | LINES | st.binary(max_size=20), max_size=10).map(b"".join)
FLOOD = st.tuples(
    st.sampled_from([b"250-x\r\n", b"250-" + b"y" * 500 + b"\r\n", b"z" * 1000]), st.integers(1, 300)
).map(lambda one: one[0] * one[1])
SIZES = st.lists(st.integers(1, 30), max_size=60) | st.lists(st.integers(1, 5000), max_size=20)

PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    at = [0, *(n for n in accumulate(sizes) if n < len(octets)), len(octets)]
    return [octets[a:b] for a, b in pairwise(at) if a < b]


def read(pieces: list[bytes]) -> tuple[list[Reply], bool]:
    """The replies, and whether it ended as no reply; memory is looked at after each piece."""
    reader = ReplyReader()
    got: list[Reply] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (one := reader.take()) is not None:
                got.append(one)
        except PeerError as error:
            assert PRINTABLE.match(str(error))
            return got, True
        kept = len(reader._buffer) - reader._at + sum(map(len, reader._lines)) + len(reader._cut or b"")
        assert kept <= MAX_REPLY + MAX_LINE and len(reader._lines) <= MAX_LINES
        assert len(reader._buffer) - reader._at <= MAX_LINE, "of a line whose end has not come"
    return got, False


@effort(250)
@given(SAID | FLOOD | st.tuples(SAID, FLOOD, SAID).map(b"".join), SIZES)
def test_replies_are_the_same_however_they_are_cut(octets: bytes, sizes: list[int]) -> None:
    got, broken = read([octets] if octets else [])
    for reply in got:
        assert 200 <= reply.code <= 599 and reply.lines
        assert all(PRINTABLE.match(line) for line in reply.lines)
        assert re.fullmatch(r"([245]\.\d{1,3}\.\d{1,3})?", reply.enhanced) or reply.code // 100 == 3
        assert sum(map(len, reply.lines)) <= MAX_REPLY and len(reply.lines) <= MAX_LINES
    assert read(cut(octets, sizes)) == (got, broken)
    assert read([piece for piece in re.split(rb"(?=\n)", octets) if piece]) == (got, broken), "cut before each LF"


@effort(150)
@given(st.lists(st.tuples(SAID, SIZES), max_size=6), st.integers(1, 4))
def test_a_client_ends_in_a_value_or_a_protocol_error(talk: list[tuple[bytes, list[int]]], count: int) -> None:
    client = Client("relay.example")
    sent = 1  # replies due: the banner
    try:
        for octets, sizes in [(b"220 x\r\n", []), (b"250 PIPELINING\r\n", []), *talk]:
            for piece in cut(octets, sizes):
                sent += client.receive(piece).count(b"\n")
                assert client.answered <= sent, "a reply without a command"
                if client.state is State.CONTENT:
                    wire = b"".join(client.content([b"Subject: x\r\n\r\n.\r\n"]))
                    assert wire.endswith(b"\r\n..\r\n.\r\n")
                    client.sent()
                    sent += 1
                elif client.state is State.READY:
                    assert None not in client.verdicts or client._open is False
                    sent += client.begin("a@x.example", [f"b{n}@y.example" for n in range(count)]).count(b"\n")
                if client.state is State.CLOSED:
                    return
    except PeerError as error:
        assert PRINTABLE.match(str(error))
