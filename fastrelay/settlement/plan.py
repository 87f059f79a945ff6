"""What outcomes mean for the recipients of one item: who has it, who waits and until when, who will not get it. Pure.

One item has one next time: recipients that were deferred together are tried together. When the receiver asked for a
time, that is it, between `first` and `max` of the schedule and never sooner than asked; after BELIEVED attempts it may
only make the pause longer, or a receiver that says "in 5 minutes" for ever would be asked 1,400 times. An outcome of
phase QUEUE and scope SITE says that a limit stood in the way and nobody was asked, so it is no attempt; where some of
those who wait were asked and some were not, it is one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastrelay.config import Retry
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.state import LAST_REPLY_LIMIT, State, Status, Waiting
from fastrelay.settlement.retry import Expired, next_attempt

SPREAD = 0.1  # what a limit held back comes again over this share of the wait, not in one instant
BELIEVED = 8  # attempts for which a receiver's "come again in ..." may be sooner than our own schedule
_WORDS = re.compile(r"([2-5]\d\d) (?:([245]\.\d{1,3}\.\d{1,3}) )?(.*)", re.DOTALL)
_UNTRIED = Reply(0, "", ("no attempt was made",))
_AT_HOME = frozenset({Phase.QUEUE, Phase.ROUTE})  # where no host of the site was asked


class End(NamedTuple):
    """A recipient with which this is over. position: in the envelope. status: FAILED, EXPIRED when only time ran out,
    DELIVERED where the sender is to be told of that."""

    position: int
    outcome: Outcome
    status: Status


class Plan(NamedTuple):
    """due: wall seconds of the next attempt for those who wait. attempted: it was one, to be counted."""

    delivered: list[tuple[int, Delivered]]
    waiting: list[tuple[int, Deferred]]
    ended: list[End]
    due: float = 0.0
    attempted: bool = True


class Sides(NamedTuple):
    """The present on both clocks, and luck: 0 <= chance < 1."""

    now: float
    wall: float
    chance: float


def decide(
    indices: Sequence[int], outcomes: Sequence[Outcome], attempts: int, expires: float, at: Sides, retry: Retry
) -> Plan:
    """indices, attempts (before this one), expires (monotonic): the item's. outcomes: one per index, in order."""
    delivered: list[tuple[int, Delivered]] = []
    waiting: list[tuple[int, Deferred]] = []
    ended: list[End] = []
    for index, outcome in zip(indices, outcomes, strict=True):
        if isinstance(outcome, Delivered):
            delivered.append((index, outcome))
        elif isinstance(outcome, Failed):
            ended.append(End(index, outcome, Status.FAILED))
        else:
            assert isinstance(outcome, Deferred)
            waiting.append((index, outcome))
    if not waiting:
        return Plan(delivered, waiting, ended)
    attempted = not all(was_held_back(outcome) for _, outcome in waiting)
    due = _next_time(waiting, attempts + 1, expires, at, retry, attempted)
    if due is None:
        ended += [End(index, outcome, Status.EXPIRED) for index, outcome in waiting]
        return Plan(delivered, [], ended)
    return Plan(delivered, waiting, ended, due - at.now + at.wall, attempted)


def _next_time(
    waiting: Iterable[tuple[int, Deferred]], attempts: int, expires: float, at: Sides, retry: Retry, attempted: bool
) -> float | None:
    """Monotonic seconds; None when time has run out."""
    now = at.now
    if now >= expires:
        return None
    asked = max(outcome.retry_after for _, outcome in waiting if was_held_back(outcome) is not attempted)
    if not attempted:
        return min(now + asked * (1.0 + SPREAD * at.chance), expires)
    again = next_attempt(attempts, now, expires, retry, at.chance)
    if isinstance(again, Expired):
        return None
    if asked > 0.0:
        due = now + min(max(asked, retry.first), retry.max) * (1.0 + SPREAD * at.chance)
        return min(due if attempts <= BELIEVED else max(due, again.due), expires)
    return again.due


def was_held_back(outcome: Outcome) -> bool:
    """A limit of ours stood in the way: nobody was asked."""
    return outcome.phase is Phase.QUEUE and outcome.scope is Scope.SITE


def is_crowded(outcome: Outcome) -> bool:
    """The receiver said that we hold too many connections, whatever it refused with that."""
    return isinstance(outcome, Deferred) and outcome.crowded


def reach(outcomes: Iterable[Outcome]) -> Outcome | bool:
    """What an attempt says of its site: True, it works; an Outcome that says it does not; False, nothing.

    A refusal for good is an answer, so the site works. One for now may be its way of asking us to slow down: nothing.
    """
    trouble: Outcome | None = None
    answered = False
    for outcome in outcomes:
        if isinstance(outcome, Delivered):
            return True
        if outcome.phase in _AT_HOME:
            continue
        if outcome.scope is Scope.HOST or outcome.scope is Scope.SITE or is_crowded(outcome):
            trouble = outcome
        elif isinstance(outcome, Failed):
            answered = True
    return trouble if trouble is not None else answered


def changed(state: State, changes: Iterable[tuple[int, int | Waiting]]) -> State:
    """The next state. A recipient that has ended stays ended."""
    recipients = list(state.recipients)
    for index, standing in changes:
        if isinstance(recipients[index], Waiting):
            recipients[index] = standing
    return State(state.version + 1, tuple(recipients), state.held)


def open_of(state: State, indices: Iterable[int]) -> tuple[int, ...]:
    """Those of `indices` that are still open."""
    return tuple(index for index in indices if isinstance(state.recipients[index], Waiting))


def words(reply: Reply) -> str:
    """A reply as a state keeps it: valid UTF-8, LAST_REPLY_LIMIT octets at most."""
    text = str(reply)
    if text.isascii():
        return text[:LAST_REPLY_LIMIT]
    return text.encode("utf-8", "replace")[:LAST_REPLY_LIMIT].decode("utf-8", "ignore")


def last_words(standing: int | Waiting) -> Reply:
    """The reply behind what a state keeps; code 0 when there is none."""
    if not isinstance(standing, Waiting) or not standing.reply:
        return _UNTRIED
    match = _WORDS.fullmatch(standing.reply)
    if match is None:
        return Reply(0, "", (standing.reply,))
    return Reply(int(match[1]), match[2] or "", (match[3],))
