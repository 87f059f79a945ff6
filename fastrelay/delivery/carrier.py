"""One runner's hands: at most one connection, and a message carried over it to the recipients of one domain.

    in hand and satisfies, or leased -> alive? -> fits? -> transaction -> weigh -> done | again

Promises
- One outcome per recipient, in order; PeerError never leaves this room.
- A connection used before that turns out dead costs one new connection, never an attempt; whoever has no last word and
  whose host is in trouble goes on to the next host, at most hosts.MAX_ADDRESSES of them in one attempt.
- One transaction holds recipients of one domain (the caller's indices), at most [delivery] recipients_per_transaction
  and no more than the peer says it takes (RFC 9422).
- A connection is given up once it is worn, and between two messages once another worker waits for its place and this
  one had it for 5 s or 20 messages (limits.py); a runner of this worker that waits gets it as it is.
- However a call ends, TaskExit included, a connection is in hand and ready, idle in the pool, or closed and given back.

Cost of a 5 KB message over a connection in hand, by strace: 5 system calls of ours (peek, send, recv, sendmsg, recv)
and one epoll_wait per wait; no copy of the content.
"""

from collections.abc import Sequence

from fastrelay.config import Delivery
from fastrelay.delivery import limits
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.duty import owed
from fastrelay.delivery.fitting import EIGHTBIT, Misfit, fit
from fastrelay.delivery.hosts import Place
from fastrelay.delivery.idle import satisfies
from fastrelay.delivery.pool import Pool
from fastrelay.delivery.verdict import Step, Weighed, weigh
from fastrelay.errors import PeerClosed
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.outcome import Failed, Outcome, Phase, Scope
from fastrelay.mail.route import Demand, Route
from fastrelay.smtp.client import State
from fastrelay.smtp.dsn import Asked


class Carrier:
    """One per runner; used by one task.

    connection: the one the last `deliver` used, closed or not; None when it got none. connect_seconds: what that
    delivery waited for a place and a connection; transmit_seconds: for its transactions. converted: its content went
    out as 7-bit MIME, for a host that takes no other. login: the name of the credentials it was to go out with, or "".
    """

    __slots__ = (
        "_held",
        "_leasing",
        "_now",
        "_outcomes",
        "_pool",
        "_under_way",
        "_wishing",
        "connect_seconds",
        "connection",
        "converted",
        "login",
        "transmit_seconds",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._now = pool.now
        self._held: Connection | None = None
        self._leasing = 0.0  # seconds `ready` took, of the delivery that follows
        self._outcomes: dict[int, Outcome] = {}  # of the delivery under way, by index
        self._under_way: Sequence[int] = ()  # indices of the transaction under way
        self._wishing: Sequence[Recipient] = ()  # its recipients, where the sender gave DSN parameters
        self.connection: Connection | None = None
        self.converted = False
        self.login = ""
        self.connect_seconds = 0.0
        self.transmit_seconds = 0.0

    @property
    def progress(self) -> float:
        """Changes with each step: the deadline of the wait that is under way, 0 without a connection."""
        connection = self.connection
        return connection.stream.deadline if connection is not None else 0.0

    def ready(self, demand: Demand, route: Route, now: float) -> Outcome | None:
        """None: a connection that satisfies is in hand; else why there is none. May wait."""
        self._leasing = 0.0
        if self._serving(demand, self._pool.settings_of(demand.site), now) is not None:
            return None
        answer = self._lease(demand, route, now, set(), fresh=False)
        if not isinstance(answer, Outcome):
            return None
        self.connection = None
        self.login = demand.credentials
        self.connect_seconds, self.transmit_seconds = self._leasing, 0.0
        return answer

    def deliver(
        self,
        demand: Demand,
        route: Route,
        envelope: Envelope,
        indices: Sequence[int],
        parts: Sequence[bytes],
        now: float,
    ) -> list[Outcome]:
        """Carry the message to the recipients at `indices`, all of one domain: an outcome for each, in order. May wait.

        parts: the message as it is to arrive, prefix and content; a list, or a sequence that reads a piece when it is
        asked for it. What reading raises comes out here, after the session was closed.
        """
        self.transmit_seconds = 0.0
        self.connection = None
        self.converted = False
        self.login = demand.credentials
        self._under_way = ()
        try:
            return self._attempt(demand, route, envelope, indices, parts, now)
        except BaseException:
            self._drop()  # whatever was under way on it ends with the session
            raise
        finally:
            self.connect_seconds, self._leasing = self._leasing, 0.0

    def so_far(self, indices: Sequence[int]) -> list[Outcome | None]:
        """After a `deliver` that TaskExit cut off: what became of each; None: nothing did, it may be tried again.

        Uncertain are those whose final dot was sent and not answered; who was refused before stays refused.
        """
        known = self._outcomes
        connection = self.connection
        if connection is not None and self._under_way:
            classify, place = self._pool.dialer.classify, connection.place
            doubt: Outcome | None = None
            if connection.client.state is State.DOT:
                error = PeerClosed("this relay stopped")
                doubt = classify(Phase.DOT, error, place.name, place.address, uncertain=True)
            for index, verdict in zip(self._under_way, connection.client.verdicts, strict=False):
                if verdict is not None:
                    known[index] = classify(verdict[0], verdict[1], place.name, place.address)
                elif doubt is not None:
                    known[index] = doubt
            for index, recipient in zip(self._under_way, self._wishing, strict=False):
                if index in known:
                    known[index] = owed(connection, (recipient,), (known[index],))[0]
        return [known.get(index) for index in indices]

    def rest(self, now: float) -> None:
        """Nothing to carry for a while: the connection is idle in the pool, for whoever comes first."""
        connection, self._held = self._held, None
        if connection is not None:
            self._pool.release(connection, now)

    def close(self) -> None:
        """The runner ends."""
        self.rest(self._now())

    # -- one attempt ----------------------------------------------------------------------------------------------

    def _attempt(
        self,
        demand: Demand,
        route: Route,
        envelope: Envelope,
        indices: Sequence[int],
        parts: Sequence[bytes],
        now: float,
    ) -> list[Outcome]:
        settings = self._pool.settings_of(demand.site)
        size = envelope.size or sum(map(len, parts))
        outcomes = self._outcomes = {}
        pending = list(indices)
        tried: set[Place] = set()
        fresh = False
        while pending:
            connection = self._take(demand, route, settings, now, tried, fresh)
            if isinstance(connection, Outcome):
                _no_way_on(outcomes, pending, connection)
                break
            self.connection = connection
            most = settings.recipients_per_transaction
            offered = connection.client.offer.recipients
            chunk = pending[: min(most, offered) if offered else most]
            recipients: Sequence[str] = [envelope.recipients[index].address for index in chunk]
            sender, content, octets = envelope.sender, parts, size
            fitted = fit(connection.client.offer, envelope, recipients, parts, size, connection.host, settings)
            if isinstance(fitted, Misfit):
                place = connection.place
                outcome = Failed(fitted.reply, Phase.MAIL, Scope.MESSAGE, place.name, place.address, ours=True)
                befallen = {chunk[position] for position in fitted.positions}
                outcomes.update(dict.fromkeys(befallen, outcome))
                pending[: len(chunk)] = [index for index in chunk if index not in befallen]
                continue
            if fitted is not None:
                sender, recipients, content, octets, self.converted = fitted
            self._under_way = chunk
            self._wishing, wishes = (), None
            for index in chunk:
                one = envelope.recipients[index]
                if one.notify or one.orcpt or envelope.ret or envelope.envid:
                    self._wishing = [envelope.recipients[index] for index in chunk]
                    offer = connection.client.offer
                    wishes = Asked(envelope, self._wishing, smtputf8=envelope.smtputf8 and offer.smtputf8)
                    break
            weighed = self._transact(connection, envelope, sender, recipients, content, octets, wishes)
            self._under_way = ()
            said = weighed.outcomes if wishes is None else owed(connection, self._wishing, weighed.outcomes)
            outcomes.update(zip(chunk, said, strict=False))
            pending[: len(chunk)] = [chunk[position] for position in weighed.again]
            fresh = weighed.step is Step.RECONNECT
            if weighed.step is Step.NEXT_HOST:
                tried.add(connection.place)
                self._pool.dialer.health.failed(connection.place, connection.used)
            if fresh or weighed.step is Step.NEXT_HOST or not connection.is_ready:
                self._drop()
            now = connection.used
        self._hand_on(settings)
        return [outcomes[index] for index in indices]

    def _transact(
        self,
        connection: Connection,
        envelope: Envelope,
        sender: str,
        recipients: Sequence[str],
        parts: Sequence[bytes],
        size: int,
        wishes: Asked | None,
    ) -> Weighed:
        reused = not connection.is_fresh
        if reused:
            self._pool.counts.connection_reuse += 1
        began = self._now()
        trouble = connection.transact(
            sender,
            recipients,
            parts,
            size=size,
            eightbit=envelope.body == EIGHTBIT,
            smtputf8=envelope.smtputf8,
            asked=wishes,
        )
        connection.used = ended = self._now()
        self.transmit_seconds += ended - began
        verdicts = connection.client.verdicts
        return weigh(verdicts, trouble, connection.place, self._pool.dialer.classify, reused=reused)

    # -- the connection in hand -----------------------------------------------------------------------------------

    def _take(
        self, demand: Demand, route: Route, settings: Delivery, now: float, tried: set[Place], fresh: bool
    ) -> Connection | Outcome:
        """A connection on which MAIL may go: in hand, idle or new, and alive. May wait."""
        while True:
            connection = self._serving(demand, settings, now)
            if connection is None:
                answer = self._lease(demand, route, now, tried, fresh)
                if isinstance(answer, Outcome):
                    return answer
                connection = answer
            if connection.is_fresh or connection.is_alive():
                return connection
            self._drop()

    def _serving(self, demand: Demand, settings: Delivery, now: float) -> Connection | None:
        """The connection in hand where it will do; else it is put away."""
        held = self._held
        if held is None:
            return None
        if limits.is_worn(held.messages, held.opened, now, settings, held.client.offer.mails):
            self._drop()
        elif not satisfies(held, demand, settings.port):
            self.rest(now)
        else:
            held.demand = demand
            return held
        return None

    def _lease(self, demand: Demand, route: Route, now: float, tried: set[Place], fresh: bool) -> Connection | Outcome:
        began = self._now()
        answer = self._pool.lease(demand, route, now, tried=tried, fresh=fresh)
        self._leasing += self._now() - began
        if isinstance(answer, Connection):
            self._held = answer
        return answer

    def _drop(self) -> None:
        connection, self._held = self._held, None
        if connection is not None:
            self._pool.discard(connection)

    def _hand_on(self, settings: Delivery) -> None:
        """Between two messages: close what is worn or owed to another worker, leave what a neighbour waits for."""
        held = self._held
        if held is None:
            return
        now = held.used
        if limits.is_worn(held.messages, held.opened, now, settings, held.client.offer.mails):
            self._drop()
        elif limits.is_ripe(held.messages, held.opened, now):
            if self._pool.is_wanted_elsewhere(held):
                self._drop()
            elif self._pool.has_waiters(held.demand.site):
                self.rest(now)


def _no_way_on(outcomes: dict[int, Outcome], pending: Sequence[int], answer: Outcome) -> None:
    """No connection for those left. The word of a host that was tried weighs more than that no other was to be had."""
    for index in pending:
        if index not in outcomes or answer.host:
            outcomes[index] = answer
