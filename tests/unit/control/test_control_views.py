"""Rows, details, sums."""

from fastrelay.control import views
from fastrelay.control.request import Found
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import born
from fastrelay.mail.route import Route, RouteKind
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.schedule.item import Item, Place


def found(created: float = 1000.0, *domains: str, held: str = "") -> Found:
    recipients = tuple(Recipient(f"u{n}@{domain}") for n, domain in enumerate(domains))
    waiting = tuple(Waiting(n, created + 10 * n, f"reply {n}") for n in range(len(domains)))
    return Found(
        b"i" * 16, Envelope("s@x", recipients, created, size=100), State(1, waiting, held), tuple(range(len(domains)))
    )


def test_a_row_shows_the_soonest_attempt() -> None:
    row = views.row(found(1000.0, "a", "b"), {"WAITING"})
    assert row["id"] == (b"i" * 16).hex()
    assert (row["recipient"], row["open"], row["total"], row["attempts"]) == ("u0@a", 2, 2, 1)
    assert (row["next"], row["last"]) == (1000.0, "reply 0")


def test_a_message_that_has_ended_still_shows() -> None:
    one = Found(b"i" * 16, Envelope("", (Recipient("a@b"),), 1.0), State(2, (int(Status.EXPIRED),)), ())
    detail = views.detail(one, {}, lambda domain: "", "X: y\r\n")
    assert detail["open"] == 0
    assert detail["recipients"] == [{"address": "a@b", "domain": "b", "status": "expired"}]


def test_detail_tells_place_site_and_last_reply_per_recipient() -> None:
    detail = views.detail(found(1.0, "a", "b", held="why"), {"a": "held"}, {"a": "big", "b": ""}.__getitem__, "")
    assert detail["recipients"][0] | {"x": 1} == {
        "address": "u0@a", "domain": "a", "status": "held", "place": "held", "site": "big",
        "attempts": 0, "next": 1.0, "last": "reply 0", "x": 1,
    }  # fmt: skip
    assert detail["held"] == "why"
    assert detail["sender"] == "s@x"


def test_headers_end_at_the_empty_line_or_the_bound() -> None:
    assert views.header_text([b"A: 1\r\n", b"B: 2\r\n\r\nbody"]) == "A: 1\r\nB: 2\r\n"
    assert views.header_text([b"A: 1\r\n\r", b"\nbody"]) == "A: 1\r\n"
    assert len(views.header_text([b"x" * 10_000, b"y" * 10_000, b"z" * 10_000])) == views.HEADERS
    assert views.header_text([]) == ""


def test_sums_count_a_message_once_per_domain() -> None:
    tally = views.Tally()
    tally.add(found(1000.0, "a", "a", "b"))
    tally.add(found(900.0, "a", held="x"))
    tally.add(found(100.0, "c"), stopped=["c"])
    result = tally.result({"a": "big", "b": "", "c": ""}.__getitem__)
    assert (result["messages"], result["recipients"], result["octets"], result["held"]) == (3, 5, 300, 1)
    assert result["domains"]["a"] == {
        "messages": 2, "recipients": 3, "tried": 1, "stopped": 1, "oldest": 900.0, "next": 1000.0, "site": "big",
    }  # fmt: skip
    assert (result["domains"]["c"]["stopped"], result["domains"]["c"]["next"]) == (1, 0.0), "whoever waits for a word"
    assert result["domains"]["b"]["next"] == 1020.0


def test_sums_are_bounded_in_domains() -> None:
    tally = views.Tally()
    for n in range(2 * views.DOMAINS + 50):
        assert tally.full == (n >= views.DOMAINS)
        tally.add(found(1.0, f"d{n}"))
    domains = tally.result(lambda domain: "")["domains"]
    assert len(domains) == 2 * views.DOMAINS + 1
    assert domains[views.OTHERS]["messages"] == 50


def test_sums_by_the_schedule_tell_what_is_stopped_from_what_comes() -> None:
    def item(place: Place, route: Route | None = None) -> Item:
        return Item(b"i" * 16, "a", (0,), 1, 50.0, 99.0, place, route)

    barred = Route("a", "big", RouteKind.MX, (), 0.0)
    tally = views.Tally()
    for one in (item(Place.WAITING, barred), item(Place.HELD)):
        tally.add_items([one], 10, 7.0, 7.0)
    counted = tally.result(lambda domain: "")["domains"]["a"]
    assert (counted["recipients"], counted["stopped"], counted["next"]) == (2, 2, 0.0)
    assert counted["oldest"] == born(b"i" * 16)
    tally.add_items([item(Place.WAITING)], 10, 107.0, 7.0)
    counted = tally.result(lambda domain: "")["domains"]["a"]
    assert (counted["stopped"], counted["next"]) == (2, 150.0)
    tally.add_items([item(Place.READY, barred)], 10, 107.0, 7.0)
    counted = tally.result(lambda domain: "")["domains"]["a"]
    assert (counted["stopped"], counted["next"]) == (2, 107.0)
