"""The road of one worker, built for a test: real ledger, real dialer and pool, peers of smtp_peer.py as hosts."""

from collections.abc import Sequence

from fastrelay.config import Delivery
from fastrelay.delivery import limits, tls_policy
from fastrelay.delivery.carrier import Carrier
from fastrelay.delivery.connect import Dialer
from fastrelay.delivery.pool import Pool
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Outcome
from fastrelay.mail.route import Demand, Host, Route, RouteKind
from fastrelay.metrics import Counts
from fastrelay.process.ledger import Ledger
from fastrelay.routing import guard
from fastrelay.runtime import clock, tls
from fastrelay.settlement.classify import classify
from tests.peers.smtp_peer import SmtpPeer

PREFIX = b"Received: by relay.example; Wed, 1 Jan 2025 00:00:00 +0000\r\n"
BODY = b"Subject: hello\r\n\r\n" + b"All work and no play makes a dull relay, as the saying goes.\r\n" * 80

_ledgers: list[Ledger] = []  # made and not closed yet: six descriptors each


def close_ledgers() -> None:
    """At the end of a test."""
    while _ledgers:
        _ledgers.pop().close()


class Road:
    """settings: keys of [delivery]. ledger: another road's, for a second worker of the same house (column 1)."""

    def __init__(self, *, ledger: Ledger | None = None, **settings: object) -> None:
        self.settings = Delivery(**settings)  # type: ignore[arg-type]
        if ledger is None:
            self.ledger = Ledger.create(4)
            self.ledger.attach(0)
            _ledgers.append(self.ledger)
        else:
            self.ledger = Ledger(ledger.fd, ledger.eventfds)
            self.ledger.attach(1)
        verifying = tls.verifying_contexts([self.settings.tls_ca])
        self.dialer = Dialer("relay.example", classify, guard.forbidden, tls.client_context(verify=False), verifying)
        self.counts = Counts()
        self.pool = Pool(lambda site: self.settings, self.ledger, self.dialer, self.counts)

    def carrier(self) -> Carrier:
        return Carrier(self.pool)

    def to(self, *peers: SmtpPeer | int, exempt: bool = True, site: str = "example") -> "Way":
        """The way to peers (or bare ports) in order of preference."""
        ports = [peer if isinstance(peer, int) else peer.port for peer in peers]
        hosts = tuple(Host(f"mx{n}.example", ("127.0.0.1",), n, port) for n, port in enumerate(ports))
        route = Route("example", site, RouteKind.MX, hosts, clock.NEVER, exempt=exempt)
        return Way(route, tls_policy.demand(route, self.settings))

    def in_use(self, site: str = "example") -> int:
        """Connections to the site as the machine counts them."""
        return self.ledger.total(limits.key_of(site))


class Way:
    """A route and what is asked of connections on it."""

    def __init__(self, route: Route, demand: Demand) -> None:
        self.route = route
        self.demand = demand

    def deliver(
        self, carrier: Carrier, recipients: int = 1, content: bytes = BODY, **envelope: object
    ) -> Sequence[Outcome]:
        message = an_envelope(recipients, **envelope)
        return carrier.deliver(self.demand, self.route, message, range(recipients), [PREFIX, content], clock.now())


def an_envelope(recipients: int = 1, **fields: object) -> Envelope:
    """From a@sender.example to user0@example, user1@example, ..."""
    to = tuple(Recipient(f"user{n}@example") for n in range(recipients))
    return Envelope(sender="a@sender.example", recipients=to, created=0.0, **fields)  # type: ignore[arg-type]
