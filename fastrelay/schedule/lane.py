"""A lane: what is ready for one site, and how that site is doing. It holds items (ids), never bodies.

FIFO by the time of becoming ready. Entries are removed lazily: one whose item no longer stands here is passed over, and
when such entries are many the queue is rebuilt. `runners`, `parked` and `coming` belong to runners.py, which drives the
lane; they stand here so that waking a runner is one attribute away.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.window import Window, fresh

_SLACK = 1024  # stale entries that are never worth a rebuild
LAST = 5  # replies kept for `explain`
LONGEST_REPLY = 200  # characters of one
LANE_IDLE = 600.0  # seconds an empty lane keeps what it learned of its site
IDLE_LANES = 10_000  # over that many lanes it keeps it until the next look only: a lane without items costs 1 KB


class SiteSettings(Protocol):
    """What of a site's settings the schedule needs: how many deliveries at once."""

    @property
    def connections(self) -> int: ...


class Lane:
    """One site's queue. suspended_until: monotonic seconds, 0 = not suspended; why: words for `explain`;
    word: what the receiver said when it closed the window. last: the LAST replies that were no success, each with its
    monotonic second.

    runners: tasks that work for it, the parked ones included. coming: those started or woken that have not picked yet.
    """

    __slots__ = (
        "coming",
        "idle_since",
        "items",
        "last",
        "parked",
        "ready",
        "runners",
        "site",
        "suspended_until",
        "why",
        "window",
        "word",
    )

    def __init__(self, site: str, window: Window, now: float) -> None:
        self.site = site
        self.window = window
        self.items: deque[Item] = deque()
        self.ready = 0
        self.runners = 0
        self.coming = 0
        self.parked: list[Any] = []
        self.suspended_until = 0.0
        self.why = ""
        self.word = ""
        self.last: tuple[tuple[float, str], ...] = ()
        self.idle_since = now

    def __repr__(self) -> str:
        state = f"suspended until {self.suspended_until:.0f} ({self.why})" if self.suspended_until else "open"
        return (
            f"<Lane {self.site} {state}: {self.ready} ready, {self.runners} runners ({len(self.parked)} parked), "
            f"window {self.window.size}/{self.window.limit}>"
        )

    def push(self, item: Item) -> None:
        """At the end. The caller has placed the item here."""
        self.items.append(item)
        self.ready += 1
        if len(self.items) > 2 * self.ready + _SLACK:
            self.items = deque(one for one in self.items if self.holds(one))

    def pop(self) -> Item | None:
        """The first item that still stands here, its entry taken out; `left` or a pick must follow."""
        items = self.items
        while items:
            item = items.popleft()
            if item.at is self and item.place is Place.READY:
                return item
        return None

    def left(self) -> None:
        """An item that stood here goes elsewhere."""
        self.ready -= 1

    def holds(self, item: Item) -> bool:
        """The item stands in this lane, ready."""
        return item.at is self and item.place is Place.READY

    def note(self, now: float, reply: str) -> None:
        """The site did not take something, and this is what it said."""
        self.last = (*self.last[1 - LAST :], (now, reply[:LONGEST_REPLY]))

    def suspended(self, now: float) -> bool:
        """No delivery now. Ends a suspension whose time has passed."""
        if not self.suspended_until:
            return False
        if self.suspended_until > now:
            return True
        self.suspended_until = 0.0
        self.why = ""
        return False


class Lanes:
    """All lanes of a worker, made when first asked for and forgotten when long idle."""

    __slots__ = ("_lanes", "_settings_of")

    def __init__(self, settings_of: Callable[[str], SiteSettings]) -> None:
        self._settings_of = settings_of
        self._lanes: dict[str, Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def all(self) -> list[Lane]:
        """Those there are now."""
        return list(self._lanes.values())

    def find(self, site: str) -> Lane | None:
        """The lane of a site, if there is one."""
        return self._lanes.get(site)

    def of(self, site: str, now: float) -> Lane:
        """The lane of a site."""
        lane = self._lanes.get(site)
        if lane is None:
            lane = self._lanes[site] = Lane(site, fresh(self._settings_of(site).connections), now)
        return lane

    def renew(self) -> None:
        """The settings of sites have changed: every window stands under its limit as it is now."""
        for lane in self._lanes.values():
            lane.window = lane.window.limited(self._settings_of(lane.site).connections)

    def forget_idle(self, now: float) -> None:
        """Drop lanes that have nothing to do and nothing to remember."""
        patience = LANE_IDLE if len(self._lanes) <= IDLE_LANES else 0.0
        for lane in self.all():
            if lane.ready or lane.runners or lane.suspended_until > now:
                lane.idle_since = now
            elif now - lane.idle_since > patience:
                del self._lanes[lane.site]
