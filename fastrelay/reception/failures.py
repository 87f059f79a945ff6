"""Failed logins, counted by client address and by account over all workers: who has too many is not heard for a while.

The counts are buckets of the ledger: PER_ADDRESS failures at once, then one every WINDOW / PER_ADDRESS seconds. Only
so many verdicts are ever given: a failure that finds its bucket empty, because others failed while the password was
being derived, is not told from a success. A client that logged in to an account a short while ago is not held up there
by what others do: nobody can lock a user out by guessing at his password, nor a whole office by one machine with an old
one. It has one failure free, then it counts like everybody. A worker that ends takes no count with it.

Never waits; where the lock of a bucket is not to be had at all, a failure is not told, and a success not remembered.
Measured beside a busy machine: 10 us a question, 14 us a failure.
"""

from collections.abc import Callable
from hashlib import blake2b

from fastrelay.config import Rate
from fastrelay.mail.route import LimitKey
from fastrelay.reception.allowance import Buckets

WINDOW = 600.0  # seconds; long enough that PER_ADDRESS guesses in it are few, short enough that who is locked out waits
PER_ADDRESS = 10  # per WINDOW: 1,440 guesses a day from an address (Dovecot slows from the first on)
PER_ACCOUNT = 30  # from all addresses together, 4,320 a day; NIST SP 800-63B 5.2.2 would lock at 100 without end
TRUSTED = 86400.0  # seconds a client is known by its success: one login a day keeps it so
PAUSES = (1.0, 2.0, 4.0)  # seconds behind the first, second, ... failure in a session; the last ends it

_BY_ADDRESS = Rate(PER_ADDRESS, WINDOW)
_BY_ACCOUNT = Rate(PER_ACCOUNT, WINDOW)
_NAME = 64  # characters of a name that are kept as they are; a guess may have 9,000


def _account(user: str) -> str:
    return user if len(user) <= _NAME else blake2b(user.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Failures:
    """now: monotonic seconds. failed, known: the ledger's tables."""

    __slots__ = ("_failed", "_known", "_now")

    def __init__(self, failed: Buckets, known: Buckets, now: Callable[[], float]) -> None:
        self._failed = failed
        self._known = known
        self._now = now

    def too_many(self, network: str, user: str) -> bool:
        """Nothing is to be heard of this client, or for this account, now."""
        now, account = self._now(), _account(user)
        if self._known.until(LimitKey("known", (network, account))) > now:
            return False
        return (
            self._failed.due(LimitKey("address", (network,)), _BY_ADDRESS, now) > 0.0
            or self._failed.due(LimitKey("account", (account,)), _BY_ACCOUNT, now) > 0.0
        )

    def failed(self, network: str, user: str) -> str | None:
        """One more. "address" or "account" where that is now closed, "" else; None where it was already: the client is
        not to learn that it failed."""
        now, account = self._now(), _account(user)
        by_address, by_account = LimitKey("address", (network,)), LimitKey("account", (account,))
        pair = LimitKey("known", (network, account))
        free = self._known.until(pair) > now
        if free:
            self._known.put(pair, 0.0, now)
        over = self._failed.spend(by_address, _BY_ADDRESS, now) or self._failed.spend(by_account, _BY_ACCOUNT, now)
        if over and not free:
            return None
        if self._failed.due(by_account, _BY_ACCOUNT, now):
            return "account"
        return "address" if self._failed.due(by_address, _BY_ADDRESS, now) else ""

    def succeeded(self, network: str, user: str) -> None:
        """This client knows the password of this account."""
        now = self._now()
        self._known.put(LimitKey("known", (network, _account(user))), now + TRUSTED, now)
