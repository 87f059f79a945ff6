"""Real mail servers at both ends of the program, with TLS and AUTH: Postfix, Exim, Haraka and aiosmtpd.

We log in at each and deliver; each logs in here and hands on to a mailbox. We verify the certificate of each, and each
ours. One house for all, a server at a time: 17 s, of which 6 go into starting it and them, and 7 into the pauses that
both ends put before the answer to a wrong password.
"""

import os
import re
import smtplib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.aiosmtpd_server import AiosmtpdServer
from tests.peers.certificates import Authority
from tests.peers.exim_server import EximServer
from tests.peers.haraka import Haraka
from tests.peers.mailbox import Arrived, Mailbox
from tests.peers.postfix_server import PostfixServer
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.peers.server import LOCKED, WRONG, Account, Server, Wish, submit

SERVERS: dict[str, Callable[[Wish], Server]] = {
    "postfix": PostfixServer,
    "exim": EximServer,
    "haraka": Haraka,
    "aiosmtpd": AiosmtpdServer,
}
THERE = Account("relay@there.test", "corr,ct=h0rse battery")  # we, at each of them
HERE = Account("server@here.test", "another, with blanks")  # each of them, here
CONTENT = (
    "Subject: both ways\r\nFrom: <s@from.test>\r\nDate: Mon, 1 Jun 2026 10:00:00 +0000\r\nMessage-ID: <1@from.test>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ".dot\r\n..\r\nGrüße, and a blank at the end \r\n\r\n" + "x" * 900 + "\r\n.\r\n\tlast\r\n"
).encode()

# what each says of mail it handed on, inside TLS that it verified and logged in (K: Exim sent it by BDAT)
HANDED_ON = {
    "postfix": r"Verified TLS connection established to 127\.0\.0\.1.*: TLSv1\.3 with cipher",
    "exim": r"=> exim@back\.test .* X=TLS1\.3:\S+ CV=yes A=plain K C=\"250 2\.0\.0 Ok: queued as",
    "haraka": r"secured verified=true(?s:.*) delivered .* domain=back\.test .* tls=Y auth=Y response=\"Ok: queued as",
    "aiosmtpd": r"handed on as server@here\.test: TLSv1\.3",
}
# and when its login is refused: the first two keep the mail, Haraka returns it, aiosmtpd tells its client
LOCKED_OUT = {
    "postfix": r"status=deferred \(SASL authentication failed; server localhost\S+ said: 535 5\.7\.8 ",
    "exim": r"== exim@locked\.test .* authentication required but authentication attempt\(s\) failed",
    "haraka": r"bouncing mail: 535 5\.7\.8 Authentication credentials invalid",
    "aiosmtpd": r"refused: SMTPAuthenticationError\(535, ",
}


class House:
    """A relay between a trusted door for tests, one with TLS and AUTH for servers, and a mailbox behind it."""

    def __init__(self, folder: Path, box: Mailbox) -> None:
        self.box = box
        authority = Authority(folder)
        leaf = authority.issue("relay.test", "127.0.0.1")  # Exim asks for what its route names
        self.door = debian.free_port()
        self.servers: dict[str, Server] = {}
        self.missing: dict[str, BaseException] = {}
        self.refused: dict[str, str] = {}  # domain -> what its server said to our wrong password
        tables = ""
        for name, kind in SERVERS.items():
            (folder / name).mkdir()
            wish = Wish(
                folder / name, f"{name}.server.test", f"{name}.test", authority.issue(f"{name}.server.test"),
                authority.ca_file, THERE, self.door, "relay.test", HERE,
            )  # fmt: skip
            try:
                server = self.servers[name] = kind(wish)
            except (pytest.skip.Exception, pytest.fail.Exception) as why:
                self.missing[name] = why
                continue
            tables += f"""
            [[site]]
            name = "127.0.0.1:{server.port}"
            tls = "verify"
            tls_ca = "{authority.ca_file}"
            tls_names = ["{wish.name}"]
            """
            for domain, credentials in ((wish.kept, "right"), (f"wrong.{wish.kept}", "wrong")):
                tables += f"""
                [[route]]
                domain = "{domain}"
                next_hop = ["127.0.0.1:{server.port}"]
                credentials = "{credentials}"
                """
        tables += f"""
        [[route]]
        domain = "back.test"
        next_hop = ["127.0.0.1:{box.port}"]
        [auth]
        users = "{folder}/users"
        iterations = 4096
        [[credentials]]
        name = "right"
        user = "{THERE.user}"
        password = "{THERE.password}"
        [[credentials]]
        name = "wrong"
        user = "{THERE.user}"
        password = "{WRONG}"
        [[listener]]
        address = "127.0.0.1:{self.door}"
        tls = "required"
        certificate = "{leaf.certificate}"
        key = "{leaf.key}"
        auth = "required"
        relay_from = ["192.0.2.0/24"]
        """
        (folder / "house").mkdir()
        self.relay = RelayProcess(folder / "house", workers=1, retry=("first = '1h'",), tables=tables)
        added = debian.run(
            [*PROGRAM, "user", "add", HERE.user, "-c", self.relay.config], stdin=HERE.password.encode() + b"\n"
        )
        assert added.returncode == 0, added.stderr

    def send(self, sender: str, to: str, *options: str) -> dict[str, Any]:
        """By the trusted door; what became of it."""
        with smtplib.SMTP("127.0.0.1", self.relay.port, timeout=20) as client:
            client.sendmail(sender, [to], CONTENT, ["BODY=8BITMIME", *options])
        return self.event(("Delivery", "TransientFailure", "Bounce"), recipient=to)

    def event(self, kinds: tuple[str, ...], **wanted: str) -> dict[str, Any]:
        """The first event of these types with these fields, once it is in the log."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(
                one
                for one in self.relay.lines()
                if one["type"] in kinds and all(one.get(key) == wanted[key] for key in wanted)
            )
            return bool(found)

        debian.wait_until(look, 20, f"{kinds} {wanted}")
        return found[0]

    def back(self, recipient: str) -> Arrived:
        """What came to the mailbox for that address."""

        def found() -> list[Arrived]:
            return [one for one in list(self.box.arrived) if recipient in one.recipients]

        debian.wait_until(lambda: bool(found()), 20, f"{recipient} in the mailbox")
        (one,) = found()
        return one


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """In a folder of its own: pytest's are closed to the accounts servers change to."""
    with tempfile.TemporaryDirectory(prefix="fastrelay-servers-") as name, Mailbox() as box:
        os.chmod(name, 0o755)
        one = House(Path(name), box)
        try:
            one.relay.start()
            yield one
            assert one.relay.stop() == 0, one.relay.said()
            assert not any(orphans for _, orphans in one.relay.audits())
        finally:
            one.relay.kill()


@pytest.fixture(scope="module", params=list(SERVERS))
def name(request: pytest.FixtureRequest, house: House) -> Iterator[str]:
    if request.param in house.missing:
        raise house.missing[request.param]
    with house.servers[request.param].running():
        yield request.param


def test_we_log_in_and_what_arrives_is_what_we_got(house: House, name: str) -> None:
    to = f"b@{name}.test"
    event = house.send(f"s@{name}.from.test", to)
    assert event["type"] == "Delivery" and event["tls_verified"], event
    assert (event["tls_protocol_version"], event["tls_cipher"]) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    seen = house.servers[name].seen(to)
    assert (seen.sender, seen.recipient, seen.user) == (f"s@{name}.from.test", to, THERE.user)
    assert (seen.mechanism, seen.tls[-3:]) == ("SCRAM-SHA-256" if name == "postfix" else "PLAIN", "1.3")
    fields = seen.content.removesuffix(CONTENT)
    assert re.search(rb"^Received: .*\r\n\tby relay\.test with ESMTP id \w+; .*\r\n\Z", fields, re.MULTILINE), (
        seen.content
    )


def test_mail_beyond_ascii_to_it(house: House, name: str) -> None:
    to = f"empfänger@{name}.test"
    event = house.send(f"absender.ü@{name}.from.test", to, "SMTPUTF8")
    assert event["type"] == "Delivery", event
    seen = house.servers[name].seen(to)
    assert (seen.sender, seen.recipient) == (f"absender.ü@{name}.from.test", to)
    assert seen.content.endswith(b"\r\n" + CONTENT)


def test_our_wrong_password_makes_the_mail_wait(house: House, name: str) -> None:
    domain = f"wrong.{name}.test"
    event = house.send("s@back.test", f"b@{domain}")
    response = event["response"]
    assert (event["type"], response["code"], response["command"]) == ("TransientFailure", 535, "AUTH"), event
    assert event["login"] == "wrong", event
    house.refused[domain] = " ".join(filter(None, ("535", response["enhanced_code"], response["content"])))


def test_it_hands_on_through_us(house: House, name: str) -> None:
    server = house.servers[name]
    sender, to = f"s@{name}.out.test", f"{name}@back.test"
    content = CONTENT + b"a line like others\r\n" * 10_000  # several chunks of Exim's
    assert submit(server.port, THERE, sender, to, content, ("BODY=8BITMIME",)) is None
    arrived = house.back(to)
    assert (arrived.sender, arrived.recipients) == (sender, (to,))
    came = arrived.content
    if name == "aiosmtpd":  # its Proxy adds a field behind the sender's
        came = came.replace(b"\r\nX-Peer: 127.0.0.1\r\n\r\n", b"\r\n\r\n")
    assert re.match(rb"Received: from .*\r\n\tby relay\.test with ESMTPSA id ", came), came[:500]
    assert came.endswith(b"\r\n" + content)
    event = house.event(("Reception",), sender=sender)
    assert (event["user"], event["tls_protocol_version"]) == (HERE.user, "TLSv1.3")
    assert event["tls_cipher"] == "TLS_AES_256_GCM_SHA384"
    debian.wait_until(lambda: re.search(HANDED_ON[name], server.said()) is not None, 20, f"{name} to say so")


def test_mail_beyond_ascii_through_us(house: House, name: str) -> None:
    sender, to = f"absender.ü@{name}.out.test", f"empfänger.{name}@back.test"
    assert submit(house.servers[name].port, THERE, sender, to, CONTENT, ("SMTPUTF8", "BODY=8BITMIME")) is None
    arrived = house.back(to)
    assert (arrived.sender, arrived.recipients) == (sender, (to,))
    assert re.match(rb"Received: from .*\r\n\tby relay\.test with UTF8SMTPSA id ", arrived.content), arrived.content


def test_its_wrong_password_is_refused(house: House, name: str) -> None:
    server = house.servers[name]
    already = len(list(house.relay.lines("Rejection")))
    answer = submit(server.port, THERE, "s@back.test", f"{name}@{LOCKED}", CONTENT, ("BODY=8BITMIME",))
    assert (answer or ())[:1] == ((451,) if name == "aiosmtpd" else ())  # which has no queue
    debian.wait_until(lambda: re.search(LOCKED_OUT[name], server.said()) is not None, 20, f"{name} to say so")
    (event,) = list(house.relay.lines("Rejection"))[already:]
    assert (event["response"]["code"], event["response"]["command"], event["user"]) == (535, "AUTH", HERE.user)
    assert event["mechanism"] == ("SCRAM-SHA-256" if name == "postfix" else "PLAIN")
    assert event["tls_protocol_version"] == "TLSv1.3"
    assert not [one for one in house.relay.lines("Reception") if one["recipient"] == f"{name}@{LOCKED}"]


def test_what_the_operator_reads_of_a_refused_login(house: House) -> None:
    """Behind the others: their mail is still waiting."""
    if not house.refused:
        pytest.skip("none of the servers is there")
    domain, words = next(iter(house.refused.items()))
    read = house.relay.command("explain", domain).stdout.decode()
    refused = f'{domain}: waiting because its last attempt was put off: {words} (login of [[credentials]] "wrong"); '
    assert read.startswith(refused), read
    listed = house.relay.command("queue", "list").stdout.decode()
    for domain, words in house.refused.items():
        assert re.search(rf" b@{re.escape(domain)} .*  {re.escape(words[:40])}", listed), listed
