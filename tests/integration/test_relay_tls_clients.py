"""TLS as clients of every kind meet it: openssl, swaks, curl and Python's smtplib at one running relay.

One house for all tests, with a listener for each way in; its mail goes to a port where nobody listens. The certificate
of one listener is replaced as soon as the house stands, and the last test looks for it.
"""

import contextlib
import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.certificates import Authority, Leaf
from tests.peers.relay_process import RelayProcess

MESSAGE = b"Subject: hello\r\n\r\nHello\r\n"


POSTFIX = """\
compatibility_level = 3.6
mail_owner = nobody
default_privs = daemon
setgid_group = mail
"""


class Clients:
    """The relay, the ports of its listeners by name, and what clients trust and show."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.relay_leaf = self.authority.issue("relay.test")
        self.renewed_leaf = self.authority.issue("renewed.test")
        self.app, self.stranger = self.authority.issue("app.test"), self.authority.issue("stranger.test")
        self.other = Authority(_folder(folder / "other")).issue("app.test")
        first, second = self.authority.issue("first.test"), self.authority.issue("*.second.test")
        self.changing = Leaf(folder / "changing.pem", folder / "changing.key")
        self.renew(first)
        starttls = [*_tls("starttls", self.relay_leaf), "relay_from = ['192.0.2.0/24']"]
        starttls += [f"client_ca = '{self.authority.ca_file}'", "relay_certificates = ['app.test']"]
        starttls += ["[[listener.certificates]]", f"certificate = '{second.certificate}'", f"key = '{second.key}'"]
        listeners = {
            "required": [*_tls("required", self.relay_leaf), "xclient_from = ['127.0.0.1']"],
            "implicit": _tls("implicit", self.relay_leaf),
            "changing": _tls("implicit", self.changing),
            "proxied": [
                *_tls("implicit", self.relay_leaf), "proxy_protocol = true", "proxy_from = ['127.0.0.1']",
                "relay_from = ['203.0.113.0/24']",
            ],
        }  # fmt: skip
        self.postfix = _folder(folder / "postfix")
        (self.postfix / "main.cf").write_text(POSTFIX)
        self.ports = {name: debian.free_port() for name in listeners}
        tables = [
            line
            for name, keys in listeners.items()
            for line in ("[[listener]]", f"address = '127.0.0.1:{self.ports[name]}'", *keys)
        ]
        self.relay = RelayProcess(
            folder, next_hop=f"127.0.0.1:{debian.free_port()}", listener=starttls, tables="\n".join(tables)
        )
        self.ports["starttls"] = self.relay.port

    def renew(self, leaf: Leaf) -> None:
        """Put it where the listener "changing" has its files, as certbot does."""
        for source, target in ((leaf.certificate, self.changing.certificate), (leaf.key, self.changing.key)):
            shutil.copy(source, f"{target}.new")
            Path(f"{target}.new").rename(target)

    def context(self, shown: Leaf | None = None) -> ssl.SSLContext:
        """A client's: it checks chain and name."""
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context

    def receptions(self, sender: str) -> list[dict[str, Any]]:
        return [event for event in self.relay.lines("Reception") if event["sender"] == sender]

    def reception(self, sender: str) -> dict[str, Any]:
        """The one of the message from `sender`, once it is in the log."""
        debian.wait_until(lambda: bool(self.receptions(sender)), 10, f"the event of {sender}")
        (event,) = self.receptions(sender)
        return event

    def refused(self, words: str) -> dict[str, Any]:
        """The first Rejection whose reason has these words, once it is in the log."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(event for event in self.relay.lines("Rejection") if words in event.get("reason", ""))
            return bool(found)

        debian.wait_until(look, 10, f"an event about {words}")
        return found[0]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _tls(way: str, leaf: Leaf) -> list[str]:
    return [f"tls = '{way}'", f"certificate = '{leaf.certificate}'", f"key = '{leaf.key}'"]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    one = Clients(tmp_path_factory.mktemp("tls_clients"))
    try:
        one.relay.start()
        one.renew(one.renewed_leaf)
        yield one
    finally:
        one.relay.kill()


def spoken(client: smtplib.SMTP, sender: str) -> None:
    client.ehlo("client.test")
    client.sendmail(sender, ["b@there.test"], MESSAGE)


# -- python -----------------------------------------------------------------------------------------------------------


def test_smtplib_with_starttls_and_from_the_first_octet(clients: Clients) -> None:
    with smtplib.SMTP("127.0.0.1", clients.ports["required"], timeout=20) as client:
        client._host = "relay.test"  # type: ignore[attr-defined]  # the name that is asked for and verified
        with pytest.raises(smtplib.SMTPSenderRefused, match="530"):
            spoken(client, "plain@py.test")
        client.starttls(context=clients.context())
        spoken(client, "starttls@py.test")
    with smtplib.SMTP_SSL("localhost", clients.ports["implicit"], timeout=20, context=unnamed(clients)) as client:
        assert not client.has_extn("starttls")
        spoken(client, "implicit@py.test")
    for sender in ("starttls@py.test", "implicit@py.test"):
        event = clients.reception(sender)
        assert event["tls_protocol_version"] == "TLSv1.3" and event["tls_cipher"].startswith("TLS_")
    assert not clients.receptions("plain@py.test")


def unnamed(clients: Clients) -> ssl.SSLContext:
    context = clients.context()
    context.check_hostname = False
    return context


@pytest.mark.parametrize(
    ("shown", "relays"), [("app", True), ("stranger", False), ("", False)], ids=["ours", "of_another_name", "none"]
)
def test_a_client_certificate_may_relay(clients: Clients, shown: str, relays: bool) -> None:
    leaf = getattr(clients, shown) if shown else None
    sender = f"{shown or 'nobody'}@certificate.test"
    with smtplib.SMTP("127.0.0.1", clients.ports["starttls"], timeout=20) as client:
        client._host = "relay.test"  # type: ignore[attr-defined]
        client.starttls(context=clients.context(leaf))
        if relays:
            spoken(client, sender)
            event = clients.reception(sender)
            assert event["tls_client_name"] == "app.test" and len(event["tls_client_sha256"]) == 64
        else:
            with pytest.raises(smtplib.SMTPRecipientsRefused, match="Relaying denied"):
                spoken(client, sender)


def test_a_certificate_of_another_authority_ends_the_handshake(clients: Clients) -> None:
    with smtplib.SMTP("127.0.0.1", clients.ports["starttls"], timeout=20) as client:
        client._host = "relay.test"  # type: ignore[attr-defined]
        with pytest.raises((ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError)):
            client.starttls(context=clients.context(clients.other))  # TLS 1.3: the client may hear of it later
            client.noop()
    assert "certificate not trusted: " in clients.refused("certificate not trusted")["reason"]


def heard(sock: socket.socket) -> bytes:
    """Everything up to the end, which is a reset where what was sent is not read."""
    octets = b""
    with contextlib.suppress(ConnectionError):
        while came := sock.recv(1000):
            octets += came
    return octets


def test_tls_behind_the_proxy_protocol(clients: Clients) -> None:
    sock = socket.create_connection(("127.0.0.1", clients.ports["proxied"]), timeout=20)
    sock.sendall(b"PROXY TCP4 203.0.113.9 198.51.100.1 40001 25\r\n")
    with smtplib.SMTP(timeout=20) as client:
        client.sock = clients.context().wrap_socket(sock, server_hostname="relay.test")
        assert client.getreply()[0] == 220
        spoken(client, "proxied@py.test")
    assert clients.reception("proxied@py.test")["peer_address"]["addr"] == "203.0.113.9"
    with socket.create_connection(("127.0.0.1", clients.ports["proxied"]), timeout=20) as direct:
        direct.sendall(b"EHLO client.test\r\n")
        assert heard(direct) == b""
    clients.refused("PROXY protocol: no PROXY header")


def test_xclient_inside_tls(clients: Clients) -> None:
    with smtplib.SMTP("127.0.0.1", clients.ports["required"], timeout=20) as client:
        client._host = "relay.test"  # type: ignore[attr-defined]
        client.starttls(context=clients.context())
        client.ehlo("proxy.test")
        assert client.has_extn("xclient")
        assert client.docmd("XCLIENT", "ADDR=127.0.0.77 NAME=app.client.test")[0] == 220
        spoken(client, "xclient@py.test")
    assert clients.reception("xclient@py.test")["peer_address"] == {"name": "client.test", "addr": "127.0.0.77"}


def test_a_failed_handshake_is_counted_and_told_plainly(clients: Clients) -> None:
    with socket.create_connection(("127.0.0.1", clients.ports["implicit"]), timeout=20) as plain:
        plain.sendall(b"EHLO client.test\r\n")
        assert b"220" not in heard(plain)
    event = clients.refused("TLS handshake failed: what came is not TLS")
    assert event["peer_address"]["addr"] == "127.0.0.1"
    debian.wait_until(lambda: 'result="failed"} ' in clients.relay.page("/metrics"), 10, "the failure to be counted")


# -- openssl ----------------------------------------------------------------------------------------------------------


def openssl(clients: Clients, port: str, *words: str) -> str:
    command = [debian.need("openssl"), "s_client", "-connect", f"127.0.0.1:{clients.ports[port]}"]
    command += ["-CAfile", clients.authority.ca_file, *words]
    done = debian.run([*command, "-ign_eof"], stdin=b"QUIT\r\n", seconds=20)
    return (done.stdout + done.stderr).decode()


def test_openssl_sees_the_certificate_it_asks_for(clients: Clients) -> None:
    said = openssl(clients, "starttls", "-starttls", "smtp", "-servername", "mx.second.test")
    assert "CN = *.second.test" in said and "Verify return code: 0 (ok)" in said and "221 2.0.0 Bye" in said
    assert "unexpected eof" not in said
    said = openssl(clients, "starttls", "-starttls", "smtp", "-noservername", "-tls1_2", "-brief")
    assert "Peer certificate: CN = relay.test" in said and "Protocol version: TLSv1.2" in said
    assert "Secure Renegotiation IS" in openssl(clients, "implicit", "-tls1_2")


def test_openssl_resumes_a_session_and_may_not_renegotiate(clients: Clients, tmp_path: Path) -> None:
    ticket = tmp_path / "session"
    assert "New, " in openssl(clients, "implicit", "-tls1_2", "-sess_out", str(ticket))
    resumed = [openssl(clients, "implicit", "-tls1_2", "-sess_in", str(ticket)) for _ in range(2)]
    assert all("221 2.0.0 Bye" in said for said in resumed)  # by the same worker resumed, by the other begun anew
    command = [debian.need("openssl"), "s_client", "-connect", f"127.0.0.1:{clients.ports['implicit']}", "-tls1_2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([str(word) for word in command], **pipes) as client:
        assert client.stdout is not None
        while not client.stdout.readline().startswith(b"220 "):  # only then is a handshake all that is under way
            assert client.poll() is None
        _, said = client.communicate(b"R\n", timeout=20)
    assert b"no renegotiation" in said


# -- swaks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("port", "word"), [("required", "--tls"), ("implicit", "--tls-on-connect")])
def test_swaks(clients: Clients, port: str, word: str) -> None:
    debian.need("Net/SSLeay.pm", "libnet-ssleay-perl")
    sender = f"{port}@swaks.test"
    command = [debian.need("swaks"), "--server", "127.0.0.1", "--port", str(clients.ports[port]), word]
    command += ["--tls-verify", "--tls-ca-path", clients.authority.ca_file, "--helo", "client.test"]
    done = debian.run([*command, "--tls-sni", "relay.test", "--from", sender, "--to", "b@there.test"], seconds=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert clients.reception(sender)["tls_protocol_version"] == "TLSv1.3"


@pytest.mark.parametrize("version", ["1", "2"])
def test_swaks_as_a_proxy(clients: Clients, version: str) -> None:
    sender = f"proxy{version}@swaks.test"
    command = [
        debian.need("swaks"),
        "--server",
        "127.0.0.1",
        "--port",
        str(clients.ports["proxied"]),
        "--tls-on-connect",
    ]
    command += ["--proxy-version", version, "--proxy-family", "AF_INET" if version == "2" else "TCP4"]
    command += ["--proxy-source", "203.0.113.20", "--proxy-source-port", "4711"]
    command += ["--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25", "--helo", "client.test"]
    command += ["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"] if version == "2" else []
    done = debian.run([*command, "--from", sender, "--to", "b@there.test"], seconds=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert clients.reception(sender)["peer_address"]["addr"] == "203.0.113.20"


def test_swaks_says_xclient(clients: Clients) -> None:
    sender = "xclient@swaks.test"
    command = [debian.need("swaks"), "--server", "127.0.0.1", "--port", str(clients.ports["required"]), "--tls"]
    command += ["--xclient-addr", "127.0.0.78", "--xclient-name", "app.client.test", "--helo", "client.test"]
    done = debian.run([*command, "--from", sender, "--to", "b@there.test"], seconds=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert clients.reception(sender)["peer_address"] == {"name": "client.test", "addr": "127.0.0.78"}


# -- postfix, curl ----------------------------------------------------------------------------------------------------


def test_postfix_trusts_what_it_sees(clients: Clients) -> None:
    command = [debian.need("posttls-finger", "postfix"), "-c", "-F", clients.authority.ca_file, "-l", "verify"]
    command += ["-L", "summary,certmatch", f"[127.0.0.1]:{clients.ports['required']}", "relay.test"]
    done = debian.run(command, seconds=30, env=debian.environment(MAIL_CONFIG=str(clients.postfix)))
    said = (done.stdout + done.stderr).decode()
    assert "Verified TLS connection established" in said and "TLSv1.3" in said, said


def test_curl(clients: Clients, tmp_path: Path) -> None:
    text = tmp_path / "message"
    text.write_bytes(MESSAGE)
    command = [debian.need("curl"), "-sS", "--ssl-reqd", "--cacert", clients.authority.ca_file, "--upload-file", text]
    command += ["--connect-to", f"::127.0.0.1:{clients.ports['required']}", "smtp://relay.test/client.test"]
    done = debian.run([*command, "--mail-from", "a@curl.test", "--mail-rcpt", "b@there.test"], seconds=30)
    assert done.returncode == 0, done.stderr
    assert clients.reception("a@curl.test")["tls_cipher"].startswith("TLS_")


# -- what is wrong from the start -------------------------------------------------------------------------------------


def test_a_relay_without_its_certificate_does_not_start(tmp_path: Path) -> None:
    gone = Leaf(tmp_path / "gone.pem", tmp_path / "gone.key")
    relay = RelayProcess(tmp_path, workers=1, listener=_tls("starttls", gone))
    why = f"listener 127.0.0.1:{relay.port}: certificate {gone.certificate}: no such file or directory"
    checked, served = relay.command("check"), relay.command("serve")
    assert (checked.returncode, served.returncode) == (78, 78)
    assert checked.stderr.decode().splitlines() == [f"fastrelay: {relay.config}: {why}"]
    assert served.stderr == checked.stderr


# -- what changes -----------------------------------------------------------------------------------------------------


def test_a_replaced_certificate_is_shown_without_a_reload(clients: Clients) -> None:
    """Files are looked at every 2 s and loaded when they stood still for one; other tests have passed meanwhile."""
    debian.wait_until(lambda: clients.relay.said().count("loaded anew") == 2, 20, "both workers to load it")
    with smtplib.SMTP_SSL("localhost", clients.ports["changing"], timeout=20, context=unnamed(clients)) as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        shown = client.sock.getpeercert()
    assert shown is not None and shown["subjectAltName"] == (("DNS", "renewed.test"),)
