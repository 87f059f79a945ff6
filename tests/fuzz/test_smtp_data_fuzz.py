"""The dot codec under any octets in any pieces: one content, one end, nothing bare goes on (RULES: SMTP smuggling).

`model` says what a message means from RFC 5321 4.5.2 alone: cut at CRLF, the line "." ends it, a leading dot goes.
"""

import re
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.smtp.data import MAX_TEXT_LINE, Decoder, stuff
from tests.fuzz.effort import effort
from tests.peers.machine import decode

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
END = b"\r\n.\r\n"

ENDS = [b"\r\n", b"\r\n", b"\r", b"\n", b"\r\n.", b"\r\n..", b"\r\n.\r", b"\n.\n", b"\r.\r", END]
TOKENS = st.sampled_from([*ENDS, b".", b".", b".", b"..", b"\0", b"a", b"word ", b"\xff", b"x" * 998, b"x" * 500])
OCTETS = st.lists(TOKENS | st.binary(max_size=3), max_size=14).map(b"".join)
PIECES = st.lists(st.integers(1, 9), max_size=40)


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    """In pieces of these sizes, and the rest."""
    at = [0, *(n for n in accumulate(sizes) if n < len(octets)), len(octets)]
    return [octets[a:b] for a, b in pairwise(at)]


def model(octets: bytes) -> tuple[bytes, bytes] | None:
    """(content, what comes behind the end of data); None while the end has not come."""
    content = b""
    while True:
        line, crlf, octets = octets.partition(b"\r\n")
        if not crlf:
            return None
        if line == b".":
            return content, octets
        content += line.removeprefix(b".") + crlf


@effort(300)
@given(OCTETS, PIECES)
def test_any_octets_in_any_pieces_mean_what_the_rfc_says(octets: bytes, sizes: list[int]) -> None:
    content, rest, decoder = decode(cut(octets, sizes))
    meant = model(octets)
    if meant is None:
        assert rest is None
        whole = model(octets + END)  # what is certain now is the beginning of what it will be
        assert whole is not None and whole[0].startswith(content)
        return
    assert (content, rest) == meant
    assert decoder.bare == bool(BARE.search(content))
    assert decoder.long == any(len(line) > MAX_TEXT_LINE for line in re.findall(rb"[^\n]*\n", content)), "with its end"


@effort(250)
@given(OCTETS, PIECES, PIECES)
def test_what_was_mended_goes_on_without_a_bare_octet_and_ends_once(
    octets: bytes, sizes: list[int], others: list[int]
) -> None:
    content, rest, decoder = decode(cut(octets + END, sizes), mend=True)
    again, _, _ = decode([octets + END], mend=True)
    assert content == again and rest is not None, "however it is cut"
    assert not BARE.search(content) and (not content or content.endswith(b"\r\n"))
    meant = model(octets + END)
    assert meant is not None and decoder.bare == bool(BARE.search(meant[0]))
    wire = b"".join(stuff(cut(content, others)))
    assert not BARE.search(wire)
    assert (b"\r\n" + wire).find(END) == len(wire) + 2 - len(END), "one end, at the end"
    assert model(wire) == (content, b"")


@effort(300)
@given(OCTETS, PIECES, st.booleans())
def test_chunks_in_any_cut_are_their_octets_and_end_in_a_line(octets: bytes, sizes: list[int], mend: bool) -> None:
    decoder = Decoder(mend=mend)
    content = b"".join(decoder.chunk(piece) for piece in cut(octets, sizes)) + decoder.finish()
    assert decoder.bare == bool(BARE.search(octets))
    if mend:
        octets = re.sub(rb"(?<!\r)\n", b"\r\n", re.sub(rb"\r(?!\n)", b" ", octets))
    if mend or not decoder.bare:
        assert content == octets + (b"" if octets.endswith(b"\r\n") or not octets else b"\r\n")
        assert decoder.long == any(len(line) + 2 > MAX_TEXT_LINE for line in content.split(b"\r\n"))
        assert model(b"".join(stuff([content]))) == (content, b"")


@effort(250)
@given(OCTETS, PIECES, PIECES)
def test_out_and_in_again_is_the_same(octets: bytes, sizes: list[int], others: list[int]) -> None:
    content = BARE.sub(b"", octets)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    wire = b"".join(stuff(cut(content, sizes)))
    back, rest, decoder = decode(cut(wire + b"MAIL", others))
    assert (back, rest, decoder.bare) == (content, b"MAIL", False)


@effort(200)
@given(st.lists(TOKENS, max_size=8).map(b"".join), st.lists(st.integers(1, 2000), max_size=6))
def test_a_decoder_keeps_three_octets_at_most(octets: bytes, sizes: list[int]) -> None:
    decoder = Decoder()
    taken = 0
    for piece in cut(octets, sizes):
        content, rest = decoder.feed(piece)
        if rest >= 0:
            return
        taken += len(piece)
        assert len(decoder._held) <= 3 and taken - len(content) >= 0
        taken = len(decoder._held)
