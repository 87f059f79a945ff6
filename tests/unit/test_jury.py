"""Received mail judged after its 250: bounded, counted, never in the way of a session, one line for each verdict."""

from typing import Any

import pytest

from fastrelay import jury
from fastrelay.errors import Impossible
from fastrelay.jury import HEAD, Jury, told
from fastrelay.metrics import Counts
from fastrelay.trail.judge import judge
from fastrelay.trail.known import Known
from tests.unit.rooms import until

IDENT = bytes(range(16))
PREFIX = (
    b"Received: from mx.example.net (mx.example.net [203.0.113.7])\r\n\tby relay.example.com with ESMTP id 0;"
    b" Wed, 25 Nov 2026 12:00:10 +0000\r\n"
)
HONEST = b"Received: from pc ([192.168.1.2]) by mx.example.net with SMTP; Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nbody"
FORGED = b"Received: from pc by mail.example.org with SMTP; Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nbody"


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def write(self, kind: str, /, **fields: Any) -> None:
        self.lines.append((kind, fields))


def bench(head: Any = None) -> tuple[Jury, Log, Counts]:
    log, counts = Log(), Counts()
    return Jury(Known(), head or (lambda ident, most: b""), log, counts), log, counts  # type: ignore[arg-type]


def test_nothing_is_judged_before_the_caller_lets_go() -> None:
    court, log, _counts = bench()
    court.consider(IDENT, PREFIX, HONEST)
    assert log.lines == [] and court.statistics()["waiting"] == 1
    until(lambda: log.lines)
    assert court.statistics() == {"waiting": 0, "octets": 0}


def test_a_line_with_the_verdict_for_each_message() -> None:
    court, log, counts = bench()
    court.consider(IDENT, PREFIX, HONEST)
    court.consider(IDENT, PREFIX, FORGED)
    until(lambda: len(log.lines) == 2)
    (kind, honest), (_, forged) = log.lines
    assert kind == "TrailVerdict" and honest["id"] == IDENT
    assert honest["verdict"] == "consistent" and honest["hops"] == 2 and honest["reasons"] == []
    assert forged["verdict"] == "suspicious" and forged["reasons"][0].startswith(
        "hop 2: broken joint: mail.example.org"
    )
    assert (counts.trail_consistent, counts.trail_suspicious) == (1, 1)


def test_content_in_a_file_is_read_when_its_turn_comes() -> None:
    asked: list[tuple[bytes, int]] = []

    def head(ident: bytes, most: int) -> bytes:
        asked.append((ident, most))
        return PREFIX + FORGED

    court, log, _counts = bench(head)
    court.consider(IDENT, PREFIX, object())
    assert asked == []
    until(lambda: log.lines)
    assert asked == [(IDENT, HEAD)] and log.lines[0][1]["verdict"] == "suspicious"


def test_a_message_that_is_gone_is_dropped_and_counted() -> None:
    def head(ident: bytes, most: int) -> bytes:
        raise Impossible("no open message")

    court, log, counts = bench(head)
    court.consider(IDENT, PREFIX, object())
    until(lambda: counts.trail_dropped)
    assert log.lines == []


def test_what_has_no_trail_is_counted_alone() -> None:
    court, log, counts = bench()
    court.consider(IDENT, b"", b"Subject: x\r\n\r\n")
    until(lambda: counts.trail_unreadable)
    assert log.lines == []


def test_beyond_its_length_the_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jury, "QUEUE", 3)
    court, log, counts = bench()
    for _ in range(5):
        court.consider(IDENT, PREFIX, HONEST)
    assert counts.trail_dropped == 2 and court.statistics()["waiting"] == 3
    until(lambda: len(log.lines) == 3)
    court.consider(IDENT, PREFIX, HONEST)  # and takes again
    until(lambda: len(log.lines) == 4)


def test_beyond_its_octets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jury, "OCTETS", len(PREFIX + HONEST) + 10)
    court, _log, counts = bench()
    court.consider(IDENT, PREFIX, HONEST)
    court.consider(IDENT, PREFIX, HONEST)
    assert counts.trail_dropped == 1


def test_of_a_large_head_only_the_beginning_waits() -> None:
    court, _log, _counts = bench()
    court.consider(IDENT, PREFIX, b"X: y\r\n" * 20_000)
    assert court.statistics()["octets"] == len(PREFIX) + HEAD


def test_the_line_tells_the_heaviest_reasons() -> None:
    bodies = [
        f"from h{n}.example.org by mx{n}.example{n}.net with SMTP; Wed, 25 Nov 2026 12:00:0{n} +0000" for n in range(9)
    ]
    fields = told(judge(bodies))
    assert isinstance(fields["reasons"], list) and len(fields["reasons"]) == jury.REASONS
