"""Certificates of a listener: which one is shown to whom, what is told of bad files, and replacing them meanwhile."""

import contextlib
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fastrelay.errors import ConfigError
from fastrelay.runtime.certificates import LOOK, Certificates
from tests.peers.certificates import Authority, Leaf


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    yield Authority(tmp_path_factory.mktemp("certificates"))


def files(*leaves: Leaf) -> list[tuple[str, str]]:
    return [(str(leaf.certificate), str(leaf.key)) for leaf in leaves]


def shaken(context: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> ssl.SSLObject:
    """The client's end after a handshake in memory."""
    return both(context, client, name)[0]


def both(
    context: ssl.SSLContext, client: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends, the client's first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    for _ in range(4):
        for side in (ours, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ours, server


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.check_hostname = False
    return context


def shown_to(certificates: Certificates, authority: Authority, name: str | None) -> str:
    """The first name of the certificate a client sees."""
    peer = shaken(certificates.context, trusting(authority), name).getpeercert()
    assert peer is not None
    return str(peer["subjectAltName"][0][1])


def test_the_name_asked_for_chooses(here: Authority) -> None:
    certificates = Certificates(files(here.issue("relay.example"), here.issue("*.b.example", "b.example")))
    asked = {
        None: "relay.example",
        "relay.example": "relay.example",
        "RELAY.example": "relay.example",
        "b.example": "*.b.example",
        "mx.b.example": "*.b.example",
        "a.mx.b.example": "relay.example",  # a wildcard stands for one label (RFC 9525 6.3)
        "strange.example": "relay.example",
    }
    assert {name: shown_to(certificates, here, name) for name in asked} == asked


def test_an_exact_name_goes_before_a_wildcard_and_the_first_before_the_second(here: Authority) -> None:
    wild, exact, again = (
        here.issue("*.c.example"),
        here.issue("mx.c.example"),
        here.issue("also.c.example", "mx.c.example"),
    )
    certificates = Certificates(files(wild, exact, again))
    assert shown_to(certificates, here, "mx.c.example") == "mx.c.example"
    assert shown_to(certificates, here, "other.c.example") == "*.c.example"


def test_what_a_handshake_agrees_on(here: Authority) -> None:
    certificates = Certificates(files(here.issue("relay.example")))
    new = shaken(certificates.context, trusting(here))
    assert new.version() == "TLSv1.3" and new.compression() is None
    older = trusting(here)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    two = shaken(certificates.context, older)
    cipher = two.cipher()
    assert two.version() == "TLSv1.2" and cipher is not None and cipher[0].startswith("ECDHE-")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(here: Authority) -> None:
    old = trusting(here)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
        shaken(Certificates(files(here.issue("relay.example"))).context, old)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["relay.example", "b.example"])
def test_a_client_that_comes_again_resumes_with_its_certificate(
    here: Authority, name: str, version: ssl.TLSVersion
) -> None:
    leaves = files(here.issue("relay.example"), here.issue("b.example"))
    certificates = Certificates(leaves, str(here.ca_file))
    client, app = trusting(here), here.issue("app.example")
    client.maximum_version = version
    client.load_cert_chain(app.certificate, app.key)
    session: ssl.SSLSession | None = None
    for again in (False, True):
        ours, server = both(certificates.context, client, name, session)
        server.write(b"220 ")
        assert ours.read(10) == b"220 "  # in TLS 1.3 the ticket comes with what is read
        session = ours.session
        shown = server.getpeercert()
        assert (
            ours.session_reused is again and shown is not None and shown["subjectAltName"] == (("DNS", "app.example"),)
        )


# -- what does not fit ------------------------------------------------------------------------------------------------


def complaint(*given: tuple[str, str], client_ca: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        Certificates(given, client_ca, where="listener 127.0.0.1:25")
    text = str(caught.value)
    assert "\n" not in text and text.startswith("listener 127.0.0.1:25: ")
    return text.removeprefix("listener 127.0.0.1:25: ")


def test_files_that_are_not_there(here: Authority) -> None:
    ((certificate, key),) = files(here.issue("relay.example"))
    assert complaint(("/none/x.pem", key)) == "certificate /none/x.pem: no such file or directory"
    assert complaint((certificate, "/none/x.key")) == "key /none/x.key: no such file or directory"
    assert complaint((certificate, key), client_ca="/none/ca") == "client_ca /none/ca: no such file or directory"
    folder = os.path.dirname(certificate)
    assert complaint((certificate, folder)) == f"key {folder}: is a directory"


def test_files_that_hold_something_else(here: Authority, tmp_path: Path) -> None:
    ((certificate, key),) = files(here.issue("relay.example"))
    junk = tmp_path / "junk"
    junk.write_text("hello\n")
    assert complaint((str(junk), key)) == f"certificate {junk}: no PEM certificate in it"
    assert complaint((certificate, str(junk))).startswith(f"certificate {certificate} and key {junk}: not both PEM: ")
    assert complaint((certificate, "")).startswith(f"certificate {certificate} and key {certificate}: not both PEM: ")
    assert complaint((certificate, key), client_ca=str(junk)).startswith(f"client_ca {junk}: no PEM certificates: ")


def test_a_key_of_another_certificate(here: Authority) -> None:
    (one, other) = files(here.issue("relay.example"), here.issue("other.example"))
    assert complaint((one[0], other[1])) == f"key {other[1]} does not belong to certificate {one[0]}"


def test_an_encrypted_key_asks_nobody(here: Authority, tmp_path: Path) -> None:
    ((certificate, key),) = files(here.issue("relay.example"))
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    assert complaint((certificate, str(locked))).startswith(f"key {locked}: is encrypted")


def test_one_file_may_hold_both(here: Authority, tmp_path: Path) -> None:
    leaf = here.issue("relay.example")
    both = tmp_path / "both.pem"
    both.write_bytes(leaf.key.read_bytes() + leaf.certificate.read_bytes())
    assert shown_to(Certificates([(str(both), "")]), here, None) == "relay.example"


def test_an_expired_one_works_and_is_told_of_once_a_day(here: Authority) -> None:
    leaf = here.issue("old.example")  # 31 days, of which 30 are left
    told: list[str] = []
    now = time.time()
    wall = [now]
    certificates = Certificates(
        files(leaf), where="x", say=lambda *words: told.append(" ".join(words)), wall=lambda: wall[0]
    )
    days: dict[int, list[str]] = {}
    for day in (0, 26, 27, 27, 29, 31, 31, 32):
        wall[0] = now + day * 86400
        for _ in range(3):
            certificates.look(certificates._next_look)
        days.setdefault(day, []).extend(told)
        told.clear()
    assert days[0] == days[26] == []
    for day, word in ((27, "expires"), (29, "expires"), (31, "expired"), (32, "expired")):
        (line,) = days[day]
        assert line.startswith(f"warning x: certificate {leaf.certificate} {word} on 20"), day


# -- replacing --------------------------------------------------------------------------------------------------------


class Renewed:
    """A listener with two certificates whose files a test replaces."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self.authority = authority
        self.folder = folder
        self.lines: list[str] = []
        self.now = 1000.0
        self.put("a", authority.issue("first.example"))
        self.put("b", authority.issue("second.example"))
        pairs = [(str(folder / f"{name}.pem"), str(folder / f"{name}.key")) for name in "ab"]
        self.certificates = Certificates(
            pairs, say=lambda level, text: self.lines.append(f"{level} {text}"), where="listener x"
        )

    def put(self, name: str, leaf: Leaf, *, key: bool = True) -> None:
        for kind, source in (("pem", leaf.certificate), ("key", leaf.key))[: 1 + key]:
            new = self.folder / "new"
            shutil.copy(source, new)
            new.rename(self.folder / f"{name}.{kind}")

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += LOOK
            self.certificates.look(self.now)

    def shown(self, name: str) -> str:
        return shown_to(self.certificates, self.authority, name)


@pytest.fixture
def renewed(here: Authority, tmp_path: Path) -> Renewed:
    return Renewed(here, tmp_path)


def test_a_renewed_certificate_is_shown_to_the_next_client(renewed: Renewed, here: Authority) -> None:
    before = renewed.certificates.context
    renewed.look(3)
    assert renewed.certificates.context is before and renewed.lines == []
    renewed.put("a", here.issue("third.example"))
    renewed.look()
    assert renewed.certificates.context is before, "it may still be in the writing"
    renewed.look()
    assert renewed.shown("third.example") == "third.example" and renewed.shown("second.example") == "second.example"
    (line,) = renewed.lines
    assert line.startswith(f"info listener x: certificate {renewed.folder / 'a.pem'} loaded anew, valid until 20")
    peer = shaken(before, trusting(here)).getpeercert()
    assert peer is not None and peer["subjectAltName"] == (("DNS", "first.example"),), "a handshake under way"


def test_looks_are_rare(renewed: Renewed, here: Authority) -> None:
    renewed.look()
    renewed.put("a", here.issue("third.example"))
    for step in range(1, 10):
        renewed.certificates.look(renewed.now + step * LOOK / 10)
    assert renewed.shown("first.example") == "first.example" and renewed.lines == []
    renewed.look(2)
    assert renewed.shown("first.example") == "third.example"


def test_a_broken_pair_leaves_the_old_one_in_force_and_is_told_of_once(renewed: Renewed, here: Authority) -> None:
    leaf = here.issue("third.example")
    renewed.put("b", leaf, key=False)
    renewed.look(5)
    assert renewed.shown("second.example") == "second.example"
    pem, key = (renewed.folder / f"b.{kind}" for kind in ("pem", "key"))
    told = f"error listener x: key {key} does not belong to certificate {pem}; the one loaded before stays in force"
    assert renewed.lines == [told]
    renewed.put("b", leaf)
    renewed.look(2)
    assert renewed.shown("third.example") == "third.example" and len(renewed.lines) == 2


def test_a_file_that_is_gone_and_comes_back(renewed: Renewed) -> None:
    (renewed.folder / "a.key").rename(renewed.folder / "away")
    renewed.look(4)
    assert renewed.shown("first.example") == "first.example" and len(renewed.lines) == 1
    assert "a.key: no such file or directory; the one loaded before" in renewed.lines[0]
    (renewed.folder / "away").rename(renewed.folder / "a.key")
    renewed.look(4)
    assert renewed.shown("first.example") == "first.example" and "loaded anew" in renewed.lines[1]


def test_a_renewed_one_that_is_expired_is_told_of(renewed: Renewed, here: Authority) -> None:
    renewed.put("a", here.issue("late.example", expired=True))
    renewed.look(3)
    assert [line.split()[0] for line in renewed.lines] == ["info", "warning"]
