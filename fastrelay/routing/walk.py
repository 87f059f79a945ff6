"""How a decision came about, step by step: what `resolve` and `explain` draw. Values only."""

import msgspec

from fastrelay.mail.outcome import Outcome
from fastrelay.mail.route import Route
from fastrelay.routing.answers import Answer


class Asked(msgspec.Struct, frozen=True):
    """One lookup. source: "cache", "stale" or "servers"; left: seconds the answer stays fresh; took: seconds waited for
    the round it went out in."""

    answer: Answer
    source: str
    left: float
    took: float


class Walk(msgspec.Struct, frozen=True):
    """The whole. override: the pattern of the `[[route]]` that decided, "" where DNS did. notes: hosts and addresses
    passed over, each with its reason. result: as `Router.route` gives it."""

    domain: str
    result: Route | Outcome
    override: str = ""
    asked: tuple[Asked, ...] = ()
    notes: tuple[str, ...] = ()
