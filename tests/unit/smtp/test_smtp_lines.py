"""smtp/lines.py: what is kept between two reads."""

import pytest

from fastrelay.smtp.lines import MAX_LINE, OVERLONG, Lines


def taken(lines: Lines) -> list[bytes]:
    found = []
    while (line := lines.take()) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize("rest", [b"", b"NO", b"\r", b"x" * (MAX_LINE - 2)])
def test_what_was_used_is_let_go(rest: bytes) -> None:
    lines = Lines()
    lines.feed(b"NOOP\r\n" * 1000 + rest)
    assert taken(lines) == [b"NOOP"] * 1000
    assert lines._octets == rest and lines.pending == bool(rest)
    lines.feed(b"OP\r\n")
    expected = rest + b"OP" if len(rest) + 2 <= MAX_LINE - 2 else OVERLONG
    assert taken(lines) == [expected]


def test_a_reader_of_chunks_takes_no_more_than_it_may() -> None:
    lines = Lines()
    lines.feed(b"BDAT 5\r\nab\r\ncNOOP\r\n")
    assert lines.take() == b"BDAT 5"
    assert (lines.take_most(3), lines.take_most(2)) == (b"ab\r", b"\nc")
    assert taken(lines) == [b"NOOP"]
    lines.feed(b"xyz")
    assert lines.take_most(5) == b"xyz" and not lines.pending and lines.take_most(5) == b""
    lines.feed(b"BDAT 3\r\nxyz")
    assert (lines.take(), lines.take_most(3)) == (b"BDAT 3", b"xyz") and lines._octets == b""


def test_what_the_reader_of_content_put_back_is_let_go_as_soon_as_it_is_used() -> None:
    lines, octets = Lines(), b"x" * 60_000 + b"\r\n.\r\nNOOP\r\nMA"
    lines.put_back(octets, 60_005)
    assert taken(lines) == [b"NOOP"] and lines._octets == b"MA"


@pytest.mark.parametrize("octets", [b"x" * 60_000, b"x" * 60_000 + b"\r", b"NOOP\r\n" + b"x" * 60_000])
def test_of_a_line_that_is_too_long_nothing_is_kept_but_the_half_of_its_end(octets: bytes) -> None:
    lines = Lines()
    lines.feed(octets)
    taken(lines)
    assert lines._octets == (b"\r" if octets.endswith(b"\r") else b"")
    lines.feed(b"\r\nNOOP\r\n" if not octets.endswith(b"\r") else b"\nNOOP\r\n")
    assert [line is OVERLONG or line for line in taken(lines)] == [True, b"NOOP"]
