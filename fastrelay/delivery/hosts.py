"""Which addresses to try, in which order; and what is remembered of those that failed.

Pure: every decision is a function of (hosts, memory, now). Promises
- The route's order of preference holds (RFC 5321 5.1); within a preference every host has its turn with two addresses,
  one of each family where it has both, before any host has a third.
- An address that failed a moment ago goes to the end of the line, not out of it: when all failed, all are tried again.
- A family without a way out is passed over as long as there is an address of the other.
- At most MAX_ADDRESSES per attempt.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeVar

from fastrelay.mail.reply import Reply
from fastrelay.mail.route import Host

MAX_ADDRESSES = 5  # per attempt: Postfix's smtp_mx_address_limit and Exim's hosts_max_try
REST_FIRST = 60.0  # seconds an address rests after its first failure; doubled by each further one
REST_MOST = 900.0
PLAIN_FOR = 600.0  # seconds a host whose TLS handshakes fail is spared them, where TLS is opportunistic
UNTRUSTED_FOR = 6 * 3600.0  # seconds until a bad certificate is looked at again: that costs a connection
LOGIN_REST = 300.0  # seconds a refused login is not tried again: each message would cost the account a failure, and
# smart hosts lock accounts that have too many
_REMEMBERED = 65536  # addresses; what is over is forgotten, oldest first

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Place(NamedTuple):
    """One address of one host, the port, and whether LMTP is spoken there."""

    name: str
    address: str
    port: int
    lmtp: bool = False

    @property
    def is_local(self) -> bool:
        """A socket of this machine: what is said there leaves it no more than by a pipe."""
        return self.address.startswith("unix:")


class Health:
    """What a worker remembers of addresses and families. Bounded; forgetting costs an attempt at most."""

    __slots__ = ("_family_down", "_logins", "_plain", "_resting", "_untrusted")

    def __init__(self) -> None:
        self._resting: dict[tuple[str, int], tuple[int, float]] = {}  # failures in a row, rests until
        self._plain: dict[tuple[str, int], float] = {}
        self._untrusted: dict[tuple[str, int], tuple[str, float]] = {}  # why, until when
        self._family_down = {4: 0.0, 6: 0.0}
        self._logins: dict[tuple[str, str, int], tuple[Reply, float]] = {}  # what was said, when

    def failed(self, place: Place, now: float) -> None:
        """The host could not be reached, or would not talk."""
        key = (place.address, place.port)
        failures = self._resting.get(key, (0, 0.0))[0] + 1
        _remember(self._resting, key, (failures, now + min(REST_FIRST * 2.0 ** min(failures - 1, 8), REST_MOST)))

    def succeeded(self, place: Place) -> None:
        """The host greeted us and is ready for mail."""
        self._resting.pop((place.address, place.port), None)

    def unreachable(self, place: Place, now: float) -> None:
        """No way leads there from this machine: most likely nothing of its family can be reached."""
        if family := family_of(place.address):
            self._family_down[family] = now + REST_FIRST

    def tls_failed(self, place: Place, now: float) -> None:
        """The handshake failed while plaintext was allowed."""
        _remember(self._plain, (place.address, place.port), now + PLAIN_FOR)

    def tls_is_broken(self, place: Place, now: float) -> bool:
        """A handshake failed there a short while ago."""
        return self._plain.get((place.address, place.port), 0.0) > now

    def untrusted(self, place: Place, why: str, now: float) -> None:
        """Its certificate has no chain to an authority of ours."""
        _remember(self._untrusted, (place.address, place.port), (why, now + UNTRUSTED_FOR))

    def doubt(self, place: Place, now: float) -> str:
        """Why its certificate was not trusted a while ago, "" when nothing is known against it."""
        if not self._untrusted:
            return ""
        why, until = self._untrusted.get((place.address, place.port), ("", 0.0))
        return why if until > now else ""

    def login_refused(self, place: Place, credentials: str, said: Reply, now: float) -> None:
        """The host would not let us log in with these credentials."""
        _remember(self._logins, (credentials, place.address, place.port), (said, now))

    def refusal_of_login(self, place: Place, credentials: str, now: float) -> Reply | None:
        """What it said a short while ago; None where it may be asked."""
        found = self._logins.get((credentials, place.address, place.port)) if self._logins else None
        if found is None or now - found[1] >= LOGIN_REST:
            return None
        said, at = found
        when = f" (said {now - at:.0f} s ago, not asked again for {LOGIN_REST - (now - at):.0f} s)"
        return Reply(said.code, said.enhanced, (*said.lines[:-1], said.lines[-1] + when))

    def forget_logins(self) -> None:
        """The credentials may be others now."""
        self._logins.clear()

    def rests_until(self, place: Place) -> float:
        """0.0 for an address nothing bad is known of."""
        return self._resting.get((place.address, place.port), (0, 0.0))[1]

    def family_is_down(self, address: str, now: float) -> bool:
        """A connect to that family found no route a short while ago."""
        return self._family_down.get(family_of(address), 0.0) > now

    def statistics(self) -> dict[str, int]:
        """Addresses remembered."""
        return {"resting": len(self._resting), "without_tls": len(self._plain), "untrusted": len(self._untrusted)}


def _remember(table: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """The newest last; the oldest makes room."""
    table.pop(key, None)
    if len(table) >= _REMEMBERED:
        del table[next(iter(table))]
    table[key] = value


def family_of(address: str) -> int:
    """4 or 6; 0 for a local socket."""
    if address.startswith("unix:"):
        return 0
    return 6 if ":" in address else 4


def in_order(
    hosts: Sequence[Host], default_port: int, health: Health, now: float, tried: Collection[Place] = ()
) -> list[Place]:
    """The places to try now, best first, without those of `tried`: with these at most MAX_ADDRESSES."""
    if len(hosts) == 1 and len(hosts[0].addresses) == 1 and not tried:
        only = hosts[0]
        return [Place(only.name, only.addresses[0], only.port or default_port, only.lmtp)]
    ranked = []
    for position, host in enumerate(hosts):
        for index, address in enumerate(host.addresses):
            place = Place(host.name, address, host.port or default_port, host.lmtp)
            if place not in tried:
                ranked.append(((host.preference, index // 2, position, index), place))
    ranked.sort(key=lambda entry: entry[0])
    places = [place for _, place in ranked]
    reachable = [place for place in places if not health.family_is_down(place.address, now)]
    places = reachable or places
    rested = [place for place in places if health.rests_until(place) <= now]
    resting = [place for place in places if health.rests_until(place) > now]
    resting.sort(key=health.rests_until)
    return (rested + resting)[: max(0, MAX_ADDRESSES - len(tried))]
