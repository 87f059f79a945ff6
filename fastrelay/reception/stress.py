"""When places or memory run short: how clients are treated then, and when it begins and ends. Pure.

Under stress the house frees places instead of waiting for clients that hold them: a client has COMMAND_SECONDS for its
next command instead of five minutes, one error instead of twenty, and nobody is slowed down or waited for, because a
slowed client holds a place too (Postfix STRESS_README: smtpd_timeout 10, smtpd_hard_error_limit 1). Content on its way
keeps its time: it is work already done.

Stress begins where CONNECTIONS.high of what a listener may have, on the whole machine, or MEMORY.high of the memory for
bodies is in use, and ends where both are below their low marks: the gap keeps it from flapping with every client that
comes and goes. Memory has the higher marks because up to 80 % of it is everyday business: from there on the spool puts
bodies on disk by itself, at 100 % MAIL is answered with 452.
"""

import msgspec

from fastrelay.smtp.phases import SERVER_LINGER_SECONDS
from fastrelay.smtp.terms import MAX_ERRORS


class Marks(msgspec.Struct, frozen=True, gc=False):
    """Shares in use: stress from `high` on, until below `low`."""

    high: float
    low: float


CONNECTIONS = Marks(0.8, 0.7)  # a fifth is left for those who come while places are being freed
MEMORY = Marks(0.95, 0.85)
COMMAND_SECONDS = 10.0
ERRORS = 1


class Temper(msgspec.Struct, frozen=True, gc=False):
    """What a client gets at this moment. Seconds; tarpit_seconds: what an error costs from the tenth on."""

    command_seconds: float
    tarpit_seconds: float
    linger_seconds: float
    max_errors: int


def calm(command_seconds: float, tarpit_seconds: float) -> Temper:
    """As configured."""
    return Temper(command_seconds, tarpit_seconds, SERVER_LINGER_SECONDS, MAX_ERRORS)


def strained(command_seconds: float) -> Temper:
    """Under stress; never more than configured."""
    return Temper(min(command_seconds, COMMAND_SECONDS), 0.0, 0.0, ERRORS)


def under_stress(before: bool, connections: float, memory: float) -> bool:
    """Is it stress now? before: was it until now; connections, memory: shares in use of what there may be."""
    if before:
        return connections >= CONNECTIONS.low or memory >= MEMORY.low
    return connections >= CONNECTIONS.high or memory >= MEMORY.high
