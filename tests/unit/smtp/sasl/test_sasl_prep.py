"""SASLprep: the examples of RFC 4013 3, and what is let through on purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.smtp.sasl.prep import Unprintable, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\U0001f40e", "\U0001f40e"),  # younger than Unicode 3.2
    ],
)
def test_prepared(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["", "\u00ad", "\x07", "a\nb", "\u0627\u0031", "a\u0627b", "\ue000", "\ud800", "a\0b"])
def test_refused(text: str) -> None:
    with pytest.raises(Unprintable):
        saslprep(text)


@given(st.text(max_size=20))
def test_preparing_twice_changes_nothing(text: str) -> None:
    try:
        once = saslprep(text)
    except Unprintable:
        return
    assert once
    assert not {"\0", "\r", "\n"} & set(once)
    try:
        assert saslprep(once) == once
    except Unprintable:
        assert any(
            ord(one) > 0x2FFF or not one.isascii() for one in once
        )  # NFKC of 3.2 is not closed for young letters
