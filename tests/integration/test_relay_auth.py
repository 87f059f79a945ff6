"""AUTH as clients and smart hosts of every kind meet it: swaks, smtplib, curl and msmtp (GNU SASL) log in at one relay;
a second one logs in there itself, and at a real Exim. Two houses and an Exim for all tests: 5 s to start, with TLS.
"""

import re
import smtplib
import ssl
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.certificates import Authority
from tests.peers.exim import Exim
from tests.peers.relay_process import PROGRAM, RelayProcess

USER, WORD = "app@client.test", "corr,ct=h0rse battery"
EXIM_WORD = "s3cret-of-exim"
STRANGERS = "relay_from = ['192.0.2.0/24']"
MESSAGE = b"Subject: hello\r\n\r\nHello\r\n"

EXIM = """\
acl_smtp_rcpt = rcpt

begin acl
rcpt:
  require authenticated = *
  accept

begin routers
all:
  driver = accept
  transport = nowhere

begin transports
nowhere:
  driver = appendfile
  file = /dev/null

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{hub-user}}{eq{$auth3}{word}}}}
  server_set_id = $auth2
  server_advertise_condition = ${if def:tls_in_cipher}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{hub-user}}{eq{$auth2}{word}}}}
  server_set_id = $auth1
  server_advertise_condition = ${if def:tls_in_cipher}
"""


class Houses:
    """hub: where clients log in. front: a relay that logs in at the hub and at Exim, by the recipient's domain."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        leaf = self.authority.issue("relay.test")
        tls = [f"certificate = '{leaf.certificate}'", f"key = '{leaf.key}'", STRANGERS]
        self.implicit = debian.free_port()
        (folder / "hub").mkdir()
        self.hub = RelayProcess(
            folder / "hub",
            workers=1,
            next_hop=f"127.0.0.1:{debian.free_port()}",  # where nobody listens
            listener=["tls = 'starttls'", "auth = 'optional'", *tls],
            tables="\n".join(
                ["[auth]", f"users = '{folder}/users'", "iterations = 4096",
                 "[[listener]]", f"address = '127.0.0.1:{self.implicit}'", "tls = 'implicit'",
                 "auth = 'required'", *tls]
            ),
        )  # fmt: skip
        self.user("add", USER, WORD)
        self.exim = Exim(folder, leaf, EXIM.replace("{word}", f"{{{EXIM_WORD}}}"))
        (folder / "front").mkdir()
        (folder / "front" / "secret").write_text(EXIM_WORD + "\n")
        self.front = RelayProcess(
            folder / "front",
            workers=1,
            retry=("first = '1h'",),
            server=("hang_timeout = '60s'",),
            tables=f"""
            [[credentials]]
            name = "hub"
            user = "{USER}"
            password = "{WORD}"
            [[credentials]]
            name = "exim"
            user = "hub-user"
            password_file = "{folder}/front/secret"
            [[credentials]]
            name = "wrong"
            user = "hub-user"
            password = "not it at all"
            [[credentials]]
            name = "login"
            user = "hub-user"
            password = "{EXIM_WORD}"
            mechanisms = ["LOGIN"]
            """
            + "".join(
                f'[[route]]\ndomain = "{name}.test"\nnext_hop = ["127.0.0.1:{port}"]\ncredentials = "{name}"\n'
                for name, port in (
                    ("hub", self.hub.port),
                    *((one, self.exim.port) for one in ("exim", "wrong", "login")),
                )
            )
            + f'[[route]]\ndomain = "nobody.test"\nnext_hop = ["127.0.0.1:{self.exim.port}"]\n',
        )

    def user(self, verb: str, name: str, password: str = "") -> None:
        """`fastrelay user` on the hub's file."""
        done = debian.run([*PROGRAM, "user", verb, name, "-c", self.hub.config], stdin=f"{password}\n".encode())
        assert done.returncode == 0, done.stderr

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.ca_file))

    def event(self, house: RelayProcess, kind: str, **wanted: str) -> dict[str, Any]:
        """The first event of that type with these fields, once it is in the log."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(one for one in house.lines(kind) if all(one.get(key) == wanted[key] for key in wanted))
            return bool(found)

        debian.wait_until(look, 20, f"{kind} {wanted}")
        return found[0]


@pytest.fixture(scope="module")
def houses() -> Iterator[Houses]:
    """In a folder of its own: pytest's are closed to the account Exim changes to."""
    if not debian.is_root():
        pytest.skip("Exim must be started by root")
    with tempfile.TemporaryDirectory(prefix="fastrelay-auth-") as name:
        one = Houses(Path(name))
        try:
            with one.exim.running():
                one.hub.start()
                one.front.start()
                yield one
                for house in (one.front, one.hub):
                    assert house.stop() == 0, house.said()
                    assert not any(orphans for _, orphans in house.audits())
        finally:
            one.hub.kill()
            one.front.kill()


def taken(houses: Houses, sender: str) -> dict[str, Any]:
    event = houses.event(houses.hub, "Reception", sender=sender)
    assert event["user"] == USER and event["tls_protocol_version"] == "TLSv1.3"
    return event


# -- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
def test_swaks(houses: Houses, name: str) -> None:
    debian.need("Net/SSLeay.pm", "libnet-ssleay-perl")
    sender = f"{name.lower()}@swaks.test"
    command = [debian.need("swaks"), "--server", "127.0.0.1", "--port", str(houses.hub.port), "--tls"]
    command += ["--auth", name, "--auth-user", USER, "--auth-password", WORD, "--helo", "client.test"]
    done = debian.run([*command, "--from", sender, "--to", "b@there.test"], seconds=30)
    assert done.returncode == 0 and b"235 2.7.0" in done.stdout, done.stdout + done.stderr
    taken(houses, sender)


@pytest.mark.parametrize("name", ["plain", "login"])
def test_smtplib(houses: Houses, name: str) -> None:
    with smtplib.SMTP("127.0.0.1", houses.hub.port, timeout=20) as client:
        client._host = "relay.test"  # type: ignore[attr-defined]  # the name that is asked for and verified
        client.ehlo("client.test")
        assert not client.has_extn("auth")
        client.starttls(context=houses.context())
        client.ehlo("client.test")
        assert client.esmtp_features["auth"].strip() == "PLAIN LOGIN SCRAM-SHA-256"
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="Relaying denied"):
            client.sendmail(f"{name}@smtplib.test", ["b@there.test"], MESSAGE)
        client.user, client.password = USER, WORD
        assert client.auth(name, getattr(client, f"auth_{name}"))[0] == 235
        client.sendmail(f"{name}@smtplib.test", ["b@there.test"], MESSAGE)
    taken(houses, f"{name}@smtplib.test")


def test_curl(houses: Houses) -> None:
    text = houses.folder / "message"
    text.write_bytes(MESSAGE)
    command = [debian.need("curl"), "-sS", "--cacert", houses.authority.ca_file, "--upload-file", text]
    command += ["--connect-to", f"::127.0.0.1:{houses.implicit}", "smtps://relay.test/client.test"]
    command += ["--user", f"{USER}:{WORD}", "--mail-from", "a@curl.test", "--mail-rcpt", "b@there.test"]
    done = debian.run(command, seconds=30)
    assert done.returncode == 0, done.stderr
    taken(houses, "a@curl.test")


@pytest.mark.parametrize("name", ["scram-sha-256", "plain"])
def test_msmtp_with_gnu_sasl(houses: Houses, name: str) -> None:
    config = houses.folder / f"msmtprc-{name}"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {houses.implicit}\nfrom {name}@msmtp.test\ndomain client.test\n"
        f"tls on\ntls_starttls off\ntls_certcheck off\nauth {name}\nuser {USER}\npasswordeval echo '{WORD}'\n"
    )
    config.chmod(0o600)
    done = debian.run([debian.need("msmtp"), "-C", config, "b@there.test"], stdin=MESSAGE, seconds=30)
    assert done.returncode == 0, done.stderr
    taken(houses, f"{name}@msmtp.test")


def test_a_wrong_password_and_mail_without_a_login(houses: Houses) -> None:
    context = houses.context()
    context.check_hostname = False
    with smtplib.SMTP_SSL("127.0.0.1", houses.implicit, timeout=20, context=context) as client:
        with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
            client.sendmail("nobody@smtplib.test", ["b@there.test"], MESSAGE)
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            client.user, client.password = USER, "guess"
            client.auth("plain", client.auth_plain)
    event = houses.event(houses.hub, "Rejection", user=USER)
    assert (event["response"]["code"], event["response"]["command"]) == (535, "AUTH")


def test_a_user_added_and_removed_while_the_relay_runs(houses: Houses) -> None:
    def login() -> int:
        context = houses.context()
        context.check_hostname = False
        with smtplib.SMTP_SSL("127.0.0.1", houses.implicit, timeout=20, context=context) as client:
            client.ehlo("client.test")
            return client.docmd("AUTH PLAIN " + b64encode(b"\0late@client.test\0pw").decode())[0]

    houses.user("add", "late@client.test", "pw")
    assert login() == 235
    houses.user("remove", "late@client.test")
    assert login() == 535


# -- smart hosts ------------------------------------------------------------------------------------------------------


def handed_on(houses: Houses, domain: str) -> dict[str, Any]:
    with smtplib.SMTP("127.0.0.1", houses.front.port, timeout=20) as client:
        client.sendmail(f"s@{domain}", [f"b@{domain}"], MESSAGE)
    kind = "TransientFailure" if domain in ("wrong.test", "nobody.test") else "Delivery"
    return houses.event(houses.front, kind, recipient=f"b@{domain}")


@pytest.mark.parametrize("name", ["exim", "login"])
def test_a_real_exim_as_smart_host(houses: Houses, name: str) -> None:
    handed_on(houses, f"{name}.test")
    log = (houses.folder / "log" / "mainlog").read_text()
    assert re.search(rf"<= s@{name}\.test .* P=esmtpsa .* A={'plain' if name == 'exim' else 'login'}:hub-user", log)


def test_another_fastrelay_as_smart_host_by_scram(houses: Houses) -> None:
    handed_on(houses, "hub.test")
    taken(houses, "s@hub.test")


def test_a_wrong_password_makes_the_mail_wait(houses: Houses) -> None:
    event = handed_on(houses, "wrong.test")
    assert (event["response"]["code"], event["response"]["command"]) == (535, "AUTH")
    assert not list(houses.front.lines("Bounce"))


def test_a_connection_that_logged_in_carries_no_mail_of_others(houses: Houses) -> None:
    """The site is the same: its connections lie idle, logged in; Exim refuses who is not."""
    handed_on(houses, "exim.test")
    with smtplib.SMTP("127.0.0.1", houses.front.port, timeout=20) as client:
        client.sendmail("s@nobody.test", ["b@nobody.test"], MESSAGE)
    event = houses.event(houses.front, "Bounce", recipient="b@nobody.test")
    assert event["response"]["command"] == "RCPT" and event["response"]["code"] == 550


def test_no_secret_stands_in_any_log(houses: Houses) -> None:
    """Last, for it reads what all the others left; metrics are written once a second."""
    words = [WORD, EXIM_WORD, "not it at all", "guess"]
    words += [b64encode(one.encode()).decode() for one in words]
    words += [b64encode(f"\0{user}\0{word}".encode()).decode() for user in (USER, "hub-user") for word in words[:4]]
    for house in (houses.hub, houses.front):
        shown = house.said() + house.events.read_text() + house.page("/metrics")
        assert "Reception" in shown
        for word in words:
            assert word not in shown
    assert 'logins_total{result="ok"}' in houses.hub.page("/metrics")
    status = houses.front.command("check", "--json")
    assert status.returncode == 0 and WORD.encode() not in status.stdout and b'"hub"' in status.stdout
