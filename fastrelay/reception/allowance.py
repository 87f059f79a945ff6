"""What a client may begin in a time: connections, TLS sessions, messages, recipients; and an account, messages.

A client is an IPv4 address or the /64 of an IPv6 one, at one listener; an account counts at all of them together. The
counts are the machine's, in buckets (process/buckets.py): all of a rate at once for who was silent, then evenly. What
is counted is what would have been said yes to, and a refusal takes nothing, so "try again in 7 seconds" is true.

A listener without any rate has no Rates, a session that none concerns no Allowance: a message there costs nothing.
Measured beside a busy machine: 7 us a message or recipient with a rate, 15 us a message with one of the account too.
"""

import math
from typing import Protocol

from fastrelay.config import Rate
from fastrelay.mail.reply import Reply, reply
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.reception.bulletin import Bulletin
from fastrelay.reception.policy import Policy, network_of
from fastrelay.runtime import clock, tasks

_BUSY = 0.01  # seconds until a bucket whose lock another worker had is asked again
_TRIES = 200  # two seconds of that, as a connection waits for the ledger


def _wait(seconds: float) -> str:
    """What a client is told; the words are those our own schedule understands of others (settlement/word.py)."""
    whole = max(1, math.ceil(seconds))
    return f"try again in {whole} second{'s' if whole > 1 else ''}"


class Buckets(Protocol):
    """A table of counts that hold on the whole machine (process/buckets.py). Never waits; a negative answer: ask again
    in some milliseconds."""

    def spend(self, key: LimitKey, rate: Rate, now: float, amount: float = 1.0, /) -> float: ...
    def refund(self, key: LimitKey, rate: Rate, amount: float = 1.0, /) -> None: ...
    def due(self, key: LimitKey, rate: Rate, now: float, /) -> float: ...
    def until(self, key: LimitKey, /) -> float: ...
    def put(self, key: LimitKey, until: float, now: float, /) -> None: ...


class Rates:
    """Those of one listener. tls: sessions begun anew, not resumed."""

    __slots__ = ("_bulletin", "_counts", "_policy", "buckets", "per_account")

    def __init__(self, policy: Policy, buckets: Buckets, bulletin: Bulletin, counts: Counts) -> None:
        self._policy = policy
        self.buckets = buckets
        self._bulletin = bulletin
        self._counts = counts
        self.per_account = policy.listener.message_rate_per_account

    def connection(self, client: str) -> Reply | None:
        """One more of this client, or the refusal. May wait where a lock is held."""
        rate = self._policy.listener.connection_rate_per_client
        if rate is None or self._policy.unlimited(client):
            return None
        network = network_of(client)
        seconds = self.spend(LimitKey("connection_rate", (self._policy.name, network)), rate)
        if not seconds:
            return None
        words = f"{self._policy.terms.hostname} Too many new connections from your address, {_wait(seconds)}"
        return reply(421, "4.7.0", words)

    def held_up(self, client: str) -> bool:
        """That refusal is counted and told the operator. True: the first of this client for a while."""
        rate = self._policy.listener.connection_rate_per_client
        assert rate is not None
        return self.refused("connection_rate", network_of(client), "connection_rate_per_client", rate)

    def allowance(self, client: str) -> "Allowance | None":
        """That of a session; None where nothing in it is counted."""
        policy = self._policy
        if not policy.has_session_rates or policy.unlimited(client):
            return None
        return Allowance(self, policy, network_of(client))

    def spend(self, key: LimitKey, rate: Rate, amount: int = 1) -> float:
        """0.0, or the seconds until it may be. May wait where a lock is held."""
        for _ in range(_TRIES):
            seconds = self.buckets.spend(key, rate, clock.now(), amount)
            if seconds >= 0.0:
                return seconds
            tasks.sleep(_BUSY)
        return 1.0

    def refused(self, reason: str, who: str, limit: str, rate: Rate) -> bool:
        """Counted, and told the operator. True: the first for a while."""
        self._counts.throttled[reason] += 1
        return self._bulletin.refused(who, f"{limit} = {rate.count:g}/{rate.seconds:g}s")


class Allowance:
    """That of one session's client. Each answer is None, and one more is counted, or the refusal. May wait."""

    __slots__ = ("_handshakes", "_messages", "_network", "_of", "_policy", "_recipients")

    def __init__(self, of: Rates, policy: Policy, network: str) -> None:
        where = (policy.name, network)
        self._of = of
        self._policy = policy
        self._network = network
        self._handshakes = LimitKey("tls_rate", where)
        self._messages = LimitKey("message_rate", where)
        self._recipients = LimitKey("recipient_rate", where)

    def handshake(self) -> Reply | None:
        """Before one."""
        rate = self._policy.listener.tls_rate_per_client
        if rate is None or not (seconds := self._of.spend(self._handshakes, rate)):
            return None
        self._of.refused("tls_rate", self._network, "tls_rate_per_client", rate)
        return reply(454, "4.7.0", f"Too many new TLS sessions from your address, {_wait(seconds)}")

    def resumed(self) -> None:
        """The handshake was none: it took up an earlier session, which costs next to nothing."""
        rate = self._policy.listener.tls_rate_per_client
        if rate is not None:
            self._of.buckets.refund(self._handshakes, rate)

    def message(self, user: str) -> Reply | None:
        """At MAIL. user: the account, "" for none."""
        of = self._of
        rate = self._policy.listener.message_rate_per_client
        if rate is not None and (seconds := of.spend(self._messages, rate)):
            of.refused("message_rate", self._network, "message_rate_per_client", rate)
            return reply(450, "4.7.1", f"Too many messages from your address, {_wait(seconds)}")
        of_account = of.per_account
        if of_account is None or not user:
            return None
        key = LimitKey("account_rate", (user, str(of_account.seconds)))  # a bucket for each length of time
        if not (seconds := of.spend(key, of_account)):
            return None
        if rate is not None:
            of.buckets.refund(self._messages, rate)
        of.refused("account_rate", f"user {user}", "message_rate_per_account", of_account)
        return reply(450, "4.7.1", f"Too many messages from your account, {_wait(seconds)}")

    def recipients(self, count: int) -> Reply | None:
        """At RCPT: one, or those it stands for."""
        rate = self._policy.listener.recipient_rate_per_client
        if rate is None or not (seconds := self._of.spend(self._recipients, rate, count)):
            return None
        self._of.refused("recipient_rate", self._network, "recipient_rate_per_client", rate)
        return reply(450, "4.7.1", f"Too many recipients from your address, {_wait(seconds)}")
