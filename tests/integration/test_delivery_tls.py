"""Certificates as OpenSSL judges them, at each level of [delivery] tls: what is delivered, and what is told of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.errors import ConfigError
from fastrelay.mail.outcome import Deferred, Delivered, Phase
from fastrelay.runtime import tls
from tests.peers.certificates import Authority, Leaf
from tests.peers.road import Road, close_ledgers
from tests.peers.smtp_peer import SmtpPeer

GOOD, OTHER, EXPIRED, STRANGE = "good", "for another", "expired", "by a stranger"
DOUBTS = {
    GOOD: "",
    OTHER: "the certificate of mx0.example is for other.example, not for mx0.example",
    EXPIRED: "certificate not trusted: certificate has expired",
    STRANGE: "certificate not trusted: self-signed certificate in certificate chain",
}


@pytest.fixture(autouse=True)
def no_ledger_left() -> Iterator[None]:
    yield
    close_ledgers()


@pytest.fixture
def leaves(tmp_path: Path, authority: Authority) -> dict[str, Leaf]:
    stranger = Authority(tmp_path, "Somebody")
    return {
        GOOD: authority.issue("mx0.example"),
        OTHER: authority.issue("other.example"),
        EXPIRED: authority.issue("mx0.example", expired=True),
        STRANGE: stranger.issue("mx0.example"),
    }


@pytest.mark.parametrize("which", DOUBTS)
@pytest.mark.parametrize("level", ["opportunistic", "require", "verify"])
def test_a_certificate_of_each_kind(authority: Authority, leaves: dict[str, Leaf], level: str, which: str) -> None:
    leaf = leaves[which]
    peer = SmtpPeer(tls=tls.server_context(str(leaf.certificate), str(leaf.key)))
    road = Road(tls=level, tls_ca=str(authority.ca_file))
    carrier = road.carrier()
    try:
        (outcome,) = road.to(peer).deliver(carrier)
        if level == "verify" and which != GOOD:
            assert isinstance(outcome, Deferred) and outcome.phase is Phase.STARTTLS
            assert outcome.reply.enhanced == "4.7.5" and DOUBTS[which] in outcome.reply.text
            assert peer.messages == [] and len(peer.sessions) == 1
            return
        assert isinstance(outcome, Delivered)
        assert carrier.connection is not None and carrier.connection.tls_doubt == DOUBTS[which]
        assert carrier.connection.tls_version == "TLSv1.3" and len(peer.messages) == 1
        assert len(peer.sessions) == (2 if which in (EXPIRED, STRANGE) else 1)
    finally:
        carrier.close()
        road.pool.close_idle()
        peer.close()


@pytest.mark.parametrize("name", ["other.example", ".example", "domain"])
def test_names_of_the_operators(authority: Authority, leaves: dict[str, Leaf], name: str) -> None:
    leaf = authority.issue("example") if name == "domain" else leaves[OTHER]
    peer = SmtpPeer(tls=tls.server_context(str(leaf.certificate), str(leaf.key)))
    road = Road(tls="verify", tls_ca=str(authority.ca_file), tls_names=("host", name))
    carrier = road.carrier()
    try:
        (outcome,) = road.to(peer).deliver(carrier)
        assert isinstance(outcome, Delivered), outcome
    finally:
        carrier.close()
        road.pool.close_idle()
        peer.close()


def test_a_system_without_authorities_has_no_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert tls.verifying_contexts([""]) == {}
    (tmp_path / "0123abcd.0").write_text("")
    assert tls.verifying_contexts([""]).keys() == {""}
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "absent"))
    assert tls.verifying_contexts([""]) == {}


def test_a_file_without_authorities_is_told_at_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for file in (empty, tmp_path / "absent.pem"):
        with pytest.raises(ConfigError, match=f"authorities from {file}: .*PEM"):
            tls.verifying_contexts(["", str(file)])
