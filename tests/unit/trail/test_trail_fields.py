"""From octets to the bodies of Received fields, and from a file to the heads of its messages."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.mail.headers import MAX_HEADER
from fastrelay.trail.fields import MAX_FIELD, MAX_FIELDS, Unreadable, received_fields
from fastrelay.trail.mailbox import heads


def test_bodies_come_newest_first_and_unfolded() -> None:
    newest, oldest = b"Received: from a\r\n\tby b;\r\n  Mon\r\n", b"Received: by c; Tue\r\n"
    head = b"Return-Path: <a@b>\r\n" + newest + b"Subject: x\r\n" + oldest + b"\r\nReceived: no"
    assert received_fields(head) == ["from a by b; Mon", "by c; Tue"]


@pytest.mark.parametrize("name", [b"Received", b"received", b"RECEIVED", b"Received "])
def test_the_name_in_any_case(name: bytes) -> None:
    assert received_fields(name + b": by b; x\n") == ["by b; x"]


def test_relatives_of_the_name_do_not_count() -> None:
    head = b"X-Received: by a; 1\nReceived-SPF: pass\nReceived: by b; 2\nARC-Received: by c; 3\n"
    assert received_fields(head) == ["by b; 2"]


def test_bare_line_feeds_marks_and_mailbox_lines() -> None:
    assert received_fields(b"\xef\xbb\xbfFrom a@b Tue Sep  3 10:36:32 2002\nReceived: by b; 2\n\nx") == ["by b; 2"]
    assert received_fields(b"\r\n\r\nReceived: by b; 2\r\n") == ["by b; 2"]


def test_a_folded_field_of_another_name_is_passed_over() -> None:
    assert received_fields(b"Subject: a\n Received: by evil\nReceived: by b; 2\n") == ["by b; 2"]


def test_octets_beyond_ascii_and_controls_do_no_harm() -> None:
    assert received_fields(b"Received: by b\x1b[2J \xff\xfe (\xc3\xa9); 2\n") == ["by b [2J \ufffd\ufffd (é); 2"]


@pytest.mark.parametrize("head", [b"", b"\n", b"just words\nReceived: by b\n", b"\x00\x01\x02", b"GET / HTTP/1.1\n"])
def test_what_is_no_message_is_unreadable(head: bytes) -> None:
    with pytest.raises(Unreadable):
        received_fields(head)


def test_without_a_received_field_it_is_unreadable_too() -> None:
    with pytest.raises(Unreadable, match="no Received field"):
        received_fields(b"Subject: x\n\nReceived: by b; in the body\n")


def test_everything_is_bounded() -> None:
    bodies = received_fields(b"Received: by b; 2\n" * 500)
    assert len(bodies) == MAX_FIELDS
    assert len(received_fields(b"Received: " + b"x" * 100_000)[0]) == MAX_FIELD
    with pytest.raises(Unreadable):
        received_fields(b"Subject: x\n" + b" y\n" * MAX_HEADER + b"Received: by b\n")


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_unreadable(head: bytes) -> None:
    with contextlib.suppress(Unreadable):
        received_fields(head)


# -- files ------------------------------------------------------------------------------------------------------------


def of(octets: bytes) -> list[bytes]:
    return list(heads(io.BytesIO(octets)))


def test_one_message_is_one_head() -> None:
    assert of(b"A: 1\r\nB: 2\r\n\r\nbody\r\n\r\nFrom the body\r\n") == [b"A: 1\r\nB: 2\r\n"]
    assert of(b"A: 1\n") == [b"A: 1\n"]
    assert of(b"") == [b""]


def test_a_mailbox_is_many() -> None:
    box = b"From a Mon\nA: 1\n\nbody\nFrom here on\n\n>From quoted\n\nFrom b Tue\nA: 2\n\nx\n\nFrom c Wed\nA: 3\n"
    assert of(box) == [b"A: 1\n", b"A: 2\n", b"A: 3\n"]


def test_a_message_that_says_from_behind_an_empty_line_is_no_mailbox() -> None:
    assert of(b"A: 1\n\nbody\n\nFrom x\nA: 2\n") == [b"A: 1\n"]


def test_empty_lines_before_a_head_do_not_end_it() -> None:
    assert of(b"\n\nA: 1\n\nbody\n") == [b"A: 1\n"]


def test_bodies_and_endless_heads_are_not_kept() -> None:
    (head,) = of(b"A: 1\n" * 200_000)
    assert len(head) <= MAX_HEADER + 100
    (head,) = of(b"A: 1\n\n" + b"x" * 3_000_000)
    assert head == b"A: 1\n"
