"""Looking through the mail of one slot: what a selector means, in id order, in slices, and the sums over it.

Work rests after each SLICE, so mail goes on meanwhile, and ends with a cursor after BUDGET, or when an answer is full;
the next page goes on behind it. All messages are looked at: 5 us each where the envelope tells that it is not meant,
11 us where its state does (of a million; half of that while it fits the processor's caches). Where a domain was named
only its own are, which the schedule knows.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fastrelay.control import views
from fastrelay.control.faces import Schedule, Strongbox
from fastrelay.control.request import PAGE, SLICE, Found, Request, SiteOf, chosen, may_be_meant
from fastrelay.control.roll import Roll
from fastrelay.mail import ident as idents
from fastrelay.runtime import clock
from fastrelay.schedule.item import Place
from fastrelay.schedule.table import SHARDS

BUDGET = 1.0  # seconds per answer: half of what the admin process waits for a worker
REMEMBERED = 30.0  # seconds for which the list of a domain's messages serves further pages of it
_ROLLS = 4  # such lists at a time, 8 octets a message
_LOOKS = 32  # messages between two looks at the clock
_MANY = 128  # the same where nothing is decoded


def _above(after: bytes | None) -> bytes:
    """A cursor that has got on, though nothing was looked at."""
    return min(int.from_bytes(after or b"", "big") + 1, (1 << 128) - 1).to_bytes(16, "big")


class Search:
    """One per slot. schedule: None where the relay does not run. rest: lets others work between two slices."""

    __slots__ = ("_rest", "_rolls", "_schedule", "_site_of", "_store")

    def __init__(
        self, store: Strongbox, schedule: Schedule | None, site_of: SiteOf, rest: Callable[[float], None]
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._site_of = site_of
        self._rest = rest
        self._rolls: list[Roll] = []

    # -- one message ----------------------------------------------------------------------------------------------

    def look(self, ident: bytes, request: Request) -> Found | None:
        """The message as it stands now; None when it is not here, or not selected by what its envelope says. indices ()
        when it is not selected."""
        envelope = self._store.envelope(ident)
        now = clock.wall()
        if envelope is None or not may_be_meant(request.select, envelope, now):
            return None
        state = self._store.state(ident)
        return Found(ident, envelope, state, chosen(request.select, envelope, state, now, self._site_of))

    def items(self, ident: bytes) -> list[Any]:
        """Its items on the schedule."""
        return self._schedule.items(ident) if self._schedule is not None else []

    def dues(self, items: list[Any]) -> dict[str, float]:
        """When the schedule looks at what waits, by domain."""
        if self._schedule is None:
            return {}
        due_wall = self._schedule.due_wall
        return {item.domain: due_wall(item) for item in items if item.place is Place.WAITING}

    # -- all of them -----------------------------------------------------------------------------------------------

    def scan(self, request: Request, take: Callable[[Found], object], most: int) -> str | None:
        """Hand up to `most` selected messages (0 = all) to `take`, in id order, until it says True, or time is up: the
        cursor; None at the end."""
        if request.select.id:
            one = self.look(idents.from_text(request.select.id), request)
            if one is not None and one.indices:
                take(one)
            return None
        after = idents.from_text(request.after) if request.after else None
        started = resumed = clock.now()
        looked = taken = 0
        domain = request.select.domain.lower()
        if self._schedule is not None and domain:
            roll = self._roll(self._schedule, domain, after, started + BUDGET / 2)
            if roll is None:
                return idents.to_text(_above(after))
            pages = roll.pages(after)
        else:
            pages = self._pages(after)
        for page in pages:
            for ident in page:
                one = self.look(ident, request)
                if one is not None and one.indices:
                    taken += 1
                    if take(one) is True or taken == most:
                        return idents.to_text(ident)
                looked += 1
                if looked % _LOOKS == 0 and clock.now() - resumed >= SLICE:
                    if clock.now() - started >= BUDGET:
                        return idents.to_text(ident)
                    self._rest(SLICE)
                    resumed = clock.now()
        return None

    def summary(self, request: Request) -> dict[str, Any]:
        """The sums over what is selected, and `next`."""
        tally = views.Tally()
        select = request.select
        recorded = select.id or select.sender is not None or select.older_than or select.reply
        if self._schedule is not None and not recorded:
            return self._summary_of_schedule(self._schedule, request, tally)

        def take(one: Found) -> bool:
            items = self.items(one.ident)
            stopped = [item.domain for item in items if views.place_of(item) == "suspended"]
            tally.add(one, self.dues(items), stopped)
            return tally.full

        cursor = self.scan(request, take, 0)
        return {**tally.result(self._site_of), "next": cursor}

    def _summary_of_schedule(self, schedule: Schedule, request: Request, tally: views.Tally) -> dict[str, Any]:
        """The same of what the schedule knows, an eighth of the work: no envelope or state is decoded for it. The
        cursor is a shard's number."""
        start = int(request.after) if request.after.isdigit() else 0
        started = resumed = clock.now()
        sites: dict[str, str] = {}
        select = request.select
        everything = not select.domain and not select.site and select.held is None
        looked = 0  # over all shards: those of a short queue have less than _MANY each
        for number in range(start, SHARDS):
            if number > start and (tally.full or clock.now() - started >= BUDGET):
                return {**tally.result(self._site_of), "next": f"{number:03d}"}
            wall, now = clock.wall(), clock.now()
            for first in schedule.shard(number):
                if everything and first.sibling is None and first.place is not Place.OUT:
                    items = [first]
                else:
                    items = views.meant(first, select, sites, self._site_of)
                if items:
                    tally.add_items(items, self._store.size(first.ident), wall, now)
                looked += 1
                if looked % _MANY == 0 and clock.now() - resumed >= SLICE:
                    self._rest(SLICE)
                    resumed = clock.now()
        return {**tally.result(self._site_of), "next": None}

    def _pages(self, after: bytes | None) -> Iterator[list[bytes]]:
        """Every message above `after`, in id order."""
        while page := self._store.page(after, PAGE):
            yield page
            if len(page) < PAGE:
                return
            after = page[-1]

    def _roll(self, schedule: Schedule, domain: str, after: bytes | None, deadline: float) -> Roll | None:
        """The messages at a domain, None when it could not be gathered in time: ask again. The pages behind the first
        of a list go on in the same one."""
        now = clock.now()
        self._rolls = [one for one in self._rolls if one.until > now and (after is not None or one.domain != domain)]
        roll = next((one for one in self._rolls if one.domain == domain), None)
        if roll is None:
            roll = Roll(schedule, domain, now + REMEMBERED)
            self._rolls = [*self._rolls[1 - _ROLLS :], roll]
        return roll if roll.gather(deadline, self._rest) else None
