"""What one transaction came to: an outcome per recipient, and how the attempt goes on for those without a last word.

Pure. Rules, in this order
- A connection used before that is gone, silent (a firewall in between has forgotten it) or says 421 before MAIL was
  answered: nothing happened, RECONNECT.
- Lost after the final dot: uncertain, and nobody else is asked in this attempt: that would make the duplicate certain.
- The host's own trouble (Scope.HOST: 421, silence, garbage, a lost connection): the recipients it befell may try the
  next host. Recipients refused before keep their refusal.
- Refused only for their number (RFC 5321 4.5.3.1.10) while others of the transaction were delivered: FURTHER, in a
  transaction of their own at once. Each such round delivers to one at least, so it ends.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.delivery.connection import Trouble
from fastrelay.delivery.faces import Classify
from fastrelay.delivery.hosts import Place
from fastrelay.errors import PeerClosed, PeerTimeout
from fastrelay.mail.outcome import Deferred, Delivered, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply

_TOO_MANY = {452: ("", "4.5.3"), 552: ("", "5.5.3")}  # code -> enhanced codes; 552 is the word of old servers


class Step(enum.Enum):
    """How the attempt goes on for the positions in `Weighed.again`."""

    DONE = "done"
    RECONNECT = "reconnect"
    NEXT_HOST = "next host"
    FURTHER = "further"


class Weighed(NamedTuple):
    """outcomes: one per recipient of the transaction, in order; empty for RECONNECT. again: positions to try again."""

    outcomes: list[Outcome]
    again: list[int]
    step: Step


def weigh(
    verdicts: Sequence[tuple[Phase, Reply] | None],
    trouble: Trouble | None,
    place: Place,
    classify: Classify,
    *,
    reused: bool,
) -> Weighed:
    """verdicts: as the client machine gave them, None for those whom the trouble befell."""
    if reused and _came_to_nothing(verdicts, trouble):
        return Weighed([], list(range(len(verdicts))), Step.RECONNECT)
    known: dict[int, Outcome] = {}  # by identity of the verdict: most recipients share one
    outcomes = []
    for verdict in verdicts:
        outcome = known.get(id(verdict))
        if outcome is None:
            outcome = known[id(verdict)] = _outcome(verdict, trouble, place, classify)
        outcomes.append(outcome)
    elsewhere = [n for n, outcome in enumerate(outcomes) if _is_the_hosts(outcome)]
    further = _too_many(verdicts, outcomes)
    if elsewhere:
        return Weighed(outcomes, elsewhere + further, Step.NEXT_HOST)
    return Weighed(outcomes, further, Step.FURTHER if further else Step.DONE)


def _came_to_nothing(verdicts: Sequence[tuple[Phase, Reply] | None], trouble: Trouble | None) -> bool:
    if trouble is not None:
        return trouble.phase is Phase.MAIL and isinstance(trouble.error, PeerClosed | PeerTimeout)
    first = verdicts[0]
    return first is not None and first[0] is Phase.MAIL and first[1].code == 421


def _outcome(verdict: tuple[Phase, Reply] | None, trouble: Trouble | None, place: Place, classify: Classify) -> Outcome:
    if verdict is not None:
        return classify(verdict[0], verdict[1], place.name, place.address)
    assert trouble is not None, "a transaction without trouble decides about every recipient"
    return classify(trouble.phase, trouble.error, place.name, place.address, uncertain=trouble.uncertain)


def _is_the_hosts(outcome: Outcome) -> bool:
    return outcome.scope is Scope.HOST and isinstance(outcome, Deferred) and not outcome.uncertain


def _too_many(verdicts: Sequence[tuple[Phase, Reply] | None], outcomes: Sequence[Outcome]) -> list[int]:
    if len(outcomes) == 1 or not any(isinstance(outcome, Delivered) for outcome in outcomes):
        return []
    return [
        n
        for n, verdict in enumerate(verdicts)
        if verdict is not None
        and verdict[0] is Phase.RCPT
        and verdict[1].enhanced in _TOO_MANY.get(verdict[1].code, ())
    ]
