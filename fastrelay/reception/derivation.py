"""Deriving keys from passwords beside the event loop: PBKDF2 takes tens of milliseconds of a CPU, on purpose.

At most AT_ONCE run in a worker; MAX_WAITING more wait in arrival order; who comes then hears 454, and nobody else waits
for any of them. A password that proved right is not derived again for REMEMBERED seconds: what is kept of it is a
digest under a key of this process, in memory alone, and it counts only as long as the verifier it proved right against
stands in the file. A wrong one is derived every time, so time tells nothing about who exists.

Measured, 100,000 iterations: 60 ms; a password that is remembered: 3 us.
"""

import hmac
import os
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

from fastrelay.errors import MachineShort
from fastrelay.runtime import clock, tasks
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.scram import Keys, Verifier

AT_ONCE = 4
MAX_WAITING = 60  # at 100,000 iterations and two free CPUs the last one waits 2 s; clients wait 3 minutes (RFC 4954 4)
REMEMBERED = 600.0
MOST = 16_384  # passwords remembered


class Derivation:
    """derive runs in a native thread. under_way: those that run or wait."""

    __slots__ = ("_derive", "_permits", "_proved", "_secret", "under_way")

    def __init__(
        self,
        derive: Callable[[bytes, bytes, int], Keys] = scram.derive,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._derive = derive
        self._permits = tasks.Permits(AT_ONCE)
        self._secret = os.urandom(32)
        self._proved: Any = TTLCache(MOST, REMEMBERED, timer=now)  # digest -> Verifier
        self.under_way = 0

    def proves(self, password: bytes, verifier: Verifier) -> bool:
        """Is it the password the verifier was made of? May wait. MachineShort (454) when too many are asking."""
        mark = hmac.digest(self._secret, verifier.stored + password, "sha256")
        if self._proved.get(mark) == verifier:
            return True
        if self.under_way >= AT_ONCE + MAX_WAITING:
            raise MachineShort("Too many logins at once, try again later", code=454, enhanced="4.7.0")
        self.under_way += 1
        try:
            with self._permits:
                keys = tasks.in_thread_to_end(self._derive, password, verifier.salt, verifier.iterations)
        finally:
            self.under_way -= 1
        if not scram.matches(verifier, keys):
            return False
        self._proved[mark] = verifier
        return True
