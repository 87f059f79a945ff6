"""The queue commands against a queue that says what a test wants: what they ask, print and end with."""

import io
import json
import sys
from typing import Any

import pytest

from fastrelay.cli import main, queue, queue_pages
from fastrelay.cli.selectors import select, to_query
from fastrelay.errors import MachineShort, MisuseError

ID = "01a2110e5007133edc7bff143e8d3a08"
ROW = {
    "id": ID, "created": 100.0, "size": 5120, "sender": "", "recipient": "b@y.example", "selected": 3, "open": 3,
    "total": 3, "attempts": 2, "next": 400.0, "last": "451 4.7.1 later", "held": "", "places": ["waiting"], "slot": 0,
}  # fmt: skip


class Scripted:
    """Answers page after page of rows; remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[Any, ...]] = []

    def summary(self, chosen: dict[str, Any]) -> Any:
        self.asked.append(("summary", chosen))
        return self.answers["summary"]

    def page(self, chosen: dict[str, Any], after: str, limit: int) -> Any:
        self.asked.append(("page", chosen, after, limit))
        return self.answers["pages"].pop(0)

    def show(self, ident: str) -> Any:
        self.asked.append(("show", ident))
        return self.answers["show"]

    def change(self, verb: str, chosen: dict[str, Any], order: dict[str, Any]) -> Any:
        self.asked.append((verb, chosen, order["reason"]))
        return self.answers["change"]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**answers: Any) -> Scripted:
        one = Scripted(**answers)
        monkeypatch.setattr(queue, "opened", lambda file: one)
        return one

    return make


def test_selectors_become_a_select() -> None:
    assert select() == {} and select(everything=True) == {"all": True}
    given = select(ident=ID.upper(), domain="Y.example", site="s", sender="", older_than=7200.0, reply="No", held=False)
    assert given == {
        "id": ID, "domain": "y.example", "site": "s", "sender": "", "older_than": 7200.0, "reply": "No", "held": False,
    }  # fmt: skip
    assert to_query({"held": False, "older_than": 7200.0, "sender": ""}) == {
        "held": "false", "older_than": "7200.0", "sender": "",
    }  # fmt: skip
    assert select(domain="B\u00fccher.example.") == {"domain": "xn--bcher-kva.example"}, "as mail is grouped by it"
    with pytest.raises(MisuseError, match="leave it out beside domain"):
        select(domain="x", everything=True)


def test_list_goes_on_until_the_limit_or_the_end(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def pages() -> list[dict[str, Any]]:
        return [
            {"rows": [ROW] * 2, "next": "x", "incomplete": []},
            {"rows": [ROW], "next": None, "incomplete": [3]},
        ]

    one = scripted(pages=pages())
    assert main.run(["queue", "list", "--limit", "0", "--json", "--domain", "y.example"]) == 75
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["rows"]) == 3 and "slot-003" in shown.err
    assert one.asked == [
        ("page", {"domain": "y.example"}, "", 1000), ("page", {"domain": "y.example"}, "x", 1000),
    ]  # fmt: skip
    one = scripted(pages=pages())
    assert main.run(["queue", "list", "--limit", "2"]) == 0
    assert "--limit 0 lists all" in capsys.readouterr().out and len(one.asked) == 1
    scripted(pages=[{"rows": [ROW | {"id": f"{n:032x}"} for n in range(5)], "next": None, "incomplete": []}])
    assert main.run(["queue", "list", "--limit", "2", "--json"]) == 0, "a stopped relay tells all of them at once"
    told = json.loads(capsys.readouterr().out)
    assert (len(told["rows"]), told["next"]) == (2, f"{1:032x}")


@pytest.mark.parametrize("as_json", [False, True])
def test_each_page_of_a_list_is_printed_before_the_next_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    printed: list[str] = []

    class Slow(Scripted):
        def page(self, chosen: dict[str, Any], after: str, limit: int) -> Any:
            printed.append(capsys.readouterr().out)
            if after == "c":
                raise MachineShort("the relay is gone")
            rows = [] if after == "a" else [ROW | {"sender": f"after{after}@x.example"}]
            return {"rows": rows, "next": {"": "a", "a": "b", "b": "c"}[after], "incomplete": []}

    monkeypatch.setattr(queue, "opened", lambda file: Slow())
    assert main.run(["queue", "list", "--limit", "0", *(["--json"] if as_json else [])]) == 75
    assert ["@x.example" in text for text in printed] == [False, True, False, True]
    whole = "".join(printed) + capsys.readouterr().out
    assert "afterb@x.example" in whole and whole.count("RECIPIENT") == (not as_json)
    if as_json:
        with pytest.raises(json.JSONDecodeError):
            json.loads(whole)
        assert len(json.loads(whole + "]}")["rows"]) == 2


def test_a_list_begins_behind_a_message(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = scripted(pages=[{"rows": [], "next": None, "incomplete": []}])
    assert main.run(["queue", "list", "--after", ID.upper(), "--json"]) == 0
    assert one.asked == [("page", {}, ID, 100)]
    assert json.loads(capsys.readouterr().out) == {"rows": [], "next": None, "incomplete": []}


def test_a_change_says_how_many(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = scripted(change={"changed": 1, "busy": 0, "incomplete": []})
    assert main.run(["queue", "remove", "--sender", "a@x", "--older-than", "1m", "--reason", "r"]) == 0
    assert one.asked == [("remove", {"sender": "a@x", "older_than": 60.0}, "r")]
    assert capsys.readouterr().out == "1 message removed\n"


@pytest.mark.parametrize(
    ("answer", "words", "code", "says"),
    [
        ({"changed": 2, "busy": 1, "incomplete": []}, ["--all"], 75, "being delivered"),
        ({"changed": 0, "busy": 0, "incomplete": []}, [ID], 65, "nothing to do"),
        ({"changed": 0, "busy": 0, "incomplete": []}, ["--all"], 0, ""),
        ({"changed": 0, "busy": 0, "incomplete": [7]}, [ID], 75, "slot-007"),
        (
            {"changed": 5, "busy": 0, "incomplete": [1], "errors": [{"slot": 1, "error": "disk full"}]},
            ["--all"], 75, "slot-001: disk full",
        ),
    ],
)  # fmt: skip
def test_what_was_not_changed_has_a_code(
    scripted: Any, capsys: pytest.CaptureFixture[str], answer: Any, words: list[str], code: int, says: str
) -> None:
    scripted(change=answer)
    assert main.run(["queue", "retry", *words]) == code
    err = capsys.readouterr().err
    assert says in err and bool(err) == bool(says)


def test_on_a_terminal_what_cannot_be_undone_is_asked_for(
    scripted: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = scripted(summary={"messages": 1200, "recipients": 1300}, change={"changed": 1, "busy": 0, "incomplete": []})
    monkeypatch.setattr(queue, "has_terminal", lambda: True)
    for answer, code in (("n\n", 130), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert main.run(["queue", "remove", "--all"]) == code
    assert "remove 1,200 messages, 1,300 recipients?" in capsys.readouterr().err
    assert [asked[0] for asked in one.asked] == ["summary", "summary", "remove"]
    for words in (["remove", "--all", "--yes"], ["bounce", ID, "--reason", "r"], ["hold", "--all", "--reason", "r"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        assert main.run(["queue", *words]) == 0
    assert [asked[0] for asked in one.asked[3:]] == ["remove", "bounce", "hold"]


def test_a_retry_of_nothing_says_what_it_does_not_do(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(change={"changed": 0, "busy": 0, "incomplete": []})
    assert main.run(["queue", "retry", "--all"]) == 0
    assert capsys.readouterr().out == "0 messages due now; what is on hold or suspended stays so\n"


def test_show_of_what_is_not_there(scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(show=None)
    assert main.run(["queue", "show", ID]) == 65
    scripted(show={"found": False, "incomplete": [0]})
    assert main.run(["queue", "show", ID]) == 75
    assert "slot-000" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["queue", "list", "--older-than", "5x"], ["stop", "--timeout", "5x"]])
def test_a_time_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main.run(words) == 64
    assert "'5x' is not understood" in capsys.readouterr().err


def test_on_a_narrow_terminal_a_message_has_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"rows": [ROW, {**ROW, "selected": 1, "last": ""}], "next": None, "now": 160.0}
    monkeypatch.setattr(queue_pages, "room", lambda: 300)
    assert len(queue_pages.listing(told)) == 3
    monkeypatch.setattr(queue_pages, "room", lambda: 80)
    head, first, more, second, end = queue_pages.listing(told)
    assert head.split() == ["ID", "AGE", "SIZE", "TRIES", "NEXT"]
    assert first.split() == second.split() == [ID, "1m", "5.1KB", "2", "in", "4m"]
    assert (more, end) == ("  <> to b@y.example +2: 451 4.7.1 later", "  <> to b@y.example")
    assert max(map(len, (head, first, more))) < 80


def test_pages() -> None:
    now = 160.0
    table = queue_pages.listing({"rows": [ROW], "next": None, "now": now})
    assert table[1].split() == [ID, "1m", "5.1KB", "<>", "b@y.example", "+2", "2", "in", "4m", "451", "4.7.1", "later"]
    held = queue_pages.listing({"rows": [{**ROW, "held": "why"}], "next": None, "now": now})
    assert "held: why" in held[1]
    nothing = queue_pages.listing({"rows": [], "next": None, "now": now})
    assert nothing == ["no mail in the queue, or none that matches"]
    domains = {
        f"d{n}.example": {
            "messages": n,
            "recipients": n,
            "tried": 0,
            "stopped": 0,
            "oldest": 0.0,
            "next": 0.0,
            "site": "",
        }
        for n in range(1, 53)
    }
    domains["d51.example"] |= {"stopped": 51}
    told = {"messages": 9, "recipients": 9, "octets": 10_000, "held": 1, "domains": domains, "now": now}
    lines = queue_pages.summary(told)
    assert lines[0] == "9 messages (1 held), 9 recipients, 10.0KB"
    assert lines[3].split() == ["d52.example", "52", "52", "0", "2m", "40s", "now"]
    assert lines[4].split() == ["d51.example", "51", "51", "0", "2m", "40s", "stopped"]
    assert lines[-1].startswith("and 2 more domains")
    detail = {
        **ROW, "client": "192.0.2.1", "helo": "a\x1bb", "found": True, "headers": "Subject: \x1b[31m\r\n", "now": now,
        "recipients": [
            {"address": "b@y.example", "domain": "y.example", "status": "open", "place": "waiting", "site": "s",
             "attempts": 2, "next": 400.0, "last": "451 no"},
            {"address": "c@y.example", "domain": "y.example", "status": "delivered"},
        ],
    }  # fmt: skip
    shown = "\n".join(queue_pages.message(detail))
    assert "\x1b" not in shown and "c@y.example  delivered" in shown and "in 4m" in shown
