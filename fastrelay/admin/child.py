"""The admin child's life: serve until told to end, or until the master is gone. Wiring only.

    claim the row -> serve on admin.sock and, where there is one, on the [admin] address -> finish what is being asked

The same pages stand on both. The API is on admin.sock, where file permission says who may ask; over TCP it needs the
token of admin.token_file (token.py), and without such a file it is not there at all. TERM, INT and QUIT end it after at
most LAST_ANSWERS seconds, the end of the master at once.
"""

import os
import signal
import time
from pathlib import Path

from fastrelay import metrics
from fastrelay.admin.api import ROOT, Api
from fastrelay.admin.fanout import Fanout
from fastrelay.admin.http import HttpError, Request, Response
from fastrelay.admin.pages import Pages, workers_now
from fastrelay.admin.server import Server
from fastrelay.admin.token import Token
from fastrelay.errors import Impossible
from fastrelay.eventlog import EventLog
from fastrelay.process.admin_sockets import api_path
from fastrelay.process.seat import Seat
from fastrelay.process.sockets import name_of
from fastrelay.process.suspensions import Suspensions
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.signals import SignalWatch
from fastrelay.runtime.stream import ticking

IDENTITY = "admin"  # among the metrics' files
BEAT = 1.0  # seconds, as the workers
LAST_ANSWERS = 2.0  # seconds for requests in hand when told to end; the master waits 5


def run_admin(seat: Seat) -> int:
    """The life of the admin child; its exit code."""
    seat.claim_admin()
    return Admin(seat).run()


class Admin:
    """Pages, API and their servers on the seat's sockets."""

    def __init__(self, seat: Seat) -> None:
        if seat.api is None:
            raise Impossible("the admin child has no admin.sock: the master opens it before it forks")
        config, page = seat.config, seat.page
        self._seat = seat
        self._ended = tasks.Event()
        self._patience = LAST_ANSWERS
        self._counts = metrics.Counts()
        self._exporter = metrics.Exporter(self._counts, IDENTITY, goes_on=False)
        self._pages = Pages(page, os.environ[metrics.DIRECTORY], clock.now)
        self._log = EventLog(config.log, counts=self._counts, name="admin")
        self._log.start()
        fanout = Fanout(Path(config.server.runtime_dir), Path(config.spool.path), page)
        about: dict[str, object] = {
            "hostname": config.server.hostname,
            "master": os.getppid(),
            "admin": "" if seat.http is None else name_of(seat.http),
            "config": config.source,
        }
        self._api = Api(
            fanout,
            lambda: workers_now(page.rows(), clock.now()),
            about,
            stops=Suspensions(Path(config.spool.path)),
            note=self._log.write,
        )
        self._token = Token(config.admin.token_file)
        self._elsewhere = f"curl --unix-socket {api_path(config)} http://x{ROOT}status"
        self._servers = [Server(seat.api, self._all)]
        if seat.http is not None:
            self._servers.append(Server(seat.http, self._with_token))
        self._ticks = [ticking(), tasks.Ticker(BEAT, self._beat)]
        self._watches = [
            *(SignalWatch(number, self._ended.set) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)),
            SignalWatch(signal.SIGUSR1, self._log.reopen),
            tasks.DescriptorWatch(seat.life_fd, self._orphaned),
        ]

    def run(self) -> int:
        """Until told to end. The exit code."""
        self._beat()
        self._seat.ready()
        self._ended.wait()
        self._seat.page.draining()
        for server in self._servers:
            server.close()
        deadline = time.monotonic() + self._patience
        while any(server.busy for server in self._servers) and time.monotonic() < deadline:
            tasks.sleep(0.01)
        self._log.close(LAST_ANSWERS)
        return 0

    def _all(self, request: Request, body: bytes) -> Response:
        return (self._api if request.path.startswith(ROOT) else self._pages).handle(request, body)

    def _with_token(self, request: Request, body: bytes) -> Response:
        if request.path.startswith(ROOT):
            if not self._token.wanted:
                raise HttpError(403, f"the API needs admin.token_file to be served here; or ask {self._elsewhere}")
            self._token.check(request.authorization)
        return self._all(request, body)

    def _beat(self) -> None:
        page = self._seat.page
        page.beat(clock.now())
        self._counts.worker_restarts = page.restarts
        self._exporter.flush()

    def _orphaned(self) -> None:
        self._patience = 0.0
        self._ended.set()
