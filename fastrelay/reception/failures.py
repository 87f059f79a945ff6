"""Failed logins, counted by client address and by account: who has too many is not heard for a while. Pure, in bounds.

Counted in each worker by itself, from the first failure on for WINDOW seconds. A client that logged in to an account a
short while ago is not held up there by what others do: nobody can lock a user out by guessing at his password, nor a
whole office by one machine with an old one. It has one failure free, then it counts like everybody.

Measured: 1 us a question, 200 octets a key.
"""

from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

WINDOW = 600.0  # seconds; long enough that PER_ADDRESS guesses in it are few, short enough that who is locked out waits
PER_ADDRESS = 10  # per WINDOW and worker: 1,440 guesses a day at most from an address (Dovecot slows from the first on)
PER_ACCOUNT = 30  # from all addresses together, 4,320 a day; NIST SP 800-63B 5.2.2 would lock at 100 without end
TRUSTED = 86400.0  # seconds a client is known by its success: one login a day keeps it so
MOST = 16_384  # of each kind; the oldest go first, so a flood costs memory no more than that
PAUSES = (1.0, 2.0, 4.0)  # seconds behind the first, second, ... failure in a session; the last ends it


class Failures:
    """now: monotonic seconds."""

    __slots__ = ("_accounts", "_addresses", "_trusted")

    def __init__(self, now: Callable[[], float]) -> None:
        self._addresses: Any = TTLCache(MOST, WINDOW, timer=now)  # network -> [failures]
        self._accounts: Any = TTLCache(MOST, WINDOW, timer=now)
        self._trusted: Any = TTLCache(MOST, TRUSTED, timer=now)  # (network, user) -> True

    def too_many(self, network: str, user: str) -> bool:
        """Nothing is to be heard of this client, or for this account, now."""
        if (network, user) in self._trusted:
            return False
        return _count(self._addresses, network) >= PER_ADDRESS or _count(self._accounts, user) >= PER_ACCOUNT

    def failed(self, network: str, user: str) -> str:
        """One more. "address" or "account" where that is now closed, "" else."""
        self._trusted.pop((network, user), None)
        by_address, by_account = _more(self._addresses, network), _more(self._accounts, user)
        return "account" if by_account == PER_ACCOUNT else "address" if by_address == PER_ADDRESS else ""

    def succeeded(self, network: str, user: str) -> None:
        """This client knows the password of this account."""
        self._trusted[network, user] = True


def _count(cache: Any, key: str) -> int:
    found = cache.get(key)
    return 0 if found is None else int(found[0])


def _more(cache: Any, key: str) -> int:
    found = cache.get(key)
    if found is None:
        cache[key] = [1]
        return 1
    found[0] += 1  # in place: the window stands where it began
    return int(found[0])
