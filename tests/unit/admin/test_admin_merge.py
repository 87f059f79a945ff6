"""Answers of several slots made one, against what one slot with all the mail would have answered."""

import random
from typing import Any

import pytest

from fastrelay.admin import merge


def paged(slot: int, idents: list[str], after: str, limit: int, budget: int) -> dict[str, Any]:
    """What a slot answers: its ids past `after`, at most `limit` rows, after `budget` looks a cursor."""
    left = [ident for ident in sorted(idents) if ident > after]
    looked = left[: min(limit, budget)]
    return {"slot": slot, "rows": [{"id": i} for i in looked], "next": looked[-1] if len(looked) < len(left) else None}


def test_walking_the_pages_sees_every_id_once_in_order(chance: random.Random) -> None:
    for _ in range(200):
        slots = [[f"{chance.randrange(10**6):06d}{slot}" for _ in range(chance.randrange(30))] for slot in range(3)]
        slots = [sorted(set(idents)) for idents in slots]
        limit = chance.randrange(1, 12)
        after: str | None = ""
        seen: list[str] = []
        while after is not None:
            answers = [paged(n, idents, after, limit, chance.randrange(1, 9)) for n, idents in enumerate(slots)]
            page = merge.lists(answers, limit)
            assert len(page["rows"]) <= limit
            assert page["next"] is None or page["next"] > after, "every page gets on"
            seen += [row["id"] for row in page["rows"]]
            after = page["next"]
        assert seen == sorted(ident for idents in slots for ident in idents)


def test_rows_say_whose_they_are() -> None:
    answers = [{"slot": 4, "rows": [{"id": "b"}], "next": None}, {"slot": 2, "rows": [{"id": "a"}], "next": None}]
    assert merge.lists(answers, 10) == {"rows": [{"id": "a", "slot": 2}, {"id": "b", "slot": 4}], "next": None}


def test_no_answers_are_an_empty_page() -> None:
    assert merge.lists([], 10) == {"rows": [], "next": None}


def test_a_slot_that_found_nothing_yet_holds_the_page_back() -> None:
    answers = [
        {"slot": 0, "rows": [{"id": "03"}, {"id": "09"}], "next": None},
        {"slot": 1, "rows": [], "next": "05"},  # looked up to 05 within its second
    ]
    assert merge.lists(answers, 10) == {"rows": [{"id": "03", "slot": 0}], "next": "05"}


def domain(**changed: Any) -> dict[str, Any]:
    return {
        "messages": 1,
        "recipients": 2,
        "tried": 1,
        "stopped": 0,
        "oldest": 50.0,
        "next": 90.0,
        "site": "",
        **changed,
    }


def test_nothing_is_said_to_be_gone_while_a_slot_has_not_answered() -> None:
    assert merge.explanations([], "", sure=True)["why"] == "it is not in the queue"
    assert merge.explanations([], "", sure=False)["why"].startswith("not known: it is not in the queue as far as")
    assert merge.explanations([], "a.test", sure=False)["why"].startswith("not known: nothing is queued for a.test")


def test_summaries_add_up() -> None:
    answers = [
        {"slot": 0, "messages": 3, "recipients": 4, "octets": 100, "held": 1,
         "domains": {"a": domain(), "b": domain()}},
        {"slot": 1, "messages": 2, "recipients": 2, "octets": 10, "held": 0,
         "domains": {"a": domain(oldest=20.0, next=0.0, site="google", tried=0, stopped=2)}},
        {"slot": 2, "error": "no room", "code": 75},
    ]  # fmt: skip
    merged = merge.summaries(answers)
    assert {key: merged[key] for key in ("messages", "recipients", "octets", "held")} == {
        "messages": 5, "recipients": 6, "octets": 110, "held": 1,
    }  # fmt: skip
    assert merged["domains"]["a"] == {
        "messages": 2, "recipients": 4, "tried": 1, "stopped": 2, "oldest": 20.0, "next": 90.0, "site": "google",
    }  # fmt: skip
    assert merged["domains"]["b"] == domain()
    assert answers[0]["domains"]["a"] == domain(), "the answers are left as they were"


def test_changes_add_up() -> None:
    answers = [{"slot": 0, "changed": 3, "busy": 1}, {"slot": 0, "changed": 2, "busy": 0}, {"slot": 1, "error": "x"}]
    assert merge.changes(answers) == {"changed": 5, "busy": 1}


@pytest.mark.parametrize("found", [0, 1, None])
def test_shown_is_the_answer_that_has_it(found: int | None) -> None:
    answers = [{"slot": slot, "found": slot == found} for slot in range(2)]
    assert merge.shown(answers) == (None if found is None else answers[found])


def test_sums_are_bounded_in_domains_and_none_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "DOMAINS", 2)
    pages = [{"domains": {f"d{n}": domain() for n in order}} for order in ((0, 1, 2), (3, 1, 0))]
    merged = merge.summaries(pages)["domains"]
    assert {name: one["messages"] for name, one in merged.items()} == {"d0": 2, "d1": 2, merge.OTHERS: 2}
