"""Who may log in: the users file, the failures counted, the keys derived. One per worker, for all its listeners.

A stranger is judged like a user, by a decoy (users.py): the same answers after the same time. While a client, or an
account, has too many failures, in all workers together, the answer is 454, before anything is derived.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cachetools import TTLCache

from fastrelay.config import Config
from fastrelay.errors import MachineShort
from fastrelay.mail.reply import Reply, reply
from fastrelay.reception.allowance import Buckets
from fastrelay.reception.derivation import Derivation
from fastrelay.reception.failures import PAUSES, PER_ACCOUNT, PER_ADDRESS, WINDOW, Failures
from fastrelay.reception.policy import network_of
from fastrelay.runtime import clock, tasks
from fastrelay.smtp.events import AuthClaim
from fastrelay.smtp.sasl.scram import Verifier

NOT_NOW = reply(454, "4.7.0", "Too many failed logins, try again later")
_TOLD = 1000  # addresses and accounts, that too many failed is told of once in a WINDOW


def users_path(config: Config) -> str:
    """The users file, "" where no listener lets anybody log in."""
    return config.auth.users if any(one.auth != "none" for one in config.listeners) else ""


class Users(Protocol):
    """The users file (users.py)."""

    def find(self, name: str, /) -> Verifier | None: ...
    def decoy(self, name: str, /) -> Verifier: ...
    def renew(self, path: str, iterations: int, /) -> None: ...


class Logins:
    """failed, known: the ledger's tables. pauses: seconds a failure costs, by its number in the session; the last one
    ends the session. sleep(seconds)."""

    __slots__ = ("_derivation", "_failures", "_pauses", "_say", "_sleep", "_told", "_users")

    def __init__(
        self,
        users: Users,
        say: Callable[[str, str], object],
        failed: Buckets,
        known: Buckets,
        *,
        derivation: Derivation | None = None,
        now: Callable[[], float] = clock.now,
        pauses: Sequence[float] = PAUSES,
        sleep: Callable[[float], object] = tasks.sleep,
    ) -> None:
        self._users = users
        self._say = say
        self._derivation = derivation if derivation is not None else Derivation()
        self._failures = Failures(failed, known, now)
        self._told: Any = TTLCache(_TOLD, WINDOW, timer=now)
        self._pauses = pauses
        self._sleep = sleep

    def renew(self, config: Config) -> None:
        """[auth], where a listener needs it."""
        self._users.renew(users_path(config), config.auth.iterations)

    def verifier(self, user: str, client: str) -> Verifier | Reply:
        """What SCRAM works with. May wait where the file has changed."""
        if self._failures.too_many(network_of(client), user):
            return NOT_NOW
        return self._users.find(user) or self._users.decoy(user)

    def judge(self, claim: AuthClaim, client: str) -> bool | Reply:
        """Is it that user? May wait for the derivation; a Reply where the question is not looked at now."""
        network = network_of(client)
        user = claim.user
        if self._failures.too_many(network, user):
            return NOT_NOW
        known = self._users.find(user)
        if claim.password is None:
            right = claim.proved
        else:
            try:
                right = self._derivation.proves(claim.password, known or self._users.decoy(user))
            except MachineShort as short:
                return reply(short.code, short.enhanced, short.text)
        if right and known is not None:
            if self._failures.too_many(network, user):  # others failed meanwhile
                return NOT_NOW
            self._failures.succeeded(network, user)
            return True
        closed = self._failures.failed(network, user)
        if closed is None:
            return NOT_NOW
        if closed:
            seconds = WINDOW / (PER_ACCOUNT if closed == "account" else PER_ADDRESS)
            self._tell(f"user {user}" if closed == "account" and known is not None else network, seconds)
        return False

    def _tell(self, who: str, seconds: float) -> None:
        if who not in self._told and len(self._told) < _TOLD:
            self._told[who] = True
            self._say(
                "warning", f"too many failed logins, by {who}: more get 454, but for one every {seconds:g} seconds"
            )

    def pause(self, failures: int) -> bool:
        """A session has failed once more. Waits; True: it may not try again."""
        pauses = self._pauses
        self._sleep(pauses[min(failures, len(pauses)) - 1])
        return failures >= len(pauses)

    def knows(self, user: str) -> bool:
        """A user of that name exists. What is none is often a password typed into the wrong field: not for the log."""
        return self._users.find(user) is not None
