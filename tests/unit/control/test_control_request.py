"""Selectors choose recipients; states change by version."""

import pytest

from fastrelay.control.request import Found, Select, chosen, ended, hastened, held
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.state import State, Status, Waiting

ENVELOPE = Envelope(
    "Alice@Example.org",
    (Recipient("one@a.example"), Recipient("two@B.example"), Recipient("three@a.example")),
    created=1000.0,
)
STATE = State(3, (Waiting(1, 2000.0, "450 later"), Waiting(0, 1500.0), int(Status.DELIVERED)))
SITES = {"a.example": "big", "b.example": "small"}


def select(**wanted: object) -> tuple[int, ...]:
    return chosen(Select(**wanted), ENVELOPE, STATE, 1600.0, lambda domain: SITES.get(domain, ""))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        ({}, (0, 1)),
        ({"all": True}, (0, 1)),
        ({"domain": "a.example"}, (0,)),
        ({"domain": "B.EXAMPLE"}, (1,)),
        ({"domain": "c.example"}, ()),
        ({"site": "small"}, (1,)),
        ({"site": "small", "domain": "a.example"}, ()),
        ({"sender": "alice@example.ORG"}, (0, 1)),
        ({"sender": ""}, ()),
        ({"older_than": 600.0}, (0, 1)),
        ({"older_than": 601.0}, ()),
        ({"reply": "no such text"}, ()),
        ({"held": True}, ()),
        ({"held": False}, (0, 1)),
    ],
)
def test_a_selector_means_the_open_recipients_all_of_it_fits(wanted: dict[str, object], indices: object) -> None:
    assert select(**wanted) == indices


def test_the_null_sender_can_be_selected() -> None:
    bounce = Envelope("", (Recipient("a@b.example"),), 1.0)
    assert chosen(Select(sender=""), bounce, State(0, (Waiting(),)), 2.0, SITES.get) == (0,)  # type: ignore[arg-type]


def test_an_empty_selector_says_nothing() -> None:
    assert not Select().says_something
    assert Select(all=True).says_something
    assert Select(sender="").says_something


def test_changes_touch_only_the_selected_and_count_the_version() -> None:
    one = Found(b"i" * 16, ENVELOPE, STATE, (1,))
    assert ended(one, Status.REMOVED) == State(4, (STATE.recipients[0], int(Status.REMOVED), int(Status.DELIVERED)))
    assert hastened(one, 1600.0).recipients == (STATE.recipients[0], Waiting(0, 1600.0), int(Status.DELIVERED))
    assert held(one, "why") == State(4, STATE.recipients, "why")
    assert ended(Found(b"i" * 16, ENVELOPE, STATE, (0, 1)), Status.FAILED).ended
