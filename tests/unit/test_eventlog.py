"""Event lines: fields, bounds, what may never stand in them; full logs; rotation."""

import enum
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay import eventlog
from fastrelay.config import Log
from fastrelay.errors import MisuseError
from fastrelay.eventlog import EventLog, line_of, open_events, response
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.reply import reply
from fastrelay.metrics import Counts


def event(kind: str = "Delivery", **fields: Any) -> dict[str, Any]:
    line = line_of(kind, fields, 1_700_000_000.123456)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= eventlog.MAX_LINE
    record: dict[str, Any] = json.loads(line)
    return record


def test_a_delivery_line_has_the_names_operators_know() -> None:
    ident = IdentSource().fresh(1_700_000_000.0)
    record = event(
        id=ident,
        sender="a@example.org",
        recipient="b@example.net",
        site="google",
        size=5000,
        response=response(reply(250, "2.0.0", "Ok", "queued"), "DATA"),
        peer_address={"name": "mx.example.net", "addr": "192.0.2.1"},
        created_time=1_700_000_000.0,
        num_attempts=1,
        delays=[0.001, 0.002, 0.003, 0.004],
    )
    assert record["type"] == "Delivery"
    assert record["event_time"] == 1_700_000_000.123456
    assert record["id"] == ident.hex()
    assert record["response"] == {"code": 250, "enhanced_code": "2.0.0", "content": "Ok queued", "command": "DATA"}
    assert next(iter(record)) == "type"


def test_reply_text_is_cut_and_says_so() -> None:
    record = event(id=b"x" * 16, response=response(reply(550, "5.1.1", "no " * 30_000), "RCPT"), sender="s" * 3000)
    assert record["truncated"] is True
    assert record["response"]["code"] == 550
    assert len(record["response"]["content"]) <= 1024


def test_a_line_fits_whatever_it_holds() -> None:
    record = event(id=b"x" * 16, wild={str(n): "\x00" * 100 for n in range(3000)})
    assert record == {
        "type": "Delivery",
        "event_time": 1_700_000_000.123456,
        "id": (b"x" * 16).hex(),
        "truncated": True,
    }


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec=None), max_size=3000), st.text(max_size=3000), st.booleans())
def test_any_text_becomes_one_bounded_line_without_controls(one: str, two: str, long: bool) -> None:
    line = line_of("Bounce", {"sender": one * (5 if long else 1), "response": {"content": two}}, 1.0)
    assert len(line) <= eventlog.MAX_LINE
    text = line.decode("utf-8")
    assert json.loads(text)["type"] == "Bounce"
    assert eventlog._UNPRINTABLE.search(text[:-1]) is None


def test_controls_that_move_a_terminal_are_escaped_not_lost() -> None:
    hostile = "x\x1b[2J\x9b31m\u202e\x7f"
    line = line_of("Rejection", {"sender": hostile}, 1.0)
    assert b"\x1b" not in line
    assert b"\\u009b" in line
    assert json.loads(line)["sender"] == hostile


@pytest.mark.parametrize(
    "text",
    [
        "AUTH PLAIN AGFsaWNlAHNlY3JldA==",
        "auth plain AGFsaWNlAHNlY3JldA==",
        "Auth Login AGFsaWNlAHNlY3JldA==",
        "AUTH SCRAM-SHA-256 AGFsaWNlAHNlY3JldA==",
        "AUTH X-UNHEARD-OF AGFsaWNlAHNlY3JldA==",
        "5.5.4 what is AUTH  PLAIN   AGFsaWNlAHNlY3JldA== to me",
    ],
)
def test_credentials_never_reach_the_log(text: str) -> None:
    line = line_of("Rejection", {"response": {"content": text, "command": text}}, 1.0)
    assert b"AGFsa" not in line
    assert b"***" in line


def test_named_secrets_are_hidden_and_innocent_words_are_not() -> None:
    record = event(password="hunter2", response=response(reply(530, "5.7.0", "AUTH required before MAIL"), "MAIL"))
    assert record["password"] == "***"
    assert record["response"]["content"] == "AUTH required before MAIL"


def test_values_of_other_types_become_text() -> None:
    class Colour(enum.Enum):
        RED = "red"

    assert event(colour=Colour.RED, path=Path("/x"), nothing=None)["path"] == "/x"


def test_events_none_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    log = EventLog(Log(events="none"))
    log.write("Delivery", id=b"0" * 16)
    log.close()
    assert capfd.readouterr().out == ""


def test_stdout_and_stderr_lines(capfd: pytest.CaptureFixture[str]) -> None:
    log = EventLog(Log(level="warning"), name="slot 3", wall=lambda: 1_700_000_000.0)
    log.write("Delivery", id=b"0" * 16)
    log.say("info", "not heard")
    log.say("error", "spool\nis \x1b[1mfull")
    log.close()
    seen = capfd.readouterr()
    assert json.loads(seen.out)["id"] == "30" * 16
    assert seen.err == "2023-11-14T22:13:20Z error slot 3: spool?is ?[1mfull\n"


def test_rotation_goes_on_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    log = EventLog(Log(events=str(path)))
    log.write("Delivery", number=1)
    path.rename(tmp_path / "events.log.1")
    log.write("Delivery", number=2)
    log.reopen()
    log.write("Delivery", number=3)
    log.close()
    assert [json.loads(line)["number"] for line in (tmp_path / "events.log.1").open()] == [1, 2]
    assert [json.loads(line)["number"] for line in path.open()] == [3]
    assert path.stat().st_mode & 0o777 == 0o640


def test_rotation_that_fails_keeps_the_old_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    log = EventLog(Log(events=str(folder / "events.log")))
    folder.rename(tmp_path / "gone")
    log.reopen()
    log.write("Delivery", number=1)
    log.close()
    assert json.loads((tmp_path / "gone/events.log").read_text())["number"] == 1
    assert "is kept" in capfd.readouterr().err


def test_a_reload_moves_the_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = Log(events=str(tmp_path / "first")), Log(events=str(tmp_path / "second"), level="error")
    log = EventLog(first)

    def renew(to: Log) -> None:
        log.renew(to, open_events(to))
        log.write("Delivery", to=to.events)

    for to in (first, second, Log(), Log(events="none"), first):
        renew(to)
        log.say("info", f"level {to.level}")
    log.close()
    for one in (first, second):
        assert {json.loads(line)["to"] for line in Path(one.events).read_text().splitlines()} == {one.events}
    seen = capfd.readouterr()
    assert json.loads(seen.out)["to"] == "stdout"
    assert len(seen.err.splitlines()) == 4, "second wants errors alone"
    os.fstat(1)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"log\.events: cannot open .*nowhere/x: No such file"):
        EventLog(Log(events=str(tmp_path / "nowhere/x")))


@pytest.mark.parametrize("on_full", ["drop", "wait"])
def test_a_full_log_drops_counts_and_asks_reception_to_wait(
    on_full: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(eventlog, "BUFFER", 10_000)
    counts = Counts()
    log = EventLog(Log(events=str(tmp_path / "events"), on_full=on_full), counts=counts)
    log.start()
    shorts = []
    for n in range(200):
        log.write("Delivery", number=n)
        shorts.append(log.short)
    assert counts.event_log_dropped == log.statistics()["lost"] > 0
    assert shorts[0] is False
    assert shorts[-1] is (on_full == "wait")
    log.flush()
    while log.statistics()["held"]:
        pass
    log.write("Delivery", number=1000)
    log.close()
    records = [json.loads(line) for line in (tmp_path / "events").open()]
    assert [r["count"] for r in records if r["type"] == "EventLogDropped"] == [counts.event_log_dropped]
    assert records[-1]["number"] == 1000
    assert sum(r["type"] == "Delivery" for r in records) == 201 - counts.event_log_dropped
    assert not log.short


def test_two_processes_on_one_pipe_never_tear_a_line() -> None:
    reader, fd = os.pipe()
    children = []
    for name in ("one", "two"):
        pid = os.fork()
        if pid == 0:
            os.dup2(fd, 1)
            os.close(reader)
            log = EventLog(Log(), name=name)
            log.start()
            for n in range(2000):
                log.write("Delivery", who=name, number=n, fill="x" * (n % 900))
            log.close(20.0)
            os._exit(0)
        children.append(pid)
    os.close(fd)
    with os.fdopen(reader, "rb") as stream:
        records = [json.loads(line) for line in stream]
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    for name in ("one", "two"):
        assert [r["number"] for r in records if r["who"] == name] == list(range(2000))
    sys.stdout.flush()
