"""smtp/data.py: one end of data and no other, however the octets are cut; what goes out comes back in the same."""

import random

import pytest

from fastrelay.smtp.data import _WINDOW, MAX_TEXT_LINE, Decoder, stuff, stuff_pieces
from tests.peers.machine import decode


def bytewise(octets: bytes) -> list[bytes]:
    return [octets[n : n + 1] for n in range(len(octets))]


WHOLE = [
    (b".\r\n", b"", b""),
    (b"\r\n.\r\n", b"\r\n", b""),
    (b"a\r\n.\r\n", b"a\r\n", b""),
    (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
    (b"..\r\n.\r\n", b".\r\n", b""),
    (b"...\r\n.\r\n", b"..\r\n", b""),
    (b".a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n", b""),
    (b"a\r\n..\r\n..\r\n.\r\n.\r\n", b"a\r\n.\r\n.\r\n", b".\r\n"),
    (b"a.\r\n.\r\n", b"a.\r\n", b""),
]


@pytest.mark.parametrize(("wire", "content", "rest"), WHOLE)
def test_ends_where_it_must(wire: bytes, content: bytes, rest: bytes) -> None:
    for pieces in ([wire], bytewise(wire), *([wire[:n], wire[n:]] for n in range(1, len(wire)))):
        got, behind, decoder = decode(pieces)
        assert (got, behind) == (content, rest), pieces
        assert not decoder.bare and not decoder.long


@pytest.mark.parametrize(
    "wire",
    [
        b"a\n.\n",
        b"a\n.\r\n",
        b"a\r\n.\n",
        b"a\r.\r",
        b"a\r\n.\r",
        b"a\r.\r\n",
        b"a\r\n\0.\r\n",
        b"a\r\n.\0\r\n",
        b"a\r\n.\r\r\n",
        b"a\r\r\n.\r\r\n",
        b"\n.\r\n",
        b"a\r\n. \r\n",
    ],
)
def test_nothing_else_ends_a_message(wire: bytes) -> None:
    for tail in (b"", b"more\r\n"):
        for pieces in ([wire + tail], bytewise(wire + tail)):
            assert decode(pieces)[1] is None, pieces
    _, rest, decoder = decode([wire + b"x\r\n.\r\n"])
    assert rest == b""
    bare = wire.replace(b"\r\n", b"")
    assert decoder.bare == (b"\r" in bare or b"\n" in bare)


def test_bare_newlines_are_seen_at_every_cut() -> None:
    for bad in (b"a\nb\r\n", b"a\rb\r\n", b"\n", b"\r", b"\r\r\n", b"a\r\n\n", b"a\r\n\r", b"\n\r\n", b"x\n\r"):
        wire = bad + b"z\r\n.\r\n"
        for n in range(len(wire)):
            _, rest, decoder = decode([wire[:n], wire[n:]])
            assert rest == b"" and decoder.bare, (bad, n)
        _, rest, decoder = decode(bytewise(wire))
        assert rest == b"" and decoder.bare, bad


def test_mending_leaves_only_line_ends() -> None:
    wire = b"A: 1\nB: 2\r\r\nC\r3\r\n\nx\n.\ny\r\n.\r\n"
    want = b"A: 1\r\nB: 2 \r\nC 3\r\n\r\nx\r\n.\r\ny\r\n"
    for pieces in ([wire], bytewise(wire), *([wire[:n], wire[n:]] for n in range(1, len(wire)))):
        got, rest, decoder = decode(pieces, mend=True)
        assert (got, rest) == (want, b""), pieces
        assert decoder.bare


def test_line_length_counts_crlf_but_not_the_transparency_dot() -> None:
    fits = b"x" * (MAX_TEXT_LINE - 2) + b"\r\n"
    for wire, long in (
        (fits * 3, False),
        (b"ab\r\n" + b"x" + fits, True),
        (b".." + fits[1:], False),
        (b"y" * 5_000 + b"\r\n", True),
        (fits + b"x" * 998, False),
    ):
        end = b".\r\n" if wire.endswith(b"\r\n") else b"\r\n.\r\n"
        for size in (1, 7, 999, 1000, 1001, 10_000):
            whole = wire + end
            _, rest, decoder = decode([whole[n : n + size] for n in range(0, len(whole), size)])
            assert rest == b"" and decoder.long is long, (wire[:10], size)


def test_a_whole_message_is_one_slice_and_large_pieces_pass_uncopied() -> None:
    piece = (b"x" * 76 + b"\r\n") * 100
    decoder = Decoder()
    assert decoder.feed(piece)[0] is piece
    assert decoder.feed(piece)[0] is piece


def test_reset_forgets_everything() -> None:
    decoder = Decoder()
    decoder.feed(b"a\nb" + b"x" * 2_000 + b"\r")
    assert decoder.bare and decoder.long
    decoder.reset()
    assert decoder.feed(b".\r\n") == (b"", 3) and not decoder.bare and not decoder.long


@pytest.mark.parametrize(
    ("chunks", "content", "bare"),
    [
        ([], b"", False),
        ([b""], b"", False),
        ([b".\r\n"], b".\r\n", False),
        ([b"a"], b"a\r\n", False),
        ([b"a\r", b"\n"], b"a\r\n", False),
        ([b"a\r", b"", b"\n.\r\n"], b"a\r\n.\r\n", False),
        ([b"a\r\n", b".\r\n", b"b"], b"a\r\n.\r\nb\r\n", False),
        ([b"a\r"], b"a\r\r\n", True),
        ([b"a\n", b".\n"], b"a\n.\n\r\n", True),
    ],
)
def test_chunks_keep_their_octets_and_end_in_crlf(chunks: list[bytes], content: bytes, bare: bool) -> None:
    decoder = Decoder()
    assert b"".join(map(decoder.chunk, chunks)) + decoder.finish() == content
    assert decoder.bare is bare


def test_a_message_by_data_after_one_by_chunks_begins_anew() -> None:
    decoder = Decoder()
    decoder.chunk(b"a\r")
    decoder.finish()
    decoder.reset()
    assert decoder.feed(b".\r\n") == (b"", 3)


@pytest.mark.parametrize(
    ("parts", "wire"),
    [
        ([], b".\r\n"),
        ([b""], b".\r\n"),
        ([b"a\r\n"], b"a\r\n.\r\n"),
        ([b"a"], b"a\r\n.\r\n"),
        ([b".\r\n"], b"..\r\n.\r\n"),
        ([b"a\r\n", b".b\r\n"], b"a\r\n..b\r\n.\r\n"),
        ([b"a\r", b"\n.b\r\n"], b"a\r\n..b\r\n.\r\n"),
        ([b"a", b"\r", b"\n", b".", b"\r", b"\n"], b"a\r\n..\r\n.\r\n"),
        ([b"a\r\n.\r\n.\r\n"], b"a\r\n..\r\n..\r\n.\r\n"),
        ([b"a", b".b\r\n"], b"a.b\r\n.\r\n"),
    ],
)
def test_stuffing(parts: list[bytes], wire: bytes) -> None:
    assert b"".join(stuff(parts)) == wire
    assert b"".join(octets for piece in stuff_pieces(parts) for octets in piece) == wire


@pytest.mark.parametrize("first_dot", [b"", b".", b"a.b\r\n" * 3])
def test_a_dotted_line_of_a_large_part_is_found_wherever_it_begins(first_dot: bytes) -> None:
    """The search goes from dot to dot in windows: at each edge of the first two."""
    for window in (1, 2):
        for at in range(window * _WINDOW - 8, window * _WINDOW + 8):
            part = first_dot + b"x" * (at - len(first_dot)) + b"\r\n.y" + b"z" * 2 * _WINDOW
            wire = b"".join(stuff([part], b"xx"))
            assert wire == part.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n", at
            decoder = Decoder()
            decoder.feed(b"xx")
            assert decoder.feed(wire + b"next") == (part + b"\r\n", len(wire)), at


def test_dots_that_begin_no_line_cost_no_copy_in_a_large_part() -> None:
    part = (b"a.b.c" * 15 + b"\r\n") * 1000
    assert stuff([part])[0] is part


def test_stuffing_does_not_copy_what_has_no_dots() -> None:
    part = b"Subject: x\r\n\r\nbody\r\n"
    assert stuff([part])[0] is part


def test_out_and_in_again_is_the_same(chance: random.Random) -> None:
    alphabet = [b"\r\n", b".", b"a", b"\r\n.", b"..", b"bc"]
    for _ in range(2_000):
        content = b"".join(chance.choices(alphabet, k=chance.randrange(12)))
        cuts = sorted(chance.randrange(len(content) + 1) for _ in range(3))
        parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
        wire = b"".join(stuff(parts))
        assert b"".join(octets for piece in stuff_pieces(parts) for octets in piece) == wire
        size = chance.randrange(1, 9)
        got, rest, decoder = decode([wire[n : n + size] for n in range(0, len(wire), size)])
        assert rest == b"" and not decoder.bare, content
        assert got == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")
