"""What a worker has in hand, as others read it."""

from collections.abc import Iterator

import pytest

from fastrelay.process.heartbeat import CELLS, Page
from fastrelay.process.inhand import InHand


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page.create(1)
    made.claim(0, 0.0)
    yield made
    made.close()


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_each_is_named_while_it_is_in_hand(page: Page) -> None:
    hand = InHand(page)
    first, second = hand.begin(ident(1)), hand.begin(ident(2))
    assert set(page.row(0).idents) == {ident(1), ident(2)} and page.row(0).alone == b""
    hand.end(first, ident(1))
    assert page.row(0).idents == (ident(2),)
    hand.alone(ident(2))
    assert page.row(0).alone == ident(2)
    hand.end(second, ident(2))
    hand.alone(b"")
    assert page.row(0).idents == () and page.row(0).alone == b""


def test_of_too_many_the_last_are_named_and_an_end_takes_no_others_name(page: Page) -> None:
    hand = InHand(page)
    cells = [hand.begin(ident(number)) for number in range(1, CELLS + 10)]
    last = {ident(number) for number in range(11, CELLS + 10)}
    assert set(page.row(0).idents) == last
    hand.end(cells[0], ident(1))
    assert set(page.row(0).idents) == last, "its cell names another"
    for number, cell in enumerate(cells, 1):
        hand.end(cell, ident(number))
    assert page.row(0).idents == ()
