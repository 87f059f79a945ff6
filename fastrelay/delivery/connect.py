"""Open one connection and bring it to the point where mail can go: connect, greeting, EHLO, STARTTLS, EHLO, AUTH.

Promises
- Never to a forbidden address (loopback, private, ...) unless the site allows it or the hop is the operator's own.
- TLS as the Demand asks (tls_policy.py). Opportunistic TLS that fails costs one further connection, in plaintext, and
  is not tried again with that host for a while; REQUIRE and VERIFY fail with TLS. What became of the certificate stands
  in the Connection, whatever was asked; below VERIFY a chain that leads nowhere costs one further connection.
- Where the Demand names credentials no mail goes without a login, and no password without TLS unless its row says so;
  what a host answers to AUTH, 535 included, makes the mail wait, and is not asked for again for a while.
- A host that answers EHLO with our own name is us: the mail would loop (RFC 5321 6.3).
- The result is a Connection or an Outcome, never a PeerError; a machine short of descriptors is an Outcome of QUEUE.
"""

import ssl
from collections.abc import Callable, Mapping

from fastrelay.config import Delivery
from fastrelay.delivery import accounts, certificate, tls_policy
from fastrelay.delivery.accounts import Account
from fastrelay.delivery.connection import Connection
from fastrelay.delivery.faces import Classify, Connect, Forbidden
from fastrelay.delivery.hosts import Health, Place, family_of
from fastrelay.delivery.limits import key_of
from fastrelay.delivery.tls_policy import Step
from fastrelay.errors import CertificateUntrusted, FastrelayError, MachineShort, PeerError, PeerUnreachable
from fastrelay.mail.outcome import Outcome, Phase
from fastrelay.mail.reply import Reply
from fastrelay.mail.route import Demand, TlsLevel
from fastrelay.runtime import clock, stream
from fastrelay.smtp.client import Client, State
from fastrelay.smtp.sasl.client import begin

NOBODY: Mapping[str, Account] = {}


NO_AUTHORITIES = "no authorities here to judge certificates by: install the system's, or name a file in tls_ca"


class _Again(Exception):
    """TLS failed where less will do, and what failed is remembered: connect again."""


class Dialer:
    """Opens connections. hello: our name where the site's settings bear none. opportunistic: the context that verifies
    nothing. verifying: those that check the chain, by [delivery] tls_ca. accounts: by the name of the credentials."""

    __slots__ = (
        "_accounts",
        "_connect",
        "_forbidden",
        "_hello",
        "_now",
        "_opportunistic",
        "_turn",
        "_verifying",
        "classify",
        "health",
    )

    def __init__(
        self,
        hello: str,
        classify: Classify,
        forbidden: Forbidden,
        opportunistic: ssl.SSLContext,
        verifying: Mapping[str, ssl.SSLContext],
        *,
        accounts: Mapping[str, Account] = NOBODY,
        connect: Connect = stream.connect,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._accounts = accounts
        self._connect = connect
        self._now = now
        self._hello = hello
        self.classify = classify
        self._forbidden = forbidden
        self._opportunistic = opportunistic
        self._verifying = verifying
        self.health = Health()
        self._turn = 0

    def renew(
        self, hello: str, verifying: Mapping[str, ssl.SSLContext], accounts: Mapping[str, Account] = NOBODY
    ) -> None:
        """A reload: connections opened from now on. One being opened may still ask for authorities there were."""
        self._hello = hello
        self._accounts = accounts
        self.health.forget_logins()
        self._verifying = {**self._verifying, **verifying}

    def open(self, place: Place, demand: Demand, settings: Delivery, *, exempt: bool) -> Connection | Outcome:
        """A connection ready for MAIL, or why there is none. May wait. exempt: the operator named this hop himself."""
        reason = "" if exempt else self._forbidden(place.address, allow_private=settings.allow_private)
        if reason:
            words = f"{place.name} has the address {place.address}: {reason}"
            return self._outcome(Phase.CONNECT, Reply(550, "5.4.4", (words,)), place)
        if demand.credentials:
            said = self.health.refusal_of_login(place, demand.credentials, self._now())
            if said is not None:
                return self._outcome(Phase.AUTH, said, place)
        try:
            while True:  # three times at most: certificate checked, not checked, no TLS
                try:
                    return self._session(place, demand, settings, exempt)
                except _Again:
                    continue
        except _Refused as refused:
            outcome = self._outcome(refused.phase, refused.said, place)
            if outcome.phase is not Phase.QUEUE:
                self.health.failed(place, self._now())
            return outcome

    def _outcome(self, phase: Phase, said: Reply | FastrelayError, place: Place) -> Outcome:
        return self.classify(phase, said, place.name, place.address)

    def _session(self, place: Place, demand: Demand, settings: Delivery, exempt: bool) -> Connection:
        source = self._source(place, demand, settings)
        try:
            link = self._connect(place.address, place.port, source=source, seconds=settings.connect_timeout)
        except PeerError as error:
            if isinstance(error, PeerUnreachable) and not source:  # from a source of one's own it may be the source
                self.health.unreachable(place, self._now())
            raise _Refused(Phase.CONNECT, error) from None
        except MachineShort as error:
            raise _Refused(Phase.QUEUE, error) from None
        hello = settings.hello or self._hello
        connection = Connection(
            link,
            Client(hello, lmtp=place.lmtp),
            place,
            demand,
            key_of(demand.site),
            opened=self._now(),
            tls=tls_policy.proved(demand.tls, encrypted=False, local=place.is_local),
            source=source,
            reply_ceiling=settings.reply_timeout,
        )
        try:
            self._greet(connection)
            account = self._account(demand) if demand.credentials else None
            if not place.is_local:
                level = demand.tls
                if account is not None and not account.plaintext:
                    level = max(level, TlsLevel.REQUIRE)
                self._secure(connection, demand, settings, level)
            if not exempt and connection.client.peer_name.rstrip(".").lower() == hello.lower():
                words = f"{place.name} answers with our own name: mail would loop back to ourselves"
                raise _Refused(Phase.EHLO, Reply(554, "5.4.6", (words,)))
            if account is not None:
                self._log_in(connection, account)
        except BaseException:
            connection.close()
            raise
        link.expire_at(clock.NEVER)
        self.health.succeeded(place)
        return connection

    def _source(self, place: Place, demand: Demand, settings: Delivery) -> str:
        """Our address to send from: of the peer's family, in turn where there are several; "" = the system chooses."""
        family = family_of(place.address)
        if demand.source_address:
            return demand.source_address if family else ""
        own = [address for address in settings.source_address if family_of(address) == family]
        if not own:
            return ""
        self._turn += 1
        return own[self._turn % len(own)]

    def _greet(self, connection: Connection) -> None:
        """From the greeting to the reply to EHLO or HELO."""
        client = connection.client
        try:
            connection.converse(b"")
        except PeerError as error:
            raise _Refused(client.phase, error) from None
        if client.refusal is not None:
            raise _Refused(*client.refusal)

    def _account(self, demand: Demand) -> Account:
        account = self._accounts.get(demand.credentials)
        if account is None:
            raise _Refused(*accounts.unknown(demand.credentials))
        return account

    def _log_in(self, connection: Connection, account: Account) -> None:
        """AUTH with the strongest mechanism both sides know. A refusal is no fault of the mail's: it waits."""
        client = connection.client
        exchange = begin(account.secret, client.offer.auth)
        if exchange is None:
            raise _Refused(*accounts.no_mechanism(connection.place.name, client.offer.auth))
        try:
            connection.converse(client.authenticate(exchange))
            while client.state is State.CHALLENGE:
                connection.converse(client.answer_challenge())
        except PeerError as error:
            raise _Refused(client.phase, error) from None
        if client.refusal is not None and client.state is not State.READY:
            said = client.refusal[1]
            if said.code != 421:  # which speaks of the host, not of the account
                self.health.login_refused(connection.place, connection.demand.credentials, said, self._now())
            raise _Refused(*client.refusal)

    def _secure(self, connection: Connection, demand: Demand, settings: Delivery, level: TlsLevel) -> None:
        """STARTTLS and what follows, as the demand and the peer will have it."""
        client, place, health = connection.client, connection.place, self.health
        step = tls_policy.next_step(level, client.offer.starttls, health.tls_is_broken(place, self._now()))
        if step is Step.PLAINTEXT:
            return
        if step is Step.REFUSE:
            raise _Refused(*tls_policy.not_offered(place.name, for_login=demand.tls < level))
        try:
            connection.converse(client.start_tls())
            if client.state is not State.HANDSHAKE:
                assert client.refusal is not None
                if client.state is State.READY and tls_policy.after_refusal(level) is Step.PLAINTEXT:
                    return
                raise _Refused(*client.refusal)
            self._handshake(connection, demand, self._verifying.get(settings.tls_ca))
            connection.converse(client.secured())
        except PeerError as error:
            if isinstance(error, CertificateUntrusted) and level is not TlsLevel.VERIFY:
                health.untrusted(place, str(error), self._now())
                raise _Again from None
            # also behind the handshake: in TLS 1.3 ours is done before the peer has judged it (RFC 8446 4.4.4)
            if tls_policy.after_refusal(level) is Step.PLAINTEXT:
                health.tls_failed(place, self._now())
                raise _Again from None
            raise _Refused(client.phase, error) from None
        if client.refusal is not None:
            raise _Refused(*client.refusal)
        connection.encrypted(tls_policy.proved(level, encrypted=True))

    def _handshake(self, connection: Connection, demand: Demand, verifying: ssl.SSLContext | None) -> None:
        link, place, verify = connection.stream, connection.place, demand.tls is TlsLevel.VERIFY
        wanted = tls_policy.wanted_names(demand.verify_names, place.name)
        if verify and not wanted:
            raise CertificateUntrusted(
                f"{place.name} is no name a certificate can be checked for, and tls_names has none"
            )
        if verify and verifying is None:
            raise CertificateUntrusted(NO_AUTHORITIES)
        name = tls_policy.server_name(place.name)
        if verify and (name is None or name.lower() not in wanted):  # another name is expected: ask for its certificate
            name = next((one for one in wanted if not one.startswith(".")), name)
        link.expire_in(connection.patience(Phase.STARTTLS))
        doubt = NO_AUTHORITIES if verifying is None else "" if verify else self.health.doubt(place, self._now())
        context = self._opportunistic if verifying is None or doubt else verifying
        link.start_tls(context, server_side=False, server_hostname=name)
        if not doubt:
            layer = link.tls
            names = certificate.presented(layer.getpeercert() if layer is not None else None)
            connection.verified = certificate.matched(names, wanted)
            if not connection.verified:
                doubt = certificate.mismatch(place.name, names, wanted or (place.name,))
                if verify:
                    raise CertificateUntrusted(doubt)
        connection.tls_doubt = doubt


class _Refused(Exception):
    """The session ended before mail could go: the phase, and the peer's words or the error."""

    def __init__(self, phase: Phase, said: Reply | FastrelayError) -> None:
        super().__init__(phase, said)
        self.phase = phase
        self.said = said
