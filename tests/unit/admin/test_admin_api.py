"""The API over slots that live in a list: what is asked of them, and what becomes of their answers."""

import json
from typing import Any

import pytest

from fastrelay.admin.api import LIMIT, Api
from fastrelay.admin.http import HttpError, Request
from fastrelay.process.suspensions import Suspension, checked

IDENT = "0123456789abcdef0123456789abcdef"


class Slots:
    """Answers every request with the same, and remembers what was asked."""

    def __init__(self, answers: list[dict[str, Any]], missing: list[int]) -> None:
        self.answers, self.missing = answers, missing
        self.asked: list[tuple[dict[str, Any], bool]] = []

    def slots(self) -> list[int]:
        return sorted({answer["slot"] for answer in self.answers})

    def ask_all(self, request: dict[str, Any], *, pages: bool = False) -> tuple[list[dict[str, Any]], list[int]]:
        self.asked.append((request, pages))
        return self.answers, self.missing

    def whys(self, slots: list[int]) -> dict[int, str]:
        return {slot: "nobody has it" for slot in slots if slot == 5}


def ask(
    path: str,
    *answers: dict[str, Any],
    missing: tuple[int, ...] = (),
    query: dict[str, str] | None = None,
    method: str = "GET",
    body: object = None,
    workers: tuple[dict[str, object], ...] = (),
) -> tuple[int, Any, Slots]:
    slots = Slots(list(answers), list(missing))
    api = Api(slots, lambda: list(workers), {"hostname": "relay.test"})
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = api.handle(Request(method, f"/api/v1/{path}", query or {}, len(octets), True), octets)
    return response.status, json.loads(response.body), slots


OK0: dict[str, Any] = {"slot": 0, "changed": 2, "busy": 0, "rows": [{"id": "a"}], "next": None}
FULL1: dict[str, Any] = {"slot": 1, "error": "no room", "code": 75}
BAD1: dict[str, Any] = {"slot": 1, "error": "bad request: what", "code": 64}


def test_a_list_asks_for_a_page_and_passes_selectors_on() -> None:
    query = {
        "domain": "a",
        "site": "s",
        "sender": "",
        "older_than": "60",
        "reply": "r",
        "held": "true",
        "after": "0a",
        "limit": "7",
    }
    status, page, slots = ask("queue", OK0, query=query)
    assert (status, page) == (200, {"rows": [{"id": "a", "slot": 0}], "next": None, "incomplete": []})
    select = {"domain": "a", "site": "s", "sender": "", "older_than": 60.0, "reply": "r", "held": True}
    assert slots.asked == [({"verb": "list", "after": "0a", "limit": 7, "select": select}, False)]


@pytest.mark.parametrize(("asked", "limit"), [("0", 1), ("5000", LIMIT), ("12.7", 12)])
def test_a_page_has_bounds(asked: str, limit: int) -> None:
    assert ask("queue", query={"limit": asked})[2].asked[0][0]["limit"] == limit
    assert ask("queue")[2].asked[0][0]["limit"] == LIMIT


@pytest.mark.parametrize(
    "query", [{"limit": "many"}, {"limit": "-1"}, {"limit": "nan"}, {"older_than": "inf"}, {"held": "yes"}, {"x": "1"}]
)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(HttpError) as refused:
        ask("queue", query=query)
    assert refused.value.status == 400 and next(iter(query)) in refused.value.text


def test_each_slot_is_asked_for_its_share_of_a_page() -> None:
    slots = [{"slot": n, "rows": [], "next": None} for n in range(4)]
    assert ask("queue", *slots, query={"limit": "1000"})[2].asked[0][0]["limit"] == 250
    assert ask("queue", *slots, query={"limit": "50"})[2].asked[0][0]["limit"] == 20
    assert ask("queue", *slots, query={"limit": "5"})[2].asked[0][0]["limit"] == 5


def test_verbs_go_on_until_every_slot_is_done() -> None:
    body = {"select": {"domain": "a"}, "reason": "spam", "who": "root"}
    for verb in ("retry", "hold", "release", "bounce", "remove"):
        status, told, slots = ask(f"queue/{verb}", OK0, method="POST", body=body)
        assert (status, told) == (200, {"changed": 2, "busy": 0, "incomplete": []})
        assert slots.asked == [({"verb": verb, **body}, True)]


@pytest.mark.parametrize(
    "body", [b"", b"not json", [], {}, {"select": 1}, {"select": {}, "sel": 1}, {"select": {}, "reason": 5}]
)
def test_an_order_that_is_none_reaches_no_slot(body: object) -> None:
    status, told, slots = ask("queue/remove", OK0, method="POST", body=body)
    assert status == 400 and told["code"] == 64 and slots.asked == []


def test_missing_slots_are_named() -> None:
    status, told, _ = ask("queue", OK0, missing=(2, 5))
    assert status == 200 and told["incomplete"] == [2, 5]
    assert told["errors"] == [{"slot": 5, "error": "nobody has it"}], "of the other it is not known why"
    status, told, _ = ask("explain", {"slot": 0, "explained": []}, missing=(5,), query={"id": IDENT})
    assert status == 200 and told["why"].startswith("not known: it is not in the queue as far as")


def test_a_slot_that_is_still_loading_is_incomplete_and_says_why() -> None:
    loading = {**OK0, "loading": True}
    why = [{"slot": 0, "error": "it is still loading its mail; try again"}]
    for path, more in (
        ("queue", {}),
        ("queue/summary", {}),
        ("queue/retry", {"method": "POST", "body": {"select": {}}}),
    ):
        status, answer, _ = ask(path, loading, loading, **more)
        assert (status, answer["incomplete"], answer["errors"]) == (200, [0], why)
    status, answer, _ = ask(f"queue/{IDENT}", {"slot": 0, "found": False, "loading": True})
    assert (status, answer["found"], answer["incomplete"]) == (200, False, [0])
    assert ask("status", loading)[1]["incomplete"] == [0]


def test_a_slot_that_failed_is_incomplete_and_says_why() -> None:
    status, told, _ = ask("queue/hold", OK0, FULL1, missing=(0,), method="POST", body={"select": {"all": True}})
    assert status == 200 and told["changed"] == 2
    assert told["incomplete"] == [0, 1] and told["errors"] == [{"slot": 1, "error": "no room"}]


def test_when_no_slot_could_it_is_an_error() -> None:
    status, told, _ = ask("queue/hold", FULL1, method="POST", body={"select": {"all": True}})
    assert (status, told) == (503, {"error": "no room", "code": 75, "incomplete": []})


def test_what_makes_no_sense_to_one_slot_makes_none() -> None:
    status, told, _ = ask("queue/hold", OK0, BAD1, method="POST", body={"select": {"all": True}})
    assert status == 400 and told["code"] == 64 and told["error"] == "bad request: what"


def test_summary_is_summed_over_pages() -> None:
    part = {"slot": 0, "messages": 1, "recipients": 1, "octets": 5, "held": 0, "domains": {}}
    status, told, slots = ask("queue/summary", part, part, query={"domain": "a"})
    assert status == 200 and told["messages"] == 2 and told["octets"] == 10
    assert slots.asked == [({"verb": "summary", "select": {"domain": "a"}}, True)]


def test_show_finds_it_wherever_it_is() -> None:
    answers = {"slot": 0, "found": False}, {"slot": 1, "found": True, "size": 9}
    status, told, slots = ask(f"queue/{IDENT}", *answers, missing=(2,))
    assert status == 200 and told == {"slot": 1, "found": True, "size": 9, "incomplete": []}
    assert slots.asked == [({"verb": "show", "select": {"id": IDENT}}, False)]


def test_what_no_slot_has_is_not_found_only_when_all_were_asked() -> None:
    status, told, _ = ask(f"queue/{IDENT}", {"slot": 0, "found": False})
    assert status == 404 and told["code"] == 65
    status, told, _ = ask(f"queue/{IDENT}", {"slot": 0, "found": False}, missing=(1,))
    assert status == 200 and told == {"found": False, "incomplete": [1]}
    assert ask("queue/nonsense", BAD1, {"slot": 0, "error": "bad", "code": 64})[0] == 400


def test_status_joins_the_page_and_the_slots() -> None:
    status, told, _ = ask(
        "status",
        {"slot": 0, "messages": 3, "spool": {}},
        {"slot": 9, "messages": 1},
        {"slot": 1, "error": "tired", "code": 70},
        workers=({"slot": 0, "state": "ready"}, {"slot": 1, "state": "draining"}),
        missing=(4,),
    )
    assert status == 200 and told["hostname"] == "relay.test" and told["messages"] == 4
    assert told["workers"] == [
        {"slot": 0, "state": "ready", "messages": 3, "spool": {}},
        {"slot": 1, "state": "draining"},
        {"slot": 9, "state": "unknown", "messages": 1},
    ]
    assert told["incomplete"] == [1, 4] and told["errors"] == [{"slot": 1, "error": "tired"}]


@pytest.mark.parametrize("path", ["", "nothing", "queue/", "queue/a/b", "status/x", "queue2"])
def test_there_is_nothing_else(path: str) -> None:
    with pytest.raises(HttpError) as refused:
        ask(path)
    assert refused.value.status == 404


@pytest.mark.parametrize(("path", "method"), [("status", "POST"), ("queue", "DELETE"), ("queue/hold", "GET")])
def test_methods_are_kept_apart(path: str, method: str) -> None:
    with pytest.raises(HttpError) as refused:
        ask(path, method=method)
    assert refused.value.status == 405


class Stops:
    def __init__(self) -> None:
        self.kept: tuple[Suspension, ...] = ()

    def now(self, wall: float) -> tuple[Suspension, ...]:
        return self.kept

    def add(self, new: Suspension, wall: float) -> tuple[Suspension, ...]:
        self.kept += (checked(new),)
        return self.kept

    def end(self, kind: str, name: str, wall: float) -> tuple[bool, tuple[Suspension, ...]]:
        changed, self.kept = bool(self.kept), ()
        return changed, self.kept


def test_suspensions_are_written_then_told_to_every_slot() -> None:
    slots, notes = Slots([{"slot": 0}], [1]), list[tuple[str, dict[str, Any]]]()
    api = Api(slots, list, stops=Stops(), note=lambda kind, /, **fields: notes.append((kind, fields)))

    def post(path: str, body: object) -> tuple[int, Any]:
        octets = json.dumps(body).encode()
        response = api.handle(Request("POST", f"/api/v1/{path}", {}, len(octets), True), octets)
        return response.status, json.loads(response.body)

    order = {"kind": "domain", "name": "A.Example", "seconds": 60, "reason": "r", "who": "w"}
    status, told = post("suspend", order)
    assert status == 200 and told["incomplete"] == [1] and told["changed"]
    (one,) = told["suspensions"]
    assert one["name"] == "a.example" and one["until"] == one["since"] + 60
    assert slots.asked == [({"verb": "suspensions"}, False)]
    response = api.handle(Request("GET", "/api/v1/suspensions", {}, 0, True), b"")
    assert json.loads(response.body)["suspensions"] == [one]
    assert post("suspend", {**order, "kind": "colour"})[0] == 400
    assert post("suspend", {"kind": "domain", "name": "x"})[0] == 400
    assert post("resume", {"kind": "domain", "name": "A.Example", "who": "w"})[1]["suspensions"] == []
    assert post("resume", {"kind": "domain", "name": "a.example"})[1]["changed"] is False
    assert [(kind, fields["name"]) for kind, fields in notes] == [
        ("AdminSuspend", "a.example"),
        ("AdminResume", "a.example"),
    ]
