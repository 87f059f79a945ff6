"""/metrics, /healthz and /readyz: what a scraper and a supervisor ask.

/metrics   every process's values, merged (28 ms for 64 slots).
/healthz   200 while at least one worker beats: the house is alive. 503 when none has for FRESH seconds.
/readyz    200 while at least one worker that beats takes connections; 503 while all start or drain.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from fastrelay.admin.http import HttpError, Request, Response, json_response
from fastrelay.process.heartbeat import Row, State

FRESH = 10.0  # seconds without a beat (one a second is due) after which a worker does not count
TEXT = "text/plain; version=0.0.4; charset=utf-8"  # the exposition format generate_latest writes


class Page(Protocol):
    """What is read of the shared page (process/heartbeat.py)."""

    def rows(self) -> Sequence[Row]: ...


class Pages:
    """directory: of the metrics' files. now: monotonic seconds."""

    __slots__ = ("_directory", "_now", "_page")

    def __init__(self, page: Page, directory: str, now: Callable[[], float]) -> None:
        self._page = page
        self._directory = directory
        self._now = now

    def handle(self, request: Request, body: bytes) -> Response:
        """The answer to a request; HttpError 404 when it asks for none of these."""
        page = _PAGES.get(request.path)
        if page is None:
            raise HttpError(404, f"nothing at {request.path}; there are {', '.join(sorted(_PAGES))}")
        if request.method not in ("GET", "HEAD"):
            raise HttpError(405, "GET or HEAD", "Allow: GET, HEAD")
        return page(self)

    def _metrics(self) -> Response:
        registry = CollectorRegistry()
        registry.register(_Collector(self._directory))
        return Response(200, generate_latest(registry), TEXT)

    def _healthz(self) -> Response:
        workers = workers_now(self._page.rows(), self._now())
        alive = any(worker["fresh"] for worker in workers)
        return json_response({"alive": alive, "workers": workers}, 200 if alive else 503)

    def _readyz(self) -> Response:
        workers = workers_now(self._page.rows(), self._now())
        ready = any(worker["fresh"] and worker["state"] == "ready" for worker in workers)
        return json_response({"ready": ready, "workers": workers}, 200 if ready else 503)


def workers_now(rows: Sequence[Row], now: float) -> list[dict[str, object]]:
    """What each worker says of itself in the shared page. Pure; now: monotonic seconds."""
    return [
        {
            "slot": row.slot,
            "pid": row.pid,
            "state": State(row.state).name.lower(),
            "beat_age": round(max(0.0, now - row.beat), 3),
            "fresh": now - row.beat < FRESH,
            "sessions": row.sessions,
            "load": row.load,
        }
        for row in rows
    ]


class _Collector(Collector):
    """The library's merge, over the files that are whole: one a worker is making, or was making when it was killed, is
    empty, and the library would stumble over it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = [entry.path for entry in os.scandir(self._directory) if _is_whole(entry)]
        return _merge(files, accumulate=True)


def _is_whole(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.name.endswith(".db") and entry.stat().st_size > 0
    except FileNotFoundError:  # gauges of a worker that ended just now
        return False


_merge: Callable[..., Iterable[Metric]] = MultiProcessCollector.merge
_PAGES: dict[str, Callable[[Pages], Response]] = {
    "/metrics": Pages._metrics,
    "/healthz": Pages._healthz,
    "/readyz": Pages._readyz,
}
