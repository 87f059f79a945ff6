"""fitting.py: what a host cannot take is known before MAIL; what only claims to need an extension goes through."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from fastrelay.config import Delivery
from fastrelay.delivery.downgrade import MAX_SIZE
from fastrelay.delivery.fitting import Fitted, Misfit, fit
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.smtp.offer import Offer

ASCII = (b"Received: here\r\n", b"Subject: x\r\n\r\nhello\r\n")
BODY8 = (b"Received: here\r\n", b"Subject: x\r\n\r\nh\xc3\xa9llo\r\n")
HEADER8 = (b"Received: here\r\n", b"Subject: \xc3\xa9\r\n\r\nhello\r\n")
RETURN = Delivery(without_8bitmime="return")
NOTHING = Offer()
EIGHT, UTF8 = {"body": "8BITMIME"}, {"smtputf8": True}


def words(
    offer: Offer,
    parts: Sequence[bytes] = ASCII,
    recipients: Sequence[str] = ("b@example",),
    size: int = 100,
    sender: str = "a@example",
    settings: Delivery = RETURN,
    **envelope: Any,
) -> str:
    message = Envelope(sender, tuple(map(Recipient, recipients)), 0.0, **envelope)
    found = fit(offer, message, recipients, parts, size, "mx.example", settings)
    if not isinstance(found, Misfit):
        return ""
    assert list(found.positions) == list(range(len(recipients)))
    return str(found.reply)


@pytest.mark.parametrize(
    ("most", "size", "fits"), [(0, 10**9, True), (100, 100, True), (100, 101, False), (100, 1, True)]
)
def test_size(most: int, size: int, fits: bool) -> None:
    said = words(Offer(size_offered=True, size=most), size=size)
    assert said == ("" if fits else f"552 5.3.4 the message has {size} octets, mx.example takes {most}")


@pytest.mark.parametrize(
    ("asked", "offered", "parts", "fits"),
    [
        (EIGHT, False, BODY8, False),
        (EIGHT, False, HEADER8, False),
        (EIGHT, False, (b"\xe9", b"ascii"), False),
        (EIGHT, False, ASCII, True),  # it only said so
        (EIGHT, True, BODY8, True),
        ({}, False, BODY8, True),  # nobody asked: as it came, so it goes
    ],
)
def test_eight_bits(asked: dict[str, Any], offered: bool, parts: Sequence[bytes], fits: bool) -> None:
    said = words(Offer(eightbit=offered), parts, **asked)
    assert said == ("" if fits else "554 5.6.3 the message has 8-bit content, mx.example takes none")


@pytest.mark.parametrize(
    ("asked", "offered", "parts", "recipient", "sender", "fits"),
    [
        pytest.param(UTF8, False, ASCII, "b@example", "a@example", True, id="it only said so"),
        pytest.param(UTF8, False, ASCII, "bö@example", "a@example", False, id="recipient"),
        pytest.param(UTF8, False, ASCII, "b@example", "ä@example", False, id="sender"),
        pytest.param(UTF8, False, HEADER8, "b@example", "a@example", False, id="header"),
        pytest.param(UTF8, False, (b"H: \xe9\r\n", b"S: x\r\n\r\nx\r\n"), "b@example", "a@example", False, id="prefix"),
        pytest.param(UTF8, False, BODY8, "b@example", "a@example", True, id="body alone"),
        pytest.param(UTF8, False, (b"H: x\r\n", b"\r\n\xe9\r\n"), "b@example", "a@example", True, id="no own header"),
        pytest.param(
            UTF8, False, (b"H: x\r\n\r", b"\n\xe9\r\n\r\nz"), "b@example", "a@example", True, id="cut in the blank line"
        ),
        pytest.param(
            UTF8, False, (b"H: x\r\n", b"\r\n\xe9\r\n\r\nz"), "b@example", "a@example", True, id="a later blank line"
        ),
        pytest.param(UTF8, False, (b"H: x\r\n", b"\xe9"), "b@example", "a@example", False, id="header without an end"),
        pytest.param(UTF8, True, HEADER8, "bö@example", "ä@example", True, id="offered"),
        pytest.param({}, False, HEADER8, "b@example", "a@example", True, id="nobody asked"),
    ],
)
def test_beyond_ascii(
    asked: dict[str, Any], offered: bool, parts: Sequence[bytes], recipient: str, sender: str, fits: bool
) -> None:
    said = words(Offer(smtputf8=offered), parts, [recipient], sender=sender, **asked)
    assert said == ("" if fits else "553 5.6.7 the message has addresses beyond ASCII, mx.example takes none")


@pytest.mark.parametrize(
    ("sender", "parts", "positions"),
    [("a@example", ASCII, [1, 3]), ("ä@example", ASCII, [0, 1, 2, 3]), ("a@example", HEADER8, [0, 1, 2, 3])],
)
def test_a_recipient_beyond_ascii_is_no_reason_to_refuse_the_others(
    sender: str, parts: Sequence[bytes], positions: list[int]
) -> None:
    to = ["a@example", "ö@example", "b@example", "ü@example"]
    message = Envelope(sender, tuple(map(Recipient, to)), 0.0, smtputf8=True)
    found = fit(Offer(), message, to, parts, 100, "mx.example", RETURN)
    assert isinstance(found, Misfit) and list(found.positions) == positions


def test_parts_behind_the_header_are_not_drawn() -> None:
    """They may lie in a file."""

    class Drawn(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield from self[:2]
            raise AssertionError("the body was read")

    parts = Drawn([b"Received: here\r\n", b"Subject: x\r\n\r\nhello", b"more"])
    assert words(Offer(), parts, smtputf8=True) == ""


# -- made to fit ------------------------------------------------------------------------------------------------------


def fitted(
    parts: Sequence[bytes] = ASCII,
    offer: Offer = NOTHING,
    to: str = "b@example",
    sender: str = "a@example",
    **more: Any,
) -> Misfit | Fitted | None:
    settings = Delivery(without_8bitmime=more.pop("without", "convert"))
    message = Envelope(sender, (Recipient(to),), 0.0, **more)
    return fit(offer, message, [to], parts, sum(map(len, parts)), "mx.example", settings)


def test_8bit_content_is_converted() -> None:
    found = fitted(BODY8, **EIGHT)
    assert (
        isinstance(found, Fitted)
        and found.converted
        and (found.sender, found.recipients) == ("a@example", ["b@example"])
    )
    (content,) = found.parts
    assert content.startswith(b"Received: here\r\nSubject: x\r\n") and content.isascii() and len(content) == found.size
    assert fitted(BODY8, Offer(eightbit=True), **EIGHT) is None
    assert fitted(ASCII, **EIGHT) is None
    assert fitted(BODY8, without="send", **EIGHT) is None
    assert fitted(BODY8) is None, "nobody said so, it goes as it came"


def test_what_cannot_be_converted_returns_with_the_reason() -> None:
    signed = (b"DKIM-Signature: v=1\r\n", *BODY8[1:])
    found = fitted(signed, **EIGHT)
    assert isinstance(found, Misfit) and list(found.positions) == [0]
    assert str(found.reply) == (
        "554 5.6.3 the message has 8-bit content, mx.example takes none; it cannot be converted: a signature covers it"
    )
    large = (b"Subject: x\r\n\r\n", b"\xc3\xa9" * (MAX_SIZE // 2))
    found = fitted(large, **EIGHT)
    assert isinstance(found, Misfit) and "it has more than 2 MiB" in found.reply.text


def test_converted_it_may_be_too_large() -> None:
    size = sum(map(len, BODY8))
    found = fitted(BODY8, Offer(size_offered=True, size=size + 5), **EIGHT)
    assert isinstance(found, Misfit) and found.reply.enhanced == "5.3.4"
    assert isinstance(fitted(BODY8, Offer(size_offered=True, size=size + 500), **EIGHT), Fitted)


def test_a_domain_beyond_ascii_has_a_form_within() -> None:
    """RFC 5890 2.3.2.1: both mean the same; a local part has one form alone."""
    found = fitted(to="b@bücher.example", sender="a@müller.example", **UTF8)
    assert found == Fitted("a@xn--mller-kva.example", ["b@xn--bcher-kva.example"], ASCII, sum(map(len, ASCII)), False)
    assert fitted(ASCII, Offer(smtputf8=True), to="b@bücher.example", **UTF8) is None
    found = fitted(to="bö@bücher.example", **UTF8)
    assert isinstance(found, Misfit) and found.reply.enhanced == "5.6.7"
    found = fitted(to="b@bücher.example", sender="ä@müller.example", **UTF8)
    assert isinstance(found, Misfit) and found.reply.enhanced == "5.6.7"


def test_both_at_once() -> None:
    found = fitted(BODY8, to="b@bücher.example", **EIGHT, **UTF8)
    assert isinstance(found, Fitted) and found.converted and found.recipients == ["b@xn--bcher-kva.example"]
