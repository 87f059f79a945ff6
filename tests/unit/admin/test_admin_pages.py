"""Health and readiness from rows; metrics from files, whole or not."""

import json
from pathlib import Path

import pytest

from fastrelay import metrics
from fastrelay.admin.http import HttpError, Request
from fastrelay.admin.pages import FRESH, Pages, workers_now
from fastrelay.process.heartbeat import Row, State

NOW = 1000.0


class Page:
    def __init__(self, *rows: Row) -> None:
        self._rows = rows

    def rows(self) -> tuple[Row, ...]:
        return self._rows


def row(slot: int = 0, state: State = State.READY, age: float = 0.5) -> Row:
    return Row(slot, 100 + slot, state, NOW - age, 0, 3, 7, ())


def get(path: str, *rows: Row, directory: Path = Path("nowhere"), method: str = "GET") -> tuple[int, bytes]:
    pages = Pages(Page(*rows), str(directory), lambda: NOW)
    response = pages.handle(Request(method, path, {}, 0, True), b"")
    return response.status, response.body


@pytest.mark.parametrize(
    ("rows", "alive", "ready"),
    [
        ((), False, False),
        ((row(),), True, True),
        ((row(age=FRESH),), False, False),
        ((row(age=FRESH), row(1)), True, True),
        ((row(state=State.STARTING),), True, False),
        ((row(state=State.DRAINING),), True, False),
        ((row(state=State.DRAINING), row(1, age=FRESH)), True, False),
    ],
)
def test_alive_and_ready(rows: tuple[Row, ...], alive: bool, ready: bool) -> None:
    status, octets = get("/healthz", *rows)
    assert (status, json.loads(octets)["alive"]) == (200 if alive else 503, alive)
    status, octets = get("/readyz", *rows)
    assert (status, json.loads(octets)["ready"]) == (200 if ready else 503, ready)


def test_a_worker_as_people_see_it() -> None:
    assert workers_now([row(2, State.DRAINING, 1.23456)], NOW) == [
        {"slot": 2, "pid": 102, "state": "draining", "beat_age": 1.235, "fresh": True, "sessions": 3, "load": 7}
    ]
    assert workers_now([row(age=-1.0)], NOW)[0]["beat_age"] == 0.0


def test_a_scrape_passes_over_files_that_are_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.DIRECTORY, "")
    directory = metrics.open_directory(tmp_path, wipe=True)
    counts = metrics.Counts()
    exporter = metrics.Exporter(counts, 0)
    counts.sessions = 4
    exporter.flush()
    (directory / "counter_1.db").touch()
    (directory / "gauge_livesum_1.db").touch()
    (directory / "notes.txt").write_text("not ours")
    status, octets = get("/metrics", directory=directory)
    assert status == 200 and b"fastrelay_sessions_total 4.0" in octets.splitlines()


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/metrics/", "GET", 404), ("/readyz", "PUT", 405)]
)
def test_there_is_nothing_else(path: str, method: str, status: int) -> None:
    with pytest.raises(HttpError) as refused:
        get(path, method=method)
    assert refused.value.status == status
