"""A session's TLS handshake: its deadline, how it fails and what is told of that, and whose certificate may relay."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from fastrelay.errors import CertificateUntrusted, PeerClosed, PeerTimeout, TlsFailed
from fastrelay.reception.desk import Desk
from fastrelay.reception.owners import CertificateOwners
from fastrelay.reception.session import Session
from fastrelay.runtime.x509 import Certificate
from tests.peers.certificates import Authority, Leaf
from tests.peers.front_desk import FakeIntake, FakeLog, ScriptStream, desk_of

EHLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"
BODY = b"Subject: x\r\n\r\nHello\r\n.\r\n"
FAILURES = {
    TlsFailed("TLS handshake failed: no cipher in common"): "TLS handshake failed: no cipher in common",
    CertificateUntrusted("certificate not trusted: expired"): "certificate not trusted: expired",
    PeerTimeout("deadline passed"): "TLS handshake failed: not done within 30 s",
}


class Visit:
    """A session with TLS, played to its end. handshake: how it ends, if not well; shown: the client's certificate."""

    def __init__(self, *chunks: bytes, handshake: Any = None, shown: bytes | None = None, **listener: Any) -> None:
        self.intake, self.log = FakeIntake(), FakeLog()
        self.desk: Desk = desk_of(self.intake, self.log, **{"tls": "implicit", **listener})
        self.stream = ScriptStream(chunks)
        self.stream.handshake, self.stream.shown = handshake, shown
        self.session = Session(self.desk, self.stream, "s-1")

    def run(self) -> "Visit":
        self.session.run()
        assert self.stream.closed
        return self

    @property
    def handshakes(self) -> tuple[int, int]:
        return self.desk.counts.tls_ok, self.desk.counts.tls_failed


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
@pytest.mark.parametrize("way", ["implicit", "starttls"])
def test_a_failed_handshake_is_one_line_and_no_reply(failure: Exception, way: str) -> None:
    chunks = (EHLO,) if way == "implicit" else (EHLO, b"STARTTLS\r\n")
    one = Visit(*chunks, handshake=failure, tls=way).run()
    (event,) = one.log.events
    assert (event["type"], event["reason"]) == ("Rejection", FAILURES[failure])
    assert event["peer_address"]["addr"] == "127.0.0.1" and one.handshakes == (0, 1)
    assert one.stream.written == b"" or one.stream.written.endswith(b"220 2.0.0 Ready to start TLS\r\n")


def test_who_leaves_in_the_handshake_is_no_event(tmp_path: Path) -> None:
    one = Visit(EHLO, handshake=PeerClosed("reset")).run()
    assert one.log.events == [] and one.stream.written == b""


def test_who_says_nothing_at_all_has_failed_at_nothing() -> None:
    one = Visit().run()
    assert one.log.events == [] and one.handshakes == (0, 0)


def test_the_handshake_has_a_time_of_its_own_shorter_under_stress() -> None:
    one = Visit(EHLO).run()
    assert one.stream.deadlines[0] == ("in", 30.0) and one.handshakes == (1, 0)
    strained = Visit(EHLO)
    strained.desk.temper = strained.desk.policy.strained
    assert strained.run().stream.deadlines[0] == ("in", 10.0)


def test_a_house_that_closes_does_not_wait_for_it() -> None:
    """`leave` and `cut` end the wait; that is no failure of the client."""
    one = Visit(EHLO)

    class Closing(ScriptStream):
        def start_tls(self, context: object, /, *, server_side: bool) -> None:
            one.session.leave()
            assert self.perished == 1
            one.session.cut()
            assert self.perished == 2
            raise PeerTimeout("deadline passed")

    one.session._stream = one.stream = Closing([EHLO])
    one.run()
    assert one.handshakes == (0, 0) and one.log.events == [] and one.stream.written == b""


# -- whose certificate ------------------------------------------------------------------------------------------------


def der(leaf: Leaf) -> bytes:
    (first, *_) = x509.load_pem_x509_certificates(leaf.certificate.read_bytes())
    return first.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("wanted", "relays"),
    [(("app.example",), True), (("*",), True), (("other.example",), False)],
)
@pytest.mark.parametrize("way", ["implicit", "starttls"])
def test_a_certificate_is_a_right_to_relay(
    authority: Authority, wanted: tuple[str, ...], relays: bool, way: str
) -> None:
    leaf = authority.issue("app.example")
    before = () if way == "implicit" else (EHLO, b"STARTTLS\r\n")
    keys = {"relay_from": (), "client_ca": "ca", "relay_certificates": wanted}
    one = Visit(*before, EHLO, ENVELOPE, BODY, shown=der(leaf), tls=way, **keys).run()
    assert bool(one.intake.messages) is relays
    event = one.log.of("Reception" if relays else "Rejection")[0]
    assert event["tls_client_name"] == "app.example"
    assert event["tls_client_sha256"] == x509.load_der_x509_certificate(der(leaf)).fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize("shown", [None, b"", b"\x30\x03nonsense"])
def test_without_one_that_can_be_read_the_client_is_a_stranger(shown: bytes | None) -> None:
    keys = {"relay_from": (), "client_ca": "ca", "relay_certificates": ("*",)}
    one = Visit(EHLO, ENVELOPE, shown=shown, **keys).run()
    assert not one.intake.messages and "tls_client_name" not in one.log.of("Rejection")[0]


def test_names_of_every_kind_and_fingerprints_in_every_spelling() -> None:
    digits = "0f" * 32
    one = Certificate(("mx.example",), ("anna@example.com",), "Anna", 0.0, 0.0, digits)
    colons = ":".join(["0F"] * 32)
    for wanted in ("MX.example", "Anna@Example.com", digits, colons, f"sha256:{colons}", f"SHA256:{digits}", "*"):
        assert CertificateOwners([wanted]).may_relay(one), wanted
    for wanted in ("Anna", "example", "", "1" * 64):  # the common name counts only where there is no other
        assert not CertificateOwners([wanted]).may_relay(one), wanted
    assert CertificateOwners(["anna"]).may_relay(Certificate((), (), "Anna", 0.0, 0.0, digits))
    nameless = Certificate((), (), "", 0.0, 0.0, digits)
    assert not CertificateOwners([]).may_relay(one) and not CertificateOwners([""]).may_relay(nameless)
