"""What stands at both ends of the road in unit tests: hosts that need no socket, a ledger in memory, a clock by hand.

    road = ShortRoad(connections=2)
    road.wire.hosts["192.0.2.1"] = [{"mail": b"421 4.3.2 bye\\r\\n"}, {}]     # first connection, then all others

A script maps a step to what comes: octets (b"" is the end of the stream), an error the wait ends with, or a tuple of
these for its first, second, ... time, the last from then on (None: the right thing), or a function of the line that
was heard. Steps: banner ehlo helo starttls handshake auth (each line of the exchange) mail rcpt data content dot rset;
`certificate`: the names it bears. A host that says nothing is one whose deadline has passed. `content` is met by the
writer of the first octets of content; then `last words` may still be read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastrelay.config import Delivery
from fastrelay.delivery import tls_policy
from fastrelay.delivery.accounts import Account
from fastrelay.delivery.carrier import Carrier
from fastrelay.delivery.connect import NOBODY, Dialer
from fastrelay.delivery.pool import Pool
from fastrelay.errors import CertificateUntrusted, PeerTimeout
from fastrelay.mail.outcome import Outcome
from fastrelay.mail.route import Demand, Host, LimitKey, Route, RouteKind
from fastrelay.metrics import Counts
from fastrelay.process.limit import GRANTED, Granted, Refused, Why
from fastrelay.routing import guard
from fastrelay.runtime import clock
from fastrelay.settlement.classify import classify
from tests.peers.road import an_envelope
from tests.unit.rooms import HandClock

PARTS = (b"Received: by relay.example\r\n", b"Subject: hello\r\n\r\nhello\r\n")
HELLO = "relay.example"
GOOD: Mapping[str, Any] = {}
EXTENSIONS = ("PIPELINING", "SIZE 10000", "8BITMIME", "SMTPUTF8")
_REPLIES = {
    "banner": b"220 mx.example ESMTP\r\n",
    "helo": b"250 mx.example\r\n",
    "starttls": b"220 2.0.0 go\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go\r\n",
    "dot": b"250 2.0.0 taken\r\n",
    "rset": b"250 2.0.0 ok\r\n",
}


class Layer:
    """What TLS agreed on."""

    def version(self) -> str:
        return "TLSv1.3"

    def __init__(self, *names: str) -> None:
        self.names = names

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256

    def getpeercert(self) -> dict[str, Any]:
        return {"subjectAltName": tuple([("DNS", name) for name in self.names])}


class Link:
    """A stream to a host that answers on the spot. told: the command lines it was told, "<content>" for a message."""

    def __init__(self, script: Mapping[str, Any], time: HandClock, extensions: Sequence[str] = EXTENSIONS) -> None:
        self.script = script
        self.extensions = script.get("extensions", extensions)
        self.told: list[str] = []
        self.writes: list[bytes] = []
        self.waits: list[float] = []  # seconds as given to expire_in
        self.deadline = clock.NEVER
        self.closed = False
        self.was_reset = False
        self.quiet = True
        self.tls: Layer | None = None
        self.server_hostname: str | None = ""
        self.context: object = None
        self.before_read: Callable[[], object] = lambda: None
        self._clock = time
        self._times: dict[str, int] = {}
        self._said: list[Any] = []
        self._heard = b""
        self._in_content = False
        self._line = ""
        self._challenged = False
        self._mute = False  # it is gone, or will say no more
        self._say("banner")

    # -- as the road sees it

    def expire_in(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.deadline = self._clock.now() + seconds

    def expire_at(self, deadline: float) -> None:
        self.deadline = deadline

    def is_quiet(self) -> bool:
        return self.quiet and not self.closed

    def local_address(self) -> str:
        return "192.0.2.99"

    def write(self, octets: bytes | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(octets))
        if self._in_content and (error := self._next("content")) is not None:
            self._said = [self.script.get("last words", b"")]
            raise error
        self._heard += bytes(octets)
        self._listen()

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        for part in parts:
            self.write(part)

    def write_nowait(self, octets: bytes) -> bool:
        self.writes.append(octets)
        self.told.append(octets.decode().rstrip())
        return True

    def read(self) -> bytes:
        self.before_read()
        octets = b""
        while self._said and isinstance(self._said[0], bytes) and self._said[0]:
            octets += self._said.pop(0)
        if octets:
            return octets
        if not self._said:
            raise PeerTimeout("deadline passed")
        said = self._said.pop(0)
        if isinstance(said, BaseException):
            raise said
        return b""

    read_waiting_first = read

    def start_tls(self, context: object, *, server_side: bool, server_hostname: str | None = None) -> None:
        self.context, self.server_hostname = context, server_hostname
        error = self._next("handshake")
        untrusted = isinstance(error, CertificateUntrusted) and context == "verifies nothing"
        if isinstance(error, BaseException) and not untrusted:
            raise error
        self.tls = Layer(*self.script.get("certificate", ("mx1.example", "mx2.example", "mail.example")))

    def reset(self) -> None:
        self.was_reset = True
        self.closed = True

    def close(self) -> None:
        self.closed = True

    # -- the host

    def _next(self, step: str) -> Any:
        acts = self.script.get(step)
        if callable(acts):
            return acts(self._line)
        if not isinstance(acts, tuple):
            return acts
        time = self._times.get(step, 0)
        self._times[step] = time + 1
        return acts[min(time, len(acts) - 1)]

    def _say(self, step: str) -> bytes:
        said = self._next(step)
        if said is None:
            said = _REPLIES.get(step) or self._ehlo()
        if not self._mute:
            self._said.append(said)
            self._mute = not isinstance(said, bytes) or not said or said.startswith(b"421")
        return said if isinstance(said, bytes) else b""

    def _ehlo(self) -> bytes:
        names = [name for name in self.extensions if name != "STARTTLS" or self.tls is None]
        lines = ["mx.example hello", *names]
        return b"".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n".encode() for line in lines)

    def _listen(self) -> None:
        while not self._mute:
            if self._in_content:
                _, end, rest = (b"\r\n" + self._heard).partition(b"\r\n.\r\n")
                if not end:
                    return
                self._heard, self._in_content = rest, False
                self.told.append("<content>")
                self._say("dot")
                continue
            line, end, rest = self._heard.partition(b"\r\n")
            if not end:
                return
            self._heard = rest
            self._line = line.decode()
            self.told.append(self._line)
            verb = line[:4].decode().upper()
            step = "auth" if self._challenged else {"STAR": "starttls"}.get(verb, verb.lower())
            said = self._say(step)
            self._in_content, self._challenged = said.startswith(b"354"), said.startswith(b"334")


class Wire:
    """hosts: by address (or "address:port"), the scripts of its first, second, ... connection, or an error to connect;
    the last stands for all that follow. links: those opened, in order. dialled: every attempt to."""

    def __init__(self, time: HandClock) -> None:
        self.hosts: dict[str, Sequence[Any]] = {}
        self.links: list[Link] = []
        self.dialled: list[str] = []
        self.sources: list[str] = []
        self.seconds: list[float] = []
        self._clock = time
        self._times: dict[str, int] = {}

    def connect(self, address: str, port: int, *, source: str, seconds: float) -> Any:
        self.dialled.append(address)
        self.sources.append(source)
        self.seconds.append(seconds)
        scripts = self.hosts.get(f"{address}:{port}") or self.hosts.get(address) or [GOOD]
        time = self._times.get(address, 0)
        self._times[address] = time + 1
        script = scripts[min(time, len(scripts) - 1)]
        if isinstance(script, BaseException):
            raise script
        link = Link(script, self._clock)
        self.links.append(link)
        return link

    @property
    def open(self) -> int:
        return sum(not link.closed for link in self.links)


class Tally:
    """A ledger of one worker's. others: places other workers hold. waiting: how many other workers wait for a place;
    each give answers one. not_before: no take until then, for the rate."""

    def __init__(self, time: HandClock) -> None:
        self.held: dict[LimitKey, int] = {}
        self.others = 0
        self.waiting = 0
        self.not_before = 0.0
        self.marked: set[LimitKey] = set()
        self.takes = 0
        self.most = 0  # ever held at once
        self._clock = time

    def take(self, wants: Sequence[tuple[LimitKey, Any]], now: float, wait: bool = False) -> Granted | Refused:
        ((key, limit),) = wants
        held = self.held.get(key, 0)
        if limit.count is not None and held + self.others >= limit.count:
            if wait:
                self.marked.add(key)
            return Refused(key, Why.COUNT, None)
        if self.not_before > now:
            return Refused(key, Why.RATE, self.not_before)
        self.takes += 1
        self.held[key] = held + 1
        self.most = max(self.most, held + 1)
        return GRANTED

    def give(self, keys: Iterable[LimitKey]) -> None:
        for key in keys:
            assert self.held[key] > 0, "given back more than was taken"
            self.held[key] -= 1
            self.waiting = max(0, self.waiting - 1)

    def wanted(self, key: LimitKey) -> bool:
        return self.waiting > 0 and self.held.get(key, 0) > 0

    def wait_over(self, key: LimitKey) -> None:
        self.marked.discard(key)

    @property
    def total(self) -> int:
        return sum(self.held.values())


class Way(NamedTuple):
    """A route and what is asked of connections on it."""

    route: Route
    demand: Demand


class ShortRoad:
    """Dialer, pool and carriers between them. settings: keys of [delivery]."""

    def __init__(self, accounts: Mapping[str, Account] = NOBODY, **settings: Any) -> None:
        self.settings = Delivery(**settings)
        self.clock = HandClock()
        self.wire = Wire(self.clock)
        self.ledger = Tally(self.clock)
        self.counts = Counts()
        contexts: Any = ("verifies nothing", {"": "verifies", "/own.pem": "verifies by our own"})
        self.dialer = Dialer(
            HELLO,
            classify,
            guard.forbidden,
            *contexts,
            accounts=accounts,
            connect=self.wire.connect,
            now=self.clock.now,
        )
        self.pool = Pool(lambda site: self.settings, self.ledger, self.dialer, self.counts, now=self.clock.now)

    def carrier(self) -> Carrier:
        return Carrier(self.pool)

    def way(self, *hosts: Host, site: str = "example", exempt: bool = True, credentials: str = "") -> Way:
        places = hosts or (host(1),)
        route = Route("example", site, RouteKind.MX, places, clock.NEVER, exempt=exempt, credentials=credentials)
        return Way(route, tls_policy.demand(route, self.settings))

    def send(self, carrier: Carrier, way: Way, recipients: int = 1, **envelope: Any) -> list[Outcome]:
        message = an_envelope(recipients, **envelope)
        return carrier.deliver(way.demand, way.route, message, range(recipients), PARTS, self.clock.now())

    @property
    def balance(self) -> tuple[int, int, int]:
        """Connections open on the wire, in the ledger, and in the gauges."""
        return self.wire.open, self.ledger.total, self.counts.out_active + self.counts.out_idle


def host(number: int, *addresses: str, preference: int = -1, port: int = 0) -> Host:
    """mx1.example at 192.0.2.1, of preference 1, and so on."""
    return Host(
        f"mx{number}.example",
        addresses or (f"192.0.2.{number}",),
        number if preference < 0 else preference,
        port,
    )
