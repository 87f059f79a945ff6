"""What a connection takes from the ledger, how long a lease may wait for it, and when a connection has served enough.

Pure. Promises: "connections = 5" for a site means five on the machine, idle ones included; a worker that keeps a
connection busy hands it over after the transaction under way once another worker waits and it had it for LEASE_SECONDS
or LEASE_MESSAGES; nobody waits for the ledger longer than PATIENCE, and waiting is never an attempt.
"""

from fastrelay.config import Delivery
from fastrelay.delivery.faces import Limit, Refusal
from fastrelay.mail.outcome import Deferred, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import LimitKey

LEASE_SECONDS = 5.0
LEASE_MESSAGES = 20
PATIENCE = 30.0  # seconds a runner waits for a connection before its message goes back to the lane
LOOK_AGAIN = 1.0  # seconds; a give in the very instant of the refusal may ring nobody (the ledger's own words)

SHORT_REST = 5.0  # seconds until a machine out of descriptors or memory is asked again


def key_of(site: str) -> LimitKey:
    """What connections to a site are counted under."""
    return LimitKey("site", (site,))


def wants(site: str, settings: Delivery) -> list[tuple[LimitKey, Limit]]:
    """What one new connection takes."""
    return [(key_of(site), Limit(settings.connections, settings.connect_rate))]


def wait_for(refusal: Refusal, now: float, latest: float) -> float | None:
    """Seconds to wait before the next try, of one who waits until `latest` at most; None: it would take too long."""
    if now >= latest:
        return None
    if refusal.retry_at is None:
        return min(LOOK_AGAIN, latest - now)
    if refusal.retry_at > latest:
        return None
    return max(refusal.retry_at - now, 0.001)


def refused(refusal: Refusal | None, now: float, site: str, settings: Delivery) -> Deferred:
    """Nothing was tried: which limit holds the message back, and when to come back. None: others are first in line."""
    again = LOOK_AGAIN
    if refusal is None:
        text = f"others wait before for a connection to {site}"
    elif refusal.retry_at is None:
        text = f"all {settings.connections} connections to {site} are in use"
    else:
        again = max(refusal.retry_at - now, 0.0)
        rate = settings.connect_rate
        text = f"no further connection to {site} yet ({refusal.why.value}; {rate.count:g} in {rate.seconds:g} s)"
    return Deferred(Reply(451, "4.4.5", (text,)), Phase.QUEUE, Scope.SITE, retry_after=again)


def machine_short(outcome: Outcome) -> Deferred:
    """This machine has no descriptor or memory for a connection: nothing was tried."""
    return Deferred(outcome.reply, Phase.QUEUE, Scope.SITE, retry_after=SHORT_REST)


def is_worn(messages: int, opened: float, now: float, settings: Delivery, most: int = 0) -> bool:
    """The connection has carried as many messages, or lived as long, as the site's settings allow; or as many as the
    peer said it takes in a session (0: it did not)."""
    if 0 < most <= messages:
        return True
    return messages >= settings.messages_per_connection or now - opened >= settings.connection_lifetime


def is_ripe(messages: int, opened: float, now: float) -> bool:
    """Had long enough to be handed over, should another worker wait."""
    return messages >= LEASE_MESSAGES or now - opened >= LEASE_SECONDS
