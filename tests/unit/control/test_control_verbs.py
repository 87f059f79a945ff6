"""The verbs against a spool and a schedule that live in dicts."""

import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastrelay.config import Log
from fastrelay.control import Control, search, verbs, views
from fastrelay.errors import MachineShort, SpoolDamaged
from fastrelay.eventlog import EventLog
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.route import Route, RouteKind
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Place
from fastrelay.settlement.plan import End, changed

LAG = float(
    round(clock.wall() - clock.now())
)  # from monotonic to wall seconds, for what the schedule says; whole: exact


class Item:
    def __init__(self, domain: str, indices: tuple[int, ...], due: float, attempts: int, expires: float) -> None:
        self.domain, self.indices, self.attempts, self.expires = domain, indices, attempts, expires
        self.due = due - LAG
        self.place = Place.WAITING
        self.route: object = None
        self.ident = b""
        self.sibling: Item | None = None


class Message:
    parts = [b"Received: x\r\n", b"Subject: hello\r\n\r\nbody"]


class Spool:
    def __init__(self) -> None:
        self.open: dict[bytes, tuple[Envelope, State]] = {}
        self.fails = False
        self.damaged = False

    def page(self, after: bytes | None, limit: int) -> list[bytes]:
        return sorted(ident for ident in self.open if after is None or ident > after)[:limit]

    def envelope(self, ident: bytes) -> Envelope | None:
        return self.open[ident][0] if ident in self.open else None

    def state(self, ident: bytes) -> State:
        return self.open[ident][1]

    def size(self, ident: bytes) -> int:
        return self.open[ident][0].size

    def head(self, ident: bytes, most: int) -> bytes:
        if self.damaged:
            raise SpoolDamaged("body checksum")
        return b"".join(Message.parts)[:most]

    def record_synced(self, records: Sequence[tuple[bytes, State]]) -> None:
        if self.fails:
            raise MachineShort("no room")
        for ident, state in records:
            envelope, before = self.open[ident]
            assert state.version == before.version + 1
            self.open[ident] = (envelope, state)
            if state.ended:
                del self.open[ident]

    def __len__(self) -> int:
        return len(self.open)


class Schedule:
    def __init__(self) -> None:
        self.table: dict[bytes, list[Item]] = {}
        self.calls: list[tuple[str, bytes]] = []
        self.released: dict[bytes, float] = {}

    def items(self, ident: bytes) -> list[Item]:
        return list(self.table.get(ident, ()))

    def shard(self, number: int) -> list[Item]:
        firsts = []
        for ident, items in self.table.items():
            if ident[-1] == number:
                for item, after in zip(items, [*items[1:], None], strict=True):
                    item.ident, item.sibling = ident, after
                firsts.append(items[0])
        return firsts

    def at_domain(self, domain: str) -> Iterator[list[Item]]:
        """Newest first: who asks must put them in order."""
        for ident, items in sorted(self.table.items(), reverse=True):
            for item in items:
                item.ident = ident
            yield [item for item in items if item.domain == domain]

    def due_wall(self, item: Item) -> float:
        return item.due + LAG

    def add(
        self, ident: bytes, domain: str, indices: tuple[int, ...], *, expires: float, due: float = 0.0,
        attempts: int = 0, held: bool = False,
    ) -> None:  # fmt: skip
        item = Item(domain, indices, due, attempts, clock.now() + expires - clock.wall())
        item.place = Place.HELD if held else Place.WAITING
        self.table.setdefault(ident, []).append(item)

    def hold(self, ident: bytes) -> bool:
        self.calls.append(("hold", ident))
        return True

    def release(self, ident: bytes, due: float = 0.0) -> bool:
        self.calls.append(("release", ident))
        self.released[ident] = due
        return True

    def remove(self, ident: bytes) -> bool:
        return self.table.pop(ident, None) is not None

    def retry(self, ident: bytes, indices: Collection[int] = ()) -> bool:
        self.calls.append(("retry", ident))
        self.meant = tuple(indices)
        return True


class Slot:
    """Ten messages: m to u<m>@a.example, and the odd ones to v<m>@b.example too."""

    def __init__(self, tmp_path: Path, *, offline: bool = False) -> None:
        self.spool, self.schedule = Spool(), Schedule()
        self.created = clock.wall() - 3600
        for n in range(10):
            domains = ("a.example", "b.example") if n % 2 else ("a.example",)
            recipients = tuple(Recipient(f"u{n}@{domain}") for domain in domains)
            ident = bytes(15) + bytes([n])
            due = self.created + 7200
            self.spool.open[ident] = (
                Envelope("s@x.example", recipients, self.created + n, size=10),
                State(1, tuple(Waiting(2, due, "451 later") for _ in domains)),
            )
            for index, domain in enumerate(domains):
                self.schedule.add(ident, domain, (index,), expires=self.created + 99999, due=due, attempts=2)
        self.events = tmp_path / "events"
        self.rests: list[float] = []
        self.loading = False
        self.control = Control(
            7,
            self.spool,
            None if offline else self.schedule,
            eventlog=EventLog(Log(events=str(self.events))),
            site_of=lambda domain: {"b.example": "big"}.get(domain, ""),
            parts={"spool": lambda: {"segments": 3}},
            rest=self.rests.append,
            loading=lambda: self.loading,
            notices=self,
        )
        self.told: list[tuple[bytes, list[int], str]] = []
        self.no_notices = False

    def why_silent(self, envelope: Envelope, position: int) -> str:
        return "not asked for" if envelope.recipients[position].address == "u5@b.example" else ""

    def end(self, ident: bytes, envelope: Envelope, ends: Sequence[End], wall: float) -> bytes | None:
        tasks.run_loop_once()
        if self.no_notices:
            return None
        self.told.append((ident, [end.position for end in ends], ends[0].outcome.reply.text))
        state = self.spool.state(ident)
        self.spool.record_synced([(ident, changed(state, [(end.position, end.status) for end in ends]))])
        return b"n" * 16

    def ask(self, verb: str, /, **request: Any) -> dict[str, Any]:
        return self.control.answer({"verb": verb, **request})

    def state(self, n: int) -> State:
        return self.spool.open[bytes(15) + bytes([n])][1]


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(tmp_path)


def ident(n: int) -> bytes:
    return bytes(15) + bytes([n])


def test_status_brings_the_parts(slot: Slot) -> None:
    answer = slot.ask("status")
    assert answer["slot"] == 7
    assert answer["messages"] == 10
    assert answer["spool"] == {"segments": 3}


def test_summary_counts_by_domain(slot: Slot) -> None:
    answer = slot.ask("summary")
    assert (answer["messages"], answer["recipients"], answer["next"]) == (10, 15, None)
    assert answer["domains"]["b.example"]["messages"] == 5
    assert answer["domains"]["b.example"]["site"] == "big"


def both_summaries(slot: Slot, **select: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """By the schedule, and by what is recorded (a selector that says nothing new, but only envelopes know)."""
    quick = slot.ask("summary", select=select)
    slow = slot.ask("summary", select={**select, "older_than": 0.001})
    for answer in (quick, slow):
        for one in answer["domains"].values():  # the id is as old as the message, by the millisecond at which it came
            one.pop("oldest")
            one.pop("next")
    return quick, slow


@pytest.mark.parametrize(
    "select", [{}, {"all": True}, {"domain": "B.example"}, {"site": "big"}, {"held": False}, {"held": True}]
)
def test_a_summary_by_the_schedule_is_one_by_the_records(slot: Slot, select: dict[str, Any]) -> None:
    slot.schedule.items(ident(2))[0].place = Place.HELD
    envelope, state = slot.spool.open[ident(2)]
    slot.spool.open[ident(2)] = envelope, State(2, state.recipients, "why")
    quick, slow = both_summaries(slot, **select)
    assert quick == slow and quick["messages"]


def test_a_long_summary_goes_on_where_it_stopped(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BUDGET", -1.0)
    seen, after, pages = 0, "", 0
    while after is not None:
        answer = slot.ask("summary", after=after)
        assert after == "" or answer["next"] is None or answer["next"] > after
        seen, after, pages = seen + answer["messages"], answer["next"], pages + 1
    assert (seen, pages) == (10, 256)


@pytest.mark.parametrize("select", [{}, {"older_than": 0.001}])
def test_a_summary_of_many_domains_ends_and_goes_on_and_none_is_split(
    slot: Slot, monkeypatch: pytest.MonkeyPatch, select: dict[str, Any]
) -> None:
    monkeypatch.setattr(views, "DOMAINS", 2)
    monkeypatch.setattr(views, "_MOST", 4)
    slot.spool.open.clear()
    slot.schedule.table.clear()
    for n in range(30):
        key, name = bytes(15) + bytes([n]), f"d{n % 10}.example"
        slot.spool.open[key] = (Envelope("s@x", (Recipient(f"u@{name}"),), 1.0, size=1), State(1, (Waiting(1, 2.0),)))
        slot.schedule.add(key, name, (0,), expires=1e10)
    sums: dict[str, int] = {}
    after: str | None = ""
    pages = 0
    while after is not None:
        answer = slot.ask("summary", after=after, select=select)
        for name, counted in answer["domains"].items():
            sums[name] = sums.get(name, 0) + counted["messages"]
        after, pages = answer["next"], pages + 1
    assert sums == {f"d{n}.example": 3 for n in range(10)} and pages > 10


def test_sums_over_a_short_queue_rest_as_well(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its shards are shorter than the stretch between two looks at the clock."""
    monkeypatch.setattr(search, "_MANY", 4)
    ticks = itertools.count()
    monkeypatch.setattr(clock, "now", lambda: next(ticks) * 0.01)
    assert slot.ask("summary")["messages"] == 10
    assert len(slot.rests) == 2


def test_a_domain_is_listed_without_a_look_at_other_mail(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    envelope = slot.spool.envelope
    monkeypatch.setattr(slot.spool, "envelope", lambda ident: looked.append(ident) or envelope(ident))
    first = slot.ask("list", limit=2, select={"domain": "B.example"})
    assert [row["id"] for row in first["rows"]] == [ident(1).hex(), ident(3).hex()] and len(looked) == 2
    slot.schedule.remove(ident(5))
    del slot.spool.open[ident(5)]
    rest = slot.ask("list", after=first["next"], select={"domain": "b.example"})
    assert [row["id"] for row in rest["rows"]] == [ident(7).hex(), ident(9).hex()] and rest["next"] is None
    assert {ident(n) for n in (0, 2, 4, 6, 8)}.isdisjoint(looked)
    slot.schedule.add(ident(0), "b.example", (0,), expires=1e10)
    slot.spool.open[ident(0)] = Envelope("s@x", (Recipient("n@b.example"),), 1.0, size=1), State(1, (Waiting(1, 2.0),))
    again = slot.ask("list", select={"domain": "b.example"})
    assert [row["id"] for row in again["rows"]] == [ident(n).hex() for n in (0, 1, 3, 7, 9)], "a new list is a new look"


def test_a_domain_whose_messages_cannot_be_gathered_in_time_is_gathered_by_several_answers(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BUDGET", -1.0)
    start = f"{0:032x}"
    for _ in range(10):  # a part of the queue each
        answer = slot.ask("list", after=start, select={"domain": "b.example"})
        assert (answer["rows"], answer["next"]) == ([], f"{1:032x}"), "no row yet, but it gets on"
    answer = slot.ask("list", after=start, select={"domain": "b.example"})
    assert [row["id"] for row in answer["rows"]] == [ident(n).hex() for n in (1, 3, 5, 7, 9)]
    assert slot.ask("list", after="f" * 32, select={"domain": "a.example"})["next"] == "f" * 32


def test_sockets_are_looked_at_while_a_domain_is_gathered(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest of no time runs what is ready, and never comes to the sockets."""
    ticks = itertools.count()
    monkeypatch.setattr(clock, "now", lambda: next(ticks) * 0.01)
    slot.ask("list", select={"domain": "b.example"})
    assert len(slot.rests) >= 5 and min(slot.rests) > 0


def test_mail_is_selected_by_its_last_reply(slot: Slot) -> None:
    assert slot.ask("list", select={"reply": "LATER"})["rows"]
    assert slot.ask("summary", select={"reply": "451 later"})["messages"] == 10
    assert slot.ask("summary", select={"reply": "greylisted"})["messages"] == 0
    assert slot.ask("retry", select={"reply": "later", "domain": "b.example"})["changed"] == 5


def test_lists_are_keyset_pages(slot: Slot) -> None:
    first = slot.ask("list", limit=4)
    assert [row["id"] for row in first["rows"]] == [ident(n).hex() for n in range(4)]
    assert first["next"] == ident(3).hex()
    rest = slot.ask("list", after=first["next"], select={"site": "big"})
    assert [row["recipient"] for row in rest["rows"]] == [f"u{n}@b.example" for n in (5, 7, 9)]
    assert rest["next"] is None
    assert rest["rows"][0]["places"] == ["waiting"]


def test_a_page_that_meets_the_limit_exactly_goes_on_to_an_empty_one(slot: Slot) -> None:
    full = slot.ask("list", limit=10)
    assert slot.ask("list", after=full["next"]) == {"slot": 7, "rows": [], "next": None}


def test_long_looks_rest_and_stop_at_the_budget(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_LOOKS", 1)
    ticks = iter(range(1000))
    monkeypatch.setattr(clock, "now", lambda: next(ticks) * 0.2)
    answer = slot.ask("list")
    assert slot.rests
    assert 0 < len(answer["rows"]) < 10
    assert answer["next"] == answer["rows"][-1]["id"]


def test_while_mail_is_still_being_loaded_every_answer_says_so(slot: Slot) -> None:
    slot.loading = True
    assert all(slot.ask(verb)["loading"] for verb in ("status", "summary", "list"))
    assert slot.ask("show", select={"id": "f" * 32})["loading"]
    assert slot.ask("retry", select={"all": True})["loading"]
    slot.loading = False
    assert "loading" not in slot.ask("list")


def test_mail_before_a_suspension_is_told_apart(slot: Slot) -> None:
    slot.schedule.items(ident(3))[1].route = "that of the item when it met the bar"
    rows = slot.ask("list", limit=4)["rows"]
    assert [row["places"] for row in rows[2:]] == [["waiting"], ["suspended", "waiting"]]
    shown = slot.ask("show", select={"id": ident(3).hex()})
    assert [one["place"] for one in shown["recipients"]] == ["waiting", "suspended"]


def test_next_is_when_the_schedule_looks_again_not_what_was_recorded(slot: Slot) -> None:
    """A suspended site puts off what waits for it; its records are not rewritten for that."""
    far = slot.created + 90_000
    for item in slot.schedule.items(ident(3)):
        if item.domain == "a.example":
            item.due = far - LAG
    assert slot.ask("list", select={"domain": "b.example"})["rows"][1]["next"] == slot.created + 7200
    shown = slot.ask("show", select={"id": ident(3).hex()})
    assert [one["next"] for one in shown["recipients"]] == [far, slot.created + 7200]
    for n in range(10):
        for item in slot.schedule.items(ident(n)):
            item.due = far - LAG
    assert abs(slot.ask("summary")["domains"]["a.example"]["next"] - far) < 1
    assert {row["next"] for row in slot.ask("list")["rows"]} == {far}


def test_show_tells_everything(slot: Slot) -> None:
    answer = slot.ask("show", select={"id": ident(3).hex()})
    assert answer["found"]
    assert answer["headers"] == "Received: x\r\nSubject: hello\r\n"
    assert [(r["address"], r["place"], r["site"]) for r in answer["recipients"]] == [
        ("u3@a.example", "waiting", ""),
        ("u3@b.example", "waiting", "big"),
    ]
    assert slot.ask("show", select={"id": "f" * 32}) == {"slot": 7, "found": False}
    slot.spool.damaged = True
    assert slot.ask("show", select={"id": ident(3).hex()})["headers"] == "(unreadable: body checksum)"


def test_retry_is_recorded_then_scheduled(slot: Slot) -> None:
    before = clock.wall()
    answer = slot.ask("retry", select={"domain": "b.example"})
    assert (answer["changed"], answer["busy"], answer["next"]) == (5, 0, None)
    waiting = slot.state(3).recipients
    assert waiting[0] == Waiting(2, slot.created + 7200, "451 later")
    assert isinstance(waiting[1], Waiting)
    assert waiting[1].due >= before
    assert slot.schedule.calls == [("retry", ident(n)) for n in (1, 3, 5, 7, 9)]
    assert slot.schedule.meant == (1,), "not the recipients at other domains"


def test_retry_passes_over_what_it_could_do_nothing_to(slot: Slot) -> None:
    slot.ask("hold", select={"id": ident(2).hex()}, reason="r")
    (item,) = slot.schedule.items(ident(4))
    item.place, item.route = Place.WAITING, Route("a.example", "", RouteKind.MX, (), 0.0)
    assert [slot.ask("retry", select={"id": ident(n).hex()})["changed"] for n in (2, 4, 6)] == [0, 0, 1]


def test_remove_ends_whole_messages(slot: Slot) -> None:
    answer = slot.ask("remove", select={"id": ident(4).hex()}, reason="spam", who="root")
    assert answer["changed"] == 1
    assert ident(4) not in slot.spool.open
    assert ident(4) not in slot.schedule.table
    record = json.loads(slot.events.read_text())
    assert (record["type"], record["id"], record["recipient"]) == ("AdminRemove", ident(4).hex(), "u4@a.example")
    assert (record["reason"], record["who"]) == ("spam", "root")


def test_remove_by_domain_leaves_the_other_recipients_scheduled_as_they_were(slot: Slot) -> None:
    before = slot.schedule.items(ident(3))[1]
    assert slot.ask("remove", select={"domain": "a.example"})["changed"] == 10
    assert len(slot.spool.open) == 5
    assert slot.state(3).recipients[0] == int(Status.REMOVED)
    (item,) = slot.schedule.items(ident(3))
    assert (item.domain, item.indices, item.due, item.attempts) == ("b.example", (1,), before.due, 2)
    assert item.expires == pytest.approx(before.expires, abs=1.0)


def test_a_bounce_tells_senders_and_closes(slot: Slot) -> None:
    assert slot.ask("bounce", select={"all": True})["code"] == 64, "without a reason"
    before = slot.schedule.items(ident(3))[0]
    answer = slot.ask("bounce", select={"domain": "b.example"}, reason="closed\r\ndown", who="root")
    assert (answer["changed"], answer["busy"], answer["next"]) == (5, 0, None)
    assert sorted(told[:2] for told in slot.told) == [(ident(n), [1]) for n in (1, 3, 7, 9)], "u5 is not asked for"
    assert slot.told[0][2] == "Returned by an operator of this relay: closed??down"
    assert [slot.state(n).recipients[1] for n in (3, 5)] == [int(Status.FAILED)] * 2
    (item,) = slot.schedule.items(ident(3))
    assert (item.domain, item.due) == ("a.example", before.due)
    lines = {line["id"]: line for line in map(json.loads, slot.events.read_text().splitlines())}
    assert len(lines) == 5 and {line["type"] for line in lines.values()} == {"AdminBounce"}
    assert lines[ident(3).hex()]["notice"] == (b"n" * 16).hex()
    assert lines[ident(5).hex()]["notice"] == "not asked for"
    assert lines[ident(5).hex()]["response"]["code"] == 550 and lines[ident(5).hex()]["who"] == "root"
    assert slot.ask("bounce", select={"id": ident(4).hex()}, reason="r", silent=True)["changed"] == 1
    assert ident(4) not in slot.spool.open and len(slot.told) == 4


def test_a_bounce_whose_notice_cannot_be_stored_changes_nothing(slot: Slot) -> None:
    slot.no_notices = True
    answer = slot.ask("bounce", select={"all": True}, reason="r")
    assert (answer["changed"], answer["code"]) == (0, 75)
    assert len(slot.spool.open) == 10
    for n in range(10):
        assert [item.domain for item in slot.schedule.items(ident(n))] == (
            ["a.example", "b.example"] if n % 2 else ["a.example"]
        )


def test_what_is_in_delivery_is_left_alone_and_counted(slot: Slot) -> None:
    slot.schedule.table[ident(3)][0].place = Place.RUNNING
    before = slot.state(3)
    for verb in ("retry", "remove", "hold"):
        answer = slot.ask(verb, select={"id": ident(3).hex()}, reason="r")
        assert (answer["changed"], answer["busy"]) == (0, 1), verb
    assert slot.state(3) == before


def test_a_failed_record_changes_nothing(slot: Slot) -> None:
    slot.spool.fails = True
    slot.schedule.table[ident(2)][0].place = Place.HELD
    answer = slot.ask("remove", select={"all": True})
    assert answer == {"slot": 7, "changed": 0, "busy": 0, "next": None, "error": "no room", "code": 75}
    assert len(slot.spool.open) == 10
    assert len(slot.schedule.items(ident(3))) == 2
    assert slot.schedule.items(ident(2))[0].place is Place.HELD


def test_what_was_changed_before_the_disk_was_full_is_told(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "_BATCH", 4)
    written = slot.spool.record_synced
    batches = iter(range(100))

    def fills_up(records: Sequence[tuple[bytes, State]]) -> None:
        if next(batches) == 2:
            raise MachineShort("no room")
        written(records)

    slot.spool.record_synced = fills_up  # type: ignore[method-assign]
    answer = slot.ask("retry", select={"all": True})
    assert (answer["changed"], answer["error"], answer["code"]) == (8, "no room", 75)
    assert len(slot.schedule.calls) == 8


def test_changes_go_on_from_a_cursor_when_they_take_long(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "_BATCH", 4)
    monkeypatch.setattr(search, "BUDGET", 0.0)
    monkeypatch.setattr(search, "_LOOKS", 1000)
    first = slot.ask("retry", select={"all": True})
    assert (first["changed"], first["next"]) == (4, ident(3).hex())
    assert slot.ask("retry", select={"all": True}, after=first["next"])["next"] == ident(7).hex()


def test_a_hold_that_could_not_be_written_holds_nothing(slot: Slot) -> None:
    """Else it would stand still on the schedule, without a record by which `release` finds it."""
    slot.ask("hold", select={"id": ident(4).hex()}, reason="held before")
    slot.schedule.calls.clear()
    slot.spool.fails = True
    assert slot.ask("hold", select={"domain": "b.example"}, reason="r")["code"] == 75
    assert slot.ask("hold", select={"id": ident(4).hex()}, reason="r")["code"] == 75
    assert [n for n in range(10) if slot.state(n).held] == [4]
    stopped = [one for verb, one in slot.schedule.calls if verb == "hold"]
    freed = [(one, slot.schedule.released[one]) for verb, one in slot.schedule.calls if verb == "release"]
    assert freed == [(one, slot.created + 7200) for one in stopped if one != ident(4)]


def test_hold_and_release(slot: Slot) -> None:
    assert slot.ask("hold", select={"all": True})["code"] == 64
    assert slot.ask("hold", select={"domain": "b.example"}, reason="abuse case 7")["changed"] == 5
    assert slot.state(3).held == "abuse case 7"
    assert slot.ask("list", select={"held": True})["rows"][0]["held"] == "abuse case 7"
    assert slot.ask("release", select={"all": True})["changed"] == 5
    assert slot.state(3).held == ""
    assert {verb for verb, _ in slot.schedule.calls} == {"hold", "release"}


def test_offline_the_records_are_the_whole_of_it(tmp_path: Path) -> None:
    slot = Slot(tmp_path, offline=True)
    assert slot.ask("remove", select={"domain": "a.example"})["changed"] == 10
    assert len(slot.spool.open) == 5
    assert slot.ask("list")["rows"][0]["places"] == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"verb": "destroy"}, "no verb 'destroy'"),
        ({"verb": "remove"}, "say which mail"),
        ({"verb": "remove", "select": {"domian": "x"}}, "domian"),
        ({"verb": "show"}, "not a message id"),
        ({"verb": "list", "after": "x"}, "not a message id"),
        ({"verb": 5}, "bad request"),
        ([], "bad request"),
        (None, "bad request"),
    ],
)
def test_senseless_requests_are_answered(slot: Slot, request_: object, words: str) -> None:
    answer = slot.control.answer(request_)
    assert words in answer["error"]
    assert answer["code"] == 64
    assert len(slot.spool.open) == 10
