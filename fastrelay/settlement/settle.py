"""Settle: the outcomes of an attempt become records, notices, event lines, counts, and the item's next event.

Promises
- Every item handed in ends as `again` or `done` of the schedule, after its record was handed to the spool. Where that
  cannot be (a bug, a kill), the error comes out and `give_back` must be called with the item: it goes by the state, so
  a recipient whose end was recorded is not tried again.
- A recipient that fails or expires is closed in one batch with the notice to its sender (notices.py). While that batch
  cannot be written the recipient stays open and the item comes again in SHORT seconds. Where nobody is told, the event
  line alone tells of its end.
- So is one of whose delivery the sender asked to be told, by us (mail.outcome.Duty). But where that batch cannot be
  written it is closed all the same and the notice is lost, as its event line says: better than the message twice.
- A damaged message is held, with its recipients visible, and never sent.

Waits only for a notice. What an attempt says of the site goes into the window of its lane (schedule/window.py); a site
that is dead by that is suspended.
"""

import random
from collections.abc import Callable, Sequence

from fastrelay.config import Config
from fastrelay.errors import SpoolDamaged
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.outcome import Deferred, Delivered, Duty, Outcome, Phase, Scope
from fastrelay.mail.state import State, Status, Waiting
from fastrelay.metrics import Counts, SiteCounts
from fastrelay.runtime import clock as runtime_clock
from fastrelay.settlement import plan as plans
from fastrelay.settlement.faces import Clock, EventLog, Intake, Item, Road, Scheduler, Store
from fastrelay.settlement.lines import Lines
from fastrelay.settlement.notices import Notices
from fastrelay.settlement.plan import End, Plan, Sides

SHORT = 60.0  # seconds until a notice the disk did not take is tried again; the disk itself is tried once a second
_DELIVERED = Status.DELIVERED
_PASSED = Duty.PASSED


class Settle:
    """One per worker. chance: 0 <= x < 1."""

    def __init__(
        self,
        store: Store,
        schedule: Scheduler,
        intake: Intake,
        eventlog: EventLog,
        counts: Counts,
        config: Config,
        *,
        clock: Clock = runtime_clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._notices = Notices(store, intake, config)
        self._log = eventlog
        self._counts = counts
        self._retry = config.retry
        self._clock = clock
        self._chance = chance

    # -- the face -------------------------------------------------------------------------------------------------

    def renew(self, config: Config) -> None:
        """A reload: [retry], [bounce] and our name are these from the next outcome on."""
        self._retry = config.retry
        self._notices.renew(config)

    def settle(self, item: Item, outcomes: Sequence[Outcome], road: Road | None = None) -> None:
        """Write down what became of the item's recipients: one outcome for each, in order. May wait for a notice.

        road: the carrier that made the attempt; None when no connection was asked for.
        """
        now = self._clock.now()
        if item.route is not None:
            self._tell_lane(item.route.site, outcomes, now)
        at = Sides(now, self._clock.wall(), self._chance())
        plan = plans.decide(item.indices, outcomes, item.attempts, item.expires, at, self._retry)
        self._carry_out(item, plan, at.wall, item.attempts + 1, road)

    def expire(self, item: Item) -> None:
        """Its time has run out where it waited. May wait for a notice."""
        if self._store.envelope(item.ident) is None:
            self._schedule.done(item)
            return
        state = self._store.state(item.ident)
        ended = [
            End(n, Deferred(plans.last_words(state.recipients[n]), Phase.QUEUE, Scope.MESSAGE), Status.EXPIRED)
            for n in plans.open_of(state, item.indices)
        ]
        self._carry_out(item, Plan([], [], ended), self._clock.wall(), item.attempts, None)

    def tell_late(self, ident: bytes) -> None:
        """A message waits for longer than its sender should wait for word: a delay notice, once. May wait for it."""
        envelope = self._store.envelope(ident)
        if envelope is None:
            return
        state = self._store.state(ident)
        if state.held:
            return  # an operator's, or a suspect: nothing is being tried
        waiting = [
            (n, Deferred(plans.last_words(state.recipients[n]), Phase.QUEUE, Scope.MESSAGE))
            for n in plans.open_of(state, range(len(envelope.recipients)))
        ]
        self._notices.delay(ident, envelope, waiting, self._clock.wall())

    def give_back(self, item: Item, pause: float, *, attempted: bool) -> None:
        """Nobody knows what became of the item: what is open of it comes again in `pause` seconds. Never waits."""
        known = self._store.envelope(item.ident) is not None
        still_open = plans.open_of(self._store.state(item.ident), item.indices) if known else ()
        if still_open:
            self._schedule.again(item, still_open, self._clock.wall() + pause, attempted=attempted)
        else:
            self._schedule.done(item)

    def set_aside(self, item: Item, damage: SpoolDamaged) -> None:
        """Its message is damaged on disk, as the spool has told already: held until an operator decides, or it expires.
        Never waits."""
        ident = item.ident
        if self._store.envelope(ident) is not None:
            state = self._store.state(ident)
            if not state.held:
                self._store.record(
                    ident, State(state.version + 1, state.recipients, f"damaged on disk: {damage}"[:400])
                )
            self._schedule.hold(ident)
        self.give_back(item, 0.0, attempted=False)

    # -- carrying a plan out ----------------------------------------------------------------------------------------

    def _carry_out(self, item: Item, plan: Plan, wall: float, attempts: int, road: Road | None) -> None:
        ident = item.ident
        store, notices = self._store, self._notices
        envelope = store.envelope(ident)
        if envelope is None:
            self._schedule.done(item)  # removed meanwhile
            return
        state = store.state(ident)
        changes: list[tuple[int, int | Waiting]] = []
        delivered = plan.delivered
        told: list[End] = []
        for position, success in delivered:
            if success.duty is _PASSED or notices.why_silent(envelope, position, "SUCCESS"):
                changes.append((position, _DELIVERED))
            else:
                told.append(End(position, success, _DELIVERED))
        if told:
            apart = {end.position for end in told}
            delivered = [one for one in delivered if one[0] not in apart]
        untold: list[tuple[End, str]] = []
        for end in plan.ended:
            why = notices.why_silent(envelope, end.position)
            if why:
                untold.append((end, why))
                changes.append((end.position, end.status))
            else:
                told.append(end)
        if plan.attempted:
            for position, outcome in plan.waiting:
                before = state.recipients[position]
                notes = before.notices if isinstance(before, Waiting) else 0
                changes.append((position, Waiting(attempts, plan.due, plans.words(outcome.reply), notes)))
        if changes:
            store.record(ident, plans.changed(state, changes))
        site = item.route.site if item.route is not None else ""
        lines = Lines(self._log, item, envelope, site, wall, attempts, road)
        row = self._counts.sites[site]
        self._say(lines, row, delivered, plan, wall - envelope.created)
        for end, why in untold:
            self._say_end(lines, row, end, why)
        still_open = [position for position, _ in plan.waiting]
        due = plan.due
        if told and not self._tell(ident, envelope, told, lines, row, wall):
            still_open += [end.position for end in told if end.status is not _DELIVERED]
            due = due or wall + SHORT
        if plan.waiting:
            notices.delay(ident, envelope, plan.waiting, wall)
        if still_open:
            self._schedule.again(item, tuple(sorted(still_open)), due, attempted=plan.attempted)
        else:
            self._schedule.done(item)

    def _tell(
        self, ident: bytes, envelope: Envelope, ends: Sequence[End], lines: Lines, row: SiteCounts, wall: float
    ) -> bool:
        """Close recipients together with the notice to the sender. False: those who have not got it stay open."""
        fresh = self._notices.end(ident, envelope, ends, wall)
        if fresh is not None:
            for end in ends:
                self._say_end(lines, row, end, fresh.hex(), wall - envelope.created)
            return True
        have_it = [end for end in ends if end.status is _DELIVERED]
        if have_it and self._store.envelope(ident) is not None:
            changes = [(end.position, _DELIVERED) for end in have_it]
            self._store.record(ident, plans.changed(self._store.state(ident), changes))
        for end in have_it:
            self._say_end(lines, row, end, "not stored: the machine is short", wall - envelope.created)
        for end in ends:
            if end.status is not _DELIVERED:
                row.deferred += 1
                lines.write(
                    "TransientFailure", end.position, end.outcome, notice="not stored yet: the machine is short"
                )
        return False

    def _say(
        self, lines: Lines, row: SiteCounts, delivered: Sequence[tuple[int, Delivered]], plan: Plan, age: float
    ) -> None:
        """Lines and counts of those who have it, and of those who wait. age: seconds since the message came."""
        if delivered:
            row.delivered += len(delivered)
            for position, outcome in delivered:
                self._counts.delivery_seconds.observe(age)
                lines.write("Delivery", position, outcome)
        if plan.attempted:
            row.deferred += len(plan.waiting)
            for position, waiting in plan.waiting:
                self._counts.possibly_duplicate += waiting.uncertain
                if waiting.retry_after:
                    lines.write("TransientFailure", position, waiting, retry_after=waiting.retry_after)
                else:
                    lines.write("TransientFailure", position, waiting)

    def _say_end(self, lines: Lines, row: SiteCounts, end: End, notice: str, age: float = 0.0) -> None:
        outcome = end.outcome
        if end.status is _DELIVERED:
            row.delivered += 1
            self._counts.delivery_seconds.observe(age)
            lines.write("Delivery", end.position, outcome, notice=notice)
        elif end.status is Status.EXPIRED:
            row.expired += 1
            self._counts.possibly_duplicate += isinstance(outcome, Deferred) and outcome.uncertain
            lines.write_expired(end.position, outcome, notice=notice)
        else:
            row.bounced += 1
            lines.write("Bounce", end.position, outcome, notice=notice)

    # -- the site ---------------------------------------------------------------------------------------------------

    def _tell_lane(self, site: str, outcomes: Sequence[Outcome], now: float) -> None:
        said = plans.reach(outcomes)
        lane = self._schedule.lane(site)
        if said is not True and (last := outcomes[-1]).host:
            lane.note(now, f"{last.reply} ({last.host})")
        if said is False:
            return
        window = lane.window
        if window.full:
            window = window.opened(now)
        if said is True:
            lane.window = window.succeeded()
            return
        if plans.is_crowded(said):
            before = window.size
            lane.window, until = window.crowded(now, self._chance())
            why = f"it says there are too many connections; last: {said.reply}"[:300]
            if lane.window is not window:
                lane.word = why
                self._log.write("SiteCrowded", site=site, window=lane.window.size, before=before, reason=why)
        else:
            lane.window, until = window.failed(said.scope, now, self._chance())
            why = f"it fails every time; last: {said.reply}"[:300]
        if until is not None:
            until = min(until, now + self._retry.max)  # never longer than its mail would wait by itself
            self._log.write("SiteSuspended", site=site, seconds=round(until - now, 1), reason=why)
            self._schedule.suspend_lane(site, until, why)
