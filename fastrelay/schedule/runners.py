"""Runners: the tasks that work a lane off. What they do to an item is handed in.

A runner has hands (one connection at most), picks an item, attempts it, picks the next. When the lane has none it
parks, its connection idle in the pool, and the next item wakes the runner that parked last: on the warm path nothing is
started and one task is switched to. It ends when it has parked for `idle_timeout`, has no connection to park with, or
the lane's window has become too small for it.

`Lane.coming` counts runners on their way to a pick, so that ten items that become ready in one turn wake ten runners,
and one item wakes one. A runner that a limit of ours held back rests as long as the limit says, no item in hand.

Every wait of an attempt has an end of its own. Should one not (a bug), the watch finds the runner that has made no
progress for STUCK seconds, says so, and ends it: its item is given back like that of any killed task.

Bounded: `window.size` working runners a lane; MOST in all, beyond that one a lane, beyond twice that lanes stand in
line.
"""

from collections.abc import Callable
from typing import Any, Protocol

from fastrelay.errors import Impossible, PeerTimeout
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Item
from fastrelay.schedule.lane import Lane

MOST = 4000  # some 20 KB each with stream and buffers: 80 MB, and a socket each
SWEEP_EVERY = 5.0  # seconds between two looks for runners that have parked too long
STUCK = 1800.0  # seconds; the longest wait the protocol knows is the 600 for the final dot (RFC 5321 4.5.3.2.6)
TURN = 64  # attempts in a row that may all have ended without waiting, before others get a turn


class Hands(Protocol):
    """What a runner works with (delivery/carrier.py). connection: None when there is none in hand. progress: changes
    with each step of a delivery."""

    @property
    def connection(self) -> object: ...
    @property
    def progress(self) -> float: ...
    def rest(self, now: float) -> None: ...
    def close(self) -> None: ...


class Settings(Protocol):
    """Of a site: seconds an unused connection is kept."""

    @property
    def idle_timeout(self) -> float: ...


class Runner:
    """One task of a lane. parked_at: monotonic seconds, 0 while it is not. waits: parked or resting. item: in hand.
    seen, since: what the watch saw it at, and when first."""

    __slots__ = ("hands", "idle_timeout", "item", "lane", "parked_at", "place", "seen", "since", "task", "waits")

    def __init__(self, lane: Lane, hands: Hands, idle_timeout: float) -> None:
        self.lane = lane
        self.hands = hands
        self.idle_timeout = idle_timeout
        self.place = tasks.Parking()
        self.parked_at = 0.0
        self.waits = False
        self.item: Item | None = None
        self.seen: tuple[Item | None, float] = (None, 0.0)
        self.since = 0.0
        self.task: tasks.Task | None = None


class Runners:
    """All of a worker. pick(lane, now): the next item. attempt(hands, item): deliver and settle it; returns seconds to
    rest when a limit held it back, else 0; raises nothing but a kill, and then too the item is given back. is_sending:
    the hands are in the middle of a transaction, which a drain waits for."""

    def __init__(
        self,
        pick: Callable[[Lane, float], Item | None],
        attempt: Callable[..., float],
        make_hands: Callable[[], Hands],
        is_sending: Callable[[Any], bool],
        settings_of: Callable[[str], Settings],
        *,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._pick = pick
        self._attempt = attempt
        self._make_hands = make_hands
        self._is_sending = is_sending
        self._settings_of = settings_of
        self._now = now
        self._all: set[Runner] = set()
        self._line: dict[Lane, None] = {}  # lanes without a runner, for which there was no room
        self._sweep_at = 0.0
        self._draining = False
        self._ended = tasks.Event()

    def __len__(self) -> int:
        return len(self._all)

    def ready(self, lane: Lane) -> None:
        """Wake or start runners for items that none is on its way to yet. Never waits."""
        if lane.suspended_until and lane.suspended(self._now()):
            return
        parked = lane.parked
        while lane.coming < lane.ready and lane.runners - len(parked) < lane.window.size:
            if parked:
                parked.pop().place.wake(True)
            elif self._has_room(lane):
                lane.runners += 1
                runner = Runner(lane, self._make_hands(), self._settings_of(lane.site).idle_timeout)
                self._all.add(runner)
                runner.task = tasks.spawn(self._run, runner)
            else:
                return
            lane.coming += 1

    def tick(self, now: float) -> None:
        """Once a second. Ends runners that have parked too long, and those that are stuck. Never waits."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_EVERY
        for runner in self._all:
            self._watch(runner, now)
            if runner.parked_at and now - runner.parked_at >= runner.idle_timeout and runner in runner.lane.parked:
                runner.lane.parked.remove(runner)
                runner.place.wake(False)

    def _watch(self, runner: Runner, now: float) -> None:
        item = runner.item
        seen = (item, runner.hands.progress)
        if runner.waits or item is None or seen != runner.seen:
            runner.seen, runner.since = seen, now
        elif now - runner.since >= STUCK and runner.task:
            runner.since = now
            what = f"{item.ident.hex()} at {item.domain}: no progress of its delivery for {STUCK:.0f} s, it is cut off"
            tasks.on_crash("Runners.watch", Impossible(what))
            tasks.kill(runner.task)

    def drain(self, seconds: float) -> bool:
        """No further pick. Transactions may end within `seconds`, then are cut off; who only waits for a route or a
        connection is cut off now. Waits. True: all ended."""
        self._draining = True
        self._line.clear()
        for runner in self._all:
            if runner.waits:
                runner.lane.parked.clear()
                runner.place.wake(False)
            elif runner.task and not self._is_sending(runner.hands):  # one not begun ends by itself
                tasks.kill(runner.task)
        if not self._all or self._ended.wait(seconds):
            return True
        self.cut()
        self._ended.wait(1.0)  # each gives its item back and closes its connection, without waiting for a peer
        return False

    def cut(self) -> None:
        """End all now, wherever they are. Never waits."""
        self._draining = True
        for runner in self._all:
            if runner.task:
                tasks.kill(runner.task)

    def unconnected(self, site: str) -> list[Item]:
        """Items of a site that are in hand and not being sent yet: they wait for a route or a connection."""
        return [
            runner.item
            for runner in self._all
            if runner.item is not None and runner.lane.site == site and not self._is_sending(runner.hands)
        ]

    def statistics(self) -> dict[str, int]:
        """Runners, those parked among them, and lanes in line for one."""
        return {
            "runners": len(self._all),
            "parked": sum(runner.parked_at > 0.0 for runner in self._all),
            "line": len(self._line),
        }

    # -- one runner -----------------------------------------------------------------------------------------------

    def _run(self, runner: Runner) -> None:
        lane, hands, now = runner.lane, runner.hands, self._now
        lane.coming -= 1
        count = 0
        try:
            while not self._draining and lane.runners - len(lane.parked) <= lane.window.size:
                item = self._pick(lane, now())
                if item is None:
                    if not self._park(runner):
                        break
                    continue
                runner.item = item
                pause = self._attempt(hands, item)
                runner.item = None
                if pause > 0.0:
                    self._rest(runner, pause)
                elif lane.ready > lane.coming:
                    self.ready(lane)  # the window may have grown
                count += 1
                if count % TURN == 0:
                    tasks.run_loop_once()
        finally:
            lane.runners -= 1
            self._all.discard(runner)
            if self._draining and not self._all:
                self._ended.set()
            hands.close()
        if self._draining:
            return
        if lane.ready:
            self.ready(lane)
        while self._line and len(self._all) < 2 * MOST:
            lane = next(iter(self._line))
            del self._line[lane]
            self.ready(lane)

    def _park(self, runner: Runner) -> bool:
        """Wait for work. False: enough waited, or nothing to wait with."""
        if runner.hands.connection is None or len(self._all) > MOST:
            return False
        lane = runner.lane
        runner.parked_at = self._now()
        runner.hands.rest(runner.parked_at)
        lane.parked.append(runner)
        runner.waits = True
        try:
            woken = runner.place.wait()
        except BaseException:
            if runner in lane.parked:
                lane.parked.remove(runner)
            raise
        finally:
            runner.waits = False
            runner.parked_at = 0.0
        if woken:
            lane.coming -= 1
        return bool(woken)

    def _rest(self, runner: Runner, seconds: float) -> None:
        """A limit stands in the way: nothing is picked until it may have gone."""
        runner.waits = True
        try:
            runner.place.wait(seconds)
        except PeerTimeout:
            return
        finally:
            runner.waits = False

    def _has_room(self, lane: Lane) -> bool:
        count = len(self._all)
        if self._draining:
            return False
        if count < MOST or (not lane.runners and count < 2 * MOST):
            return True
        if not lane.runners:
            self._line[lane] = None
        return False
