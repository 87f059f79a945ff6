"""The client's side of a session for load: connect, EHLO, TLS, AUTH, transactions, QUIT; one verdict per recipient.

A thin driver of the client machine of smtp/, blunter than delivery: one host, no judgement, one deadline for
everything. A transaction costs two writes and two reads where the server offers PIPELINING.

Errors: PeerError and its kinds when the connection ends, stays silent for `patience` seconds, answers out of protocol
or does not offer the TLS or AUTH that was asked for; Refused when the server does not want the session.
"""

import ssl
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from fastrelay.errors import PeerClosed, PeerError
from fastrelay.load.access import OPEN, Access, Security
from fastrelay.mail.reply import Reply
from fastrelay.runtime import clock
from fastrelay.runtime.stream import connect
from fastrelay.runtime.tls import client_context
from fastrelay.smtp.client import QUIT, Client, State
from fastrelay.smtp.sasl import MECHANISMS
from fastrelay.smtp.sasl.client import Secret, begin

PATIENCE = 600.0  # seconds: the longest wait of RFC 5321 4.5.3.2, that for the reply to the final dot


class Refused(PeerError):
    """Greeting or EHLO were not answered 2xx, or the session was ended by a 421; `reply` is what the server said."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Sent(NamedTuple):
    """What became of one transaction: the reply that decided for each recipient, in order.

    waited: seconds from the last octet of the message to the reply; 0.0 when it was not sent.
    """

    replies: list[Reply]
    waited: float

    @property
    def taken(self) -> bool:
        """The message was accepted for at least one recipient."""
        replies = self.replies
        return replies[0].code < 300 if len(replies) == 1 else any(reply.code < 300 for reply in replies)


class Dialogue:
    """One session with a server, ready for messages. `connected`: monotonic instant of the 220."""

    __slots__ = ("_client", "_patience", "_stream", "connected")

    def __init__(
        self,
        address: str,
        port: int,
        *,
        hello: str,
        pipelining: bool = True,
        access: Access = OPEN,
        context: ssl.SSLContext | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """context: for TLS; many sessions share one. None makes one where `access` needs it."""
        self._client = client = Client(hello)
        self._patience = patience
        self._stream = connect(address, port, seconds=min(patience, 30.0))
        try:
            self._stream.expire_in(patience)
            if access.security is Security.IMPLICIT:
                self._secure(context)
            octets = b""
            while client.state is State.BANNER:
                octets = client.receive(self._read())
            self.connected = clock.now()
            self._follow(octets)
            if access is not OPEN:
                self._get_in(access, context)
        except BaseException:
            self._stream.close()
            raise
        if not pipelining:
            client.offer = msgspec.structs.replace(client.offer, pipelining=False)

    @property
    def open(self) -> bool:
        """Another transaction may follow."""
        return self._client.state is State.READY

    def transact(
        self,
        sender: str,
        recipients: Sequence[str],
        wire: Sequence[bytes | memoryview],
        *,
        size: int = 0,
        eightbit: bool = False,
    ) -> Sent:
        """One message. wire: its content as it goes over the wire, dots doubled and the end of data included."""
        client = self._client
        self._stream.expire_in(self._patience)
        self._follow(client.begin(sender, recipients, size=size, eightbit=eightbit))
        waited = 0.0
        if client.state is State.CONTENT:
            self._stream.write_parts(wire)
            ended = clock.now()
            client.sent()
            self._follow(b"")
            waited = clock.now() - ended
        return Sent([verdict[1] for verdict in client.verdicts if verdict is not None], waited)

    def quit(self) -> bool:
        """Say goodbye, wait for the answer, close. True when the server answered: one that is gone is no error."""
        try:
            if not self.open:
                return False
            self._stream.write(QUIT)
            return self._stream.read_waiting_first() != b""
        except PeerError:
            return False  # the session is over either way
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self._stream.close()

    def _get_in(self, access: Access, context: ssl.SSLContext | None) -> None:
        """STARTTLS and AUTH, as far as `access` asks for them."""
        client = self._client
        if access.security is Security.STARTTLS:
            if not client.offer.starttls:
                raise PeerError("STARTTLS is not offered")
            self._follow(client.start_tls())
            if client.state is not State.HANDSHAKE:
                raise Refused(client.refusal[1]) if client.refusal else PeerClosed("the session is over")
            self._secure(context)
            self._follow(client.secured())
        if access.credentials is not None:
            self._log_in(access.credentials)

    def _log_in(self, secret: Secret) -> None:
        """By the strongest mechanism that both sides know."""
        client = self._client
        exchange = begin(secret, client.offer.auth)
        if exchange is None:
            offered = " ".join(client.offer.auth) or "no AUTH at all"
            raise PeerError(f"AUTH {', '.join(MECHANISMS)} are not offered, but {offered}")
        try:
            self._follow(client.authenticate(exchange))
            while client.state is State.CHALLENGE:
                self._follow(client.answer_challenge())
        except Refused as refused:  # who we are is no question of the message
            raise PeerError(f"AUTH was answered with {refused.reply}") from None

    def _secure(self, context: ssl.SSLContext | None) -> None:
        self._stream.start_tls(context or client_context(verify=False), server_side=False)

    def _follow(self, octets: bytes) -> None:
        """Write and read as the machine says, until it is the caller's move."""
        client, stream = self._client, self._stream
        while True:
            if octets:
                stream.write(octets)
            if not client.awaiting:
                break
            octets = client.receive(self._read())
        if client.state is State.CLOSED and not client.verdicts:
            raise Refused(client.refusal[1]) if client.refusal else PeerClosed("the session is over")

    def _read(self) -> bytes:
        octets = self._stream.read_waiting_first()
        if not octets:
            raise PeerClosed("the server closed the connection where a reply was due")
        return octets
