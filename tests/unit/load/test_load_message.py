import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.message import Maker, Mark, find_mark


@pytest.mark.parametrize("size", [*range(200, 520), 5000, 100_000])
def test_exactly_the_size_and_clean(size: int) -> None:
    maker = Maker(size, "a@b.example", run="00c0ffee")
    content = maker.head(7, 12.5) + maker.body
    assert len(content) == size
    assert b"\n." not in content and content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 998


def test_mark_is_found_below_trace_fields() -> None:
    maker = Maker(5000, "a@b.example", run="00c0ffee")
    content = b"Received: from x by y; today\r\n" * 20 + maker.head(7, 12.5) + maker.body
    assert find_mark(content) == Mark(maker.ident(7), 12.5)


@pytest.mark.parametrize("content", [b"", b"X-Id: ", b"X-Id: a-b-c\r\n", b"X-Id: 1-2\r\n", b"Subject: none\r\n\r\nx"])
def test_no_mark(content: bytes) -> None:
    assert find_mark(content) is None


def test_too_small_says_how_small() -> None:
    with pytest.raises(MisuseError, match="at least"):
        Maker(20, "a@b.example", run="00c0ffee")
