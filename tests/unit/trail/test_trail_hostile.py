"""Whatever a stranger writes: the room raises nothing but Unreadable, and takes time in proportion to what it reads.

Time is not measured but counted, in lines of Python and characters handed to patterns: doubling the input may not do
more than a little over double the work.
"""

import contextlib
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.trail.fields import MAX_FIELD, Unreadable, received_fields
from fastrelay.trail.judge import judge
from fastrelay.trail.parse import hop
from tests.peers.trails import CHAINS

BODIES = [body for chain in CHAINS.values() for body in chain]
PIECES = [
    "from", "by", "via", "with", "id", "for", ";", "(", ")", "[", "]", "<", ">", '"', "=", "helo=", "HELO", "EHLO",
    "127.0.0.1", "[203.0.113.1]", "300.1.2.3", "IPv6:2001:db8::1", "::ffff:1.2.3.4", "%", "a.example.com", "unknown",
    "(Postfix)", "(Exim 4.96)", "(8.14.4/8.14.4)", "15.20.1.2", "g8N5D2C01926", "1qZ9aB-000123-0K", "mx.google.com",
    "Wed, 25 Nov 2026 12:00:00 +0000", "2023-06-21", "22:33:15.07", "+9999", "\x00", "é", "٣", "\u2028", ",", "..", "-",
]  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.text(max_size=150), min_size=1, max_size=5))
def test_any_text_is_judged(bodies: list[str]) -> None:
    judge(bodies, now=0.0)


@settings(max_examples=150)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join), min_size=1, max_size=4))
def test_any_order_of_what_programs_write_is_judged(bodies: list[str]) -> None:
    judge(bodies, now=1e9)


@settings(max_examples=100)
@given(st.sampled_from(BODIES), st.integers(0, 300), st.integers(0, 30), st.sampled_from(PIECES))
def test_a_genuine_line_with_a_hole_or_a_splinter_is_judged(body: str, place: int, size: int, piece: str) -> None:
    judge([body[:place] + piece + body[place + size :], body])


@settings(max_examples=100)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"Received: ", b"Received: from a (", b"Subject: x\r\nReceived:\r\n\t"]),
)
def test_any_octets_are_judged_or_unreadable(octets: bytes, before: bytes) -> None:
    with contextlib.suppress(Unreadable):
        judge(received_fields(before + octets))


@pytest.mark.parametrize("number", [10**400, 10**4000, "٣" * 50, "²" * 4])
def test_numbers_beyond_every_bound(number: Any) -> None:
    for text in (
        "by b; {0} Nov {0} 12:00:00 +{0}",
        "from [{0}.1.2.3] by b id {0}",
        "by mx id a1b.{0}.{0}; {0}-{0}-{0}",
    ):
        hop(text.format(str(number)[:MAX_FIELD] if isinstance(number, str) else format_of(number)))


def format_of(number: int) -> str:
    return "9" * min(number.bit_length(), 4000)


# -- bounded work -----------------------------------------------------------------------------------------------------


def steps(body: str) -> int:
    """Lines of Python run to judge a chain of this one field."""
    count = 0

    def tell(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return tell

    before = sys.gettrace()
    sys.settrace(tell)
    try:
        judge([body])
    finally:
        sys.settrace(before)
    return count


HOSTILE = [
    "(", ")", "((", "(a(", "[", "[[1.", "<", '"', ";", "; Mon", "from ", "by ", "from a by b ", "id ", "a", "a.", "1.",
    "-1", "1-1-", ":", "::", "helo=", "(HELO ", "(x [1.2.3.4] ", "0", "8.1", "(8.", "a" * 50 + " ", "Wed ", "=", "%",
    "0000-00-00 ",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_twice_the_text_is_about_twice_the_work(piece: str) -> None:
    small = (piece * MAX_FIELD)[: MAX_FIELD // 2]
    large = (piece * MAX_FIELD)[:MAX_FIELD]
    assert steps(large) < 2.6 * steps(small) + 2000
    assert steps(large) < 60 * MAX_FIELD


def test_a_whole_section_of_hostile_fields_is_read_once() -> None:
    head = b"".join(b"Received: " + (piece * 5000).encode()[:5000] + b"\r\n" for piece in HOSTILE)
    judge(received_fields(head))
