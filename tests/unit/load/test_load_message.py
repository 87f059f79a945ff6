import random

import pytest

from fastrelay.load.message import Maker, Mark, find_mark

MAKER = Maker("a@b.example", run="00c0ffee")


def content(size: int, maker: Maker = MAKER) -> bytes:
    wire = b"".join(maker.wire(7, 12.5, size))
    assert wire.endswith(b"\r\n.\r\n")
    return wire[:-3]


@pytest.mark.parametrize("size", [*range(MAKER.fewest, MAKER.fewest + 240), 5000, 100_000, 3_000_000])
def test_exactly_the_size_and_clean(size: int) -> None:
    found = content(size)
    assert len(found) == (size if size != MAKER.fewest + 1 else size - 1)
    assert b"\n." not in found and found.count(b"\r") == found.count(b"\n") == found.count(b"\r\n")
    assert max(map(len, found.split(b"\r\n"))) <= 998


def test_any_order_of_sizes(chance: random.Random) -> None:
    maker = Maker("a@b.example", run="00c0ffee")
    for _ in range(300):
        size = chance.choice([chance.randrange(400, 20_000), chance.randrange(400, 2_000_000)])
        assert len(content(size, maker)) == size


def test_too_small_is_the_smallest() -> None:
    assert len(content(0)) == MAKER.fewest


def test_mark_is_found_below_trace_fields() -> None:
    assert find_mark(b"Received: from x by y; today\r\n" * 20 + content(5000)) == Mark(MAKER.ident(7), 12.5)


@pytest.mark.parametrize("content", [b"", b"X-Id: ", b"X-Id: a-b-c\r\n", b"X-Id: 1-2\r\n", b"Subject: none\r\n\r\nx"])
def test_no_mark(content: bytes) -> None:
    assert find_mark(content) is None
