"""Replies of a peer: the same however they are cut, bounded, printable; what is no reply is a PeerError."""

import random

import pytest

from fastrelay.errors import PeerError
from fastrelay.mail.reply import Reply
from fastrelay.smtp.replies import MAX_LINE, MAX_LINES, MAX_REPLY, ReplyReader


def read(octets: bytes, cuts: list[int]) -> tuple[list[Reply], bool]:
    reader = ReplyReader()
    got: list[Reply] = []
    start = 0
    for end in [*cuts, len(octets)]:
        if end > start:
            reader.feed(octets[start:end])
        start = end
        while (one := reader.take()) is not None:
            got.append(one)
    return got, reader.surplus


GOOD = [
    (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", ("Ok",))),
    (b"250 Ok\r\n", Reply(250, "", ("Ok",))),
    (b"250 2.1.0\r\n", Reply(250, "2.1.0", ("",))),
    (b"250\r\n", Reply(250, "", ("",))),
    (b"354 \r\n", Reply(354, "", ("",))),
    (b"220 mx.example ESMTP\n", Reply(220, "", ("mx.example ESMTP",))),
    (b"250 4.1.0 class of another reply\r\n", Reply(250, "", ("4.1.0 class of another reply",))),
    (b"250 2.1.0x Ok\r\n", Reply(250, "", ("2.1.0x Ok",))),
    (b"250 2.1 Ok\r\n", Reply(250, "", ("2.1 Ok",))),
    (b"250 2.1.1000 Ok\r\n", Reply(250, "", ("2.1.1000 Ok",))),
    (b"250-mx.example\r\n250-SIZE 1000\r\n250 8BITMIME\r\n", Reply(250, "", ("mx.example", "SIZE 1000", "8BITMIME"))),
    (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1", ("no such", "user"))),
    (b"550-no such\r\n550 5.1.1 user\r\n", Reply(550, "5.1.1", ("no such", "user"))),
    (b"250-\r\n250 end\r\n", Reply(250, "", ("", "end"))),
    (b"550 5.7.1 caf\xc3\xa9\r\n", Reply(550, "5.7.1", ("caf\xe9",))),
    (b"550 5.7.1 \xff\x00\x1b[2J\rSubject: y\tz\r\n", Reply(550, "5.7.1", ("\ufffd??[2J?Subject: y z",))),
]


@pytest.mark.parametrize(("octets", "wanted"), GOOD)
def test_each_form_whole_and_cut_at_every_octet(octets: bytes, wanted: Reply) -> None:
    assert read(octets, []) == ([wanted], False)
    for cut in range(len(octets)):
        assert read(octets, [cut]) == ([wanted], False)
    assert read(octets, list(range(len(octets)))) == ([wanted], False)


def test_a_pipelined_stream_cut_at_random(chance: random.Random) -> None:
    octets = b"".join(one for one, _ in GOOD)
    for _ in range(200):
        cuts = sorted(chance.randrange(len(octets)) for _ in range(chance.randrange(12)))
        assert read(octets, cuts) == ([wanted for _, wanted in GOOD], False)


def test_surplus_is_seen_and_cleared() -> None:
    reader = ReplyReader()
    reader.feed(b"250 Ok\r\n250-and ")
    assert reader.take() == Reply(250, "", ("Ok",))
    assert reader.surplus
    assert reader.take() is None
    reader.clear()
    assert not reader.surplus
    reader.feed(b"220 ready\r\n")
    assert reader.take() == Reply(220, "", ("ready",))


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"850 no such code\r\n",
        b"150 preliminary\r\n",
        b"25\r\n",
        b"2500\r\n",
        b"250_Ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"250-one\r\n550 two\r\n",
        "２５０ full width\r\n".encode(),
    ],
)
def test_what_is_no_reply(octets: bytes) -> None:
    for cuts in ([], list(range(len(octets)))):
        with pytest.raises(PeerError):
            read(octets, cuts)


def test_a_long_line_is_cut_and_the_dialogue_goes_on() -> None:
    octets = b"550 " + b"x" * 9_000 + b"\r\n250 Ok\r\n"
    for cuts in ([], [1_000, 3_000, 9_004, 9_005], list(range(0, len(octets), 7))):
        got, surplus = read(octets, cuts)
        assert [one.code for one in got] == [550, 250]
        assert got[0].text == "x" * (MAX_LINE - 4)
        assert not surplus


def test_a_long_line_is_cut_alike_where_a_bare_cr_stands_at_the_limit() -> None:
    octets = b"250 " + b"x" * (MAX_LINE - 5) + b"\rz\r\n"
    whole = read(octets, [])
    assert whole[0][0].text == "x" * (MAX_LINE - 5) + "?"
    for cut in (MAX_LINE, MAX_LINE + 1, MAX_LINE + 2):
        assert read(octets, [cut]) == whole


def test_lines_and_octets_are_bounded() -> None:
    most = b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n"
    assert len(read(most, [])[0][0].lines) == MAX_LINES
    with pytest.raises(PeerError, match="more than 128 lines"):
        read(b"250-x\r\n" + most, [])
    with pytest.raises(PeerError, match="longer than 65536"):
        read(b"250 " + b"x" * MAX_REPLY + b"\r\n", [])


def test_an_endless_reply_ends_early_and_holds_little() -> None:
    for piece in (b"250-" + b"y" * 500 + b"\r\n", b"250 " + b"z" * 5_000, b"z"):
        reader = ReplyReader()
        fed = 0
        with pytest.raises(PeerError):
            while fed < 10 * MAX_REPLY:
                reader.feed(piece)
                fed += len(piece)
                assert reader.take() is None
        assert fed <= MAX_REPLY + len(piece)


@pytest.mark.parametrize("tail", [b"", b"550 5.1.1 no", b"x" * 40])
def test_the_end_of_a_cut_line_is_remembered_as_nothing(tail: bytes) -> None:
    """What is known of lines is shared by all connections: one host must not teach it what the words of others mean."""
    reader = ReplyReader()
    reader.feed(b"250 " + b"y" * 2 * MAX_LINE)
    assert reader.take() is None
    reader.feed(tail + b"\r\n")
    long = reader.take()
    assert long is not None and long.code == 250 and len(long.text) == MAX_LINE - 4
    other = ReplyReader()
    other.feed(b"550 5.1.1 no\r\n")
    assert other.take() == Reply(550, "5.1.1", ("no",))
    for line in (b"\r\n", b"x" * 40 + b"\r\n"):
        with pytest.raises(PeerError):
            read(line, [])
