"""Tokens of a Received field: comments nest and may be left open, nothing is read twice."""

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.trail.words import MAX_DEPTH, Kind, tokens


def shown(text: str) -> list[tuple[str, str]]:
    return [(one.kind.name, one.text) for one in tokens(text)]


def test_words_comments_literals_and_semicolons() -> None:
    assert shown("from a (b [1.2.3.4]) [5.6.7.8]; Mon, 1") == [
        ("WORD", "from"), ("WORD", "a"), ("COMMENT", "b [1.2.3.4]"), ("LITERAL", "5.6.7.8"), ("END", ";"),
        ("WORD", "Mon"), ("WORD", "1"),
    ]  # fmt: skip


def test_comments_nest_and_stand_against_words() -> None:
    assert shown("a(b(c)d)e") == [("WORD", "a"), ("COMMENT", "b(c)d"), ("WORD", "e")]
    assert shown("x[1.2.3.4]") == [("WORD", "x"), ("LITERAL", "1.2.3.4")]


def test_a_parenthesis_without_its_partner_hides_nothing() -> None:
    assert shown("from a (b by c; d") == [
        ("WORD", "from"), ("WORD", "a"), ("WORD", "b"), ("WORD", "by"), ("WORD", "c"), ("END", ";"), ("WORD", "d"),
    ]  # fmt: skip
    assert shown("a) b ((c) d") == [("WORD", "a"), ("WORD", "b"), ("COMMENT", "c"), ("WORD", "d")]


def test_angles_and_quotes_are_one_word() -> None:
    assert shown('for <"a b"@c.example> id "x y"') == [
        ("WORD", "for"), ("WORD", '<"a b"@c.example>'), ("WORD", "id"), ("WORD", '"x y"'),
    ]  # fmt: skip
    assert shown("<no end") == [("WORD", "<"), ("WORD", "no"), ("WORD", "end")]


def test_a_quoted_parenthesis_in_a_comment_may_stand_alone() -> None:
    kinds = [one.kind for one in tokens('(a ")" b) c')]
    assert kinds[-1] is Kind.WORD


def test_offsets_lead_back_to_the_text() -> None:
    text = "by host (x); Mon"
    for one in tokens(text):
        assert text[one.at :].lstrip("([").startswith(one.text)


def test_deep_nesting_costs_no_stack() -> None:
    deep = "(" * 50_000 + "x" + ")" * 50_000
    assert len(tokens(deep)) < 10 + 50_000
    assert tokens("(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH)[0].kind is Kind.COMMENT
    beyond = "(" * 3 * MAX_DEPTH + "x" + ")" * 3 * MAX_DEPTH
    assert len(tokens(beyond)[0].text) < len(beyond) - MAX_DEPTH  # what is deeper is not remembered


@given(st.text(alphabet='ab([;])<>",. \t', max_size=200))
def test_every_token_lies_in_the_text_and_in_order(text: str) -> None:
    places = [one.at for one in tokens(text)]
    assert places == sorted(places)
    assert all(one.text.strip() in text for one in tokens(text))
