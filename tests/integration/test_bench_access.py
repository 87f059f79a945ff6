"""How a load session gets in: TLS of both kinds, AUTH PLAIN and LOGIN against aiosmtpd, and the servers that refuse."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink as Nowhere
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from fastrelay.errors import PeerError, TlsFailed
from fastrelay.load.access import OPEN, Access, Security
from fastrelay.load.dialogue import Dialogue, Refused
from fastrelay.load.sink import Sink
from fastrelay.load.tally import Tally
from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.tls import server_context
from fastrelay.smtp.sasl.client import Secret
from tests.peers.certificates import Authority
from tests.peers.smtp_peer import SmtpPeer, says

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

ANNA = Secret("anna", "p:ss")
STARTTLS = Access(Security.STARTTLS)


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    leaf = authority.issue("localhost")
    return server_context(str(leaf.certificate), str(leaf.key))


def meet(port: int, access: Access) -> Dialogue:
    return Dialogue("127.0.0.1", port, hello="me.example", access=access, patience=20.0)


def test_starttls_and_a_message_behind_it(context: ssl.SSLContext) -> None:
    peer = SmtpPeer(tls=context)
    try:
        dialogue = meet(peer.port, STARTTLS)
        assert dialogue.transact("a@x", ["b@y"], [b"hi\r\n", b".\r\n"]).taken and dialogue.quit()
        assert peer.sessions[0].encrypted and [m[2] for m in peer.messages] == [b"hi\r\n"]
        assert [word.split()[0] for word in peer.commands(0)][:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    finally:
        peer.close()


def test_no_plain_text_where_starttls_was_asked_for(context: ssl.SSLContext) -> None:
    bare, unwilling = SmtpPeer(), SmtpPeer({"starttls": says(b"454 4.7.0 not now\r\n")}, tls=context)
    broken = SmtpPeer({"starttls": says(b"220 go\r\n")}, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    try:
        with pytest.raises(PeerError, match="STARTTLS is not offered"):
            meet(bare.port, STARTTLS)
        with pytest.raises(Refused, match="454"):
            meet(unwilling.port, STARTTLS)
        with pytest.raises(TlsFailed):  # a server without a certificate
            meet(broken.port, STARTTLS)
        assert not any("MAIL" in word for peer in (bare, unwilling, broken) for word in peer.commands(0))
    finally:
        for peer in (bare, unwilling, broken):
            peer.close()


@pytest.mark.parametrize("implicit", [True, False])
def test_our_own_sink_over_tls(context: ssl.SSLContext, implicit: bool) -> None:
    sink = Sink(tally := Tally(), tls=context, implicit=implicit)
    sock = socket.create_server(("127.0.0.1", 0))
    listener = Listener(sock, sink.serve, spawn=tasks.spawn)
    listener.start()
    try:
        dialogue = meet(sock.getsockname()[1], Access(Security.IMPLICIT if implicit else Security.STARTTLS))
        for _ in range(2):
            assert dialogue.transact("a@x", ["b@y"], [b"x" * 300_000 + b"\r\n", b".\r\n"]).taken
        assert dialogue.quit()
        assert (tally.encrypted, tally.messages, tally.octets) == (1, 2, 600_004)
    finally:
        listener.close()


class Guarded(Controller):
    """aiosmtpd that takes mail only from ANNA, by the mechanisms that are not left out."""

    def __init__(self, without: list[str]) -> None:
        self._without = without
        super().__init__(Nowhere(), hostname="127.0.0.1", port=0)

    def factory(self) -> SMTP:
        return SMTP(
            self.handler, authenticator=self._allowed, auth_required=True, auth_require_tls=False,
            auth_exclude_mechanism=self._without,
        )  # fmt: skip

    def _allowed(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
        assert isinstance(given, LoginPassword)
        right = (given.login, given.password) == (ANNA.user.encode(), ANNA.password())
        return AuthResult(success=right, handled=False)

    def _trigger_server(self) -> None:
        """The port is only known now."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture(params=[["PLAIN"], ["LOGIN"]], ids=["login", "plain"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    server = Guarded(request.param)
    server.start()
    yield server
    server.stop()


def test_who_logs_in_may_send(guarded: Guarded) -> None:
    dialogue = meet(guarded.port, Access(credentials=ANNA))
    assert dialogue.transact("a@x", ["b@y"], [b"hi\r\n", b".\r\n"]).taken and dialogue.quit()


def test_a_wrong_password_ends_the_session(guarded: Guarded) -> None:
    with pytest.raises(PeerError, match="AUTH was answered with 535"):
        meet(guarded.port, Access(credentials=Secret("anna", "guess")))


def test_nobody_may_not_send(guarded: Guarded) -> None:
    dialogue = meet(guarded.port, OPEN)
    assert not dialogue.transact("a@x", ["b@y"], [b"hi\r\n", b".\r\n"]).taken
    dialogue.close()
