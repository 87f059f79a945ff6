"""What a listener does beside taking mail, in the whole program: aliases, claims in HELO, Bcc, HELP, LIMITS, notices.

One relay with five listeners for all tests, a real nsd to answer it, clients that people use (smtplib, curl, swaks and
msmtp), and where the mail goes a Mailbox (no DSN), a peer with every extension and one with hardly any.
"""

import email
import email.message
import email.policy
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.mailbox import Arrived, Mailbox
from tests.peers.relay_process import PROGRAM, RelayProcess
from tests.peers.rude_peer import RudePeer, Taken, says

USER, WORD = "app@client.test", "correct horse"
SENDER = "Anna@from.test"
STRICT = email.policy.SMTP.clone(raise_on_defect=True)
OFFERS = b"250-every.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE\r\n"
ALIASES = """
[aliases]
staff = ["anna@there.test", "bert@there.test", "night"]
night = ["carla@every.test"]
"sales@shop.test" = ["anna@there.test", "dora@every.test"]
lost = ["anna@there.test", "refused@there.test"]
"""
LISTENERS = {  # by name, what each is told beside its address
    "strangers": ["relay_from = ['192.0.2.0/24']"],
    "recording": ["helo_check = 'record'", "reverse_lookup = 'all'"],
    "requiring": [
        "relay_from = ['192.0.2.0/24']", "helo_check = 'require'", "auth = 'optional'", "auth_plaintext = true"
    ],
    "submission": ["remove_bcc = true", "max_recipients = 150"],
}  # fmt: skip


class Desk:
    """The relay, where its mail goes, and who answers its questions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.there = Mailbox(refuse=lambda name: "550 5.1.1 no such user" if name.startswith("refused") else "")
        self.every = RudePeer("ehlo", says(OFFERS), times=1000)
        self.plain = RudePeer()
        self.ports = {name: debian.free_port() for name in LISTENERS}
        self.names = debian.free_port()
        tables = [ALIASES, "[dns]", f"nameservers = ['127.0.0.1:{self.names}']", "[auth]", f"users = '{folder}/users'"]
        tables += ["iterations = 4096", "[bounce]", "delay_notice = '1s'"]
        for name, keys in LISTENERS.items():
            tables += ["[[listener]]", f"address = '127.0.0.1:{self.ports[name]}'", *keys]
        hops = {
            "every.test": self.every.port,
            "bücher.test": self.plain.port,
            "plain.test": self.plain.port,
            "down.test": debian.free_port(),
            "*": self.there.port,
        }
        for domain, port in hops.items():
            tables += ["[[route]]", f"domain = '{domain}'", f"next_hop = ['127.0.0.1:{port}']"]
        self.relay = RelayProcess(folder, workers=1, retry=("first = '1s'", "max = '1s'"), tables="\n".join(tables))
        self.ports["open"] = self.relay.port

    def name_server(self) -> list[str | Path]:
        """nsd's command. Here 127.0.0.1 is mail.client.test, 127.0.0.2 says so and is not, and broken.test has no data:
        its answers are SERVFAIL."""
        head = "$TTL 60\n@ SOA ns.client.test. root.client.test. 1 60 60 60 60\n@ NS ns.client.test.\n"
        zones = {
            "client.test": "ns A 127.0.0.1\nmail A 127.0.0.1\nelse A 127.0.0.77\n"
            "www CNAME web\nweb CNAME @\n@ MX 20 else\n@ MX 10 mail\n",
            "0.0.127.in-addr.arpa": "1 PTR mail.client.test.\n2 PTR mail.client.test.\n",
            "broken.test": "",
        }
        lines = [
            "server:", f" ip-address: 127.0.0.1@{self.names}", ' username: ""', ' chroot: ""', ' database: ""',
            f' zonesdir: "{self.folder}"', f' pidfile: "{self.folder}/nsd.pid"', f' xfrdfile: "{self.folder}/xfrd"',
            f' xfrdir: "{self.folder}"', f' zonelistfile: "{self.folder}/zones"', "remote-control:",
            " control-enable: no",
        ]  # fmt: skip
        for zone, rest in zones.items():
            if rest:
                (self.folder / zone).write_text(head + rest)
            lines += ["zone:", f' name: "{zone}"', f' zonefile: "{zone}"']
        (self.folder / "nsd.conf").write_text("\n".join(lines) + "\n")
        return [debian.need("nsd"), "-d", "-c", self.folder / "nsd.conf"]

    def client(self, listener: str, helo: str = "mail.client.test", address: str = "127.0.0.1") -> smtplib.SMTP:
        """Greeted, not yet introduced."""
        one = smtplib.SMTP(local_hostname=helo, timeout=20, source_address=(address, 0))
        one.connect("127.0.0.1", self.ports[listener])
        return one

    def event(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The first event of that type with these fields, once it is in the log."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(one for one in self.relay.lines(kind) if all(one.get(key) == wanted[key] for key in wanted))
            return bool(found)

        debian.wait_until(look, 20, f"{kind} {wanted}")
        return found[0]

    def arrived(self, subject: str, count: int = 1) -> list[Arrived | Taken]:
        """The transactions in which a message of that subject came, by their first recipient."""
        line = f"\r\nSubject: {subject}\r\n".encode()

        def found() -> list[Arrived | Taken]:
            peers: tuple[list[Arrived | Taken], ...] = (
                [*self.there.arrived],
                [*self.every.messages, *self.plain.messages],
            )
            return [one for peer in peers for one in peer if one.sender and line in one.content]

        debian.wait_until(lambda: len(found()) >= count, 20, f"{count} of {subject}")
        assert len(found()) == count
        return sorted(found(), key=lambda one: one.recipients)

    def notices(self, subject: str, count: int) -> dict[str, tuple[str, str, email.message.Message]]:
        """Action, status and the whole notice by recipient, of those that came to the sender about that message."""
        line = f"\r\nSubject: {subject}\r\n".encode()

        def rows() -> dict[str, tuple[str, str, email.message.Message]]:
            found: dict[str, tuple[str, str, email.message.Message]] = {}
            for one in self.there.arrived:
                if not one.sender and line in one.content:
                    assert one.recipients == (SENDER,)
                    letter = email.message_from_bytes(one.content, policy=STRICT)
                    status: Any = list(letter.walk())[2].get_payload()
                    for row in status[1:]:
                        name = row["Final-Recipient"].removeprefix("rfc822; ")
                        assert name not in found, "told of twice"
                        found[name] = (row["Action"], row["Status"], letter)
            return found

        debian.wait_until(lambda: len(rows()) >= count, 20, f"notices about {count} recipients of {subject}")
        return rows()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    one = Desk(tmp_path_factory.mktemp("desk"))
    added = debian.run([*PROGRAM, "user", "add", USER, "-c", one.relay.config], stdin=f"{WORD}\n".encode())
    assert added.returncode == 0, added.stderr
    try:
        with (
            one.there,
            one.every,
            one.plain,
            debian.running(one.name_server(), ready=lambda: debian.listens(one.names)),
        ):
            one.relay.start()
            yield one
            one.notices("asked", 0)  # nobody was told twice in all that time
            assert one.relay.stop() == 0, one.relay.said()
            assert not any(orphans for _, orphans in one.relay.audits())
    finally:
        one.relay.kill()


def text(subject: str, *fields: str) -> bytes:
    return "\r\n".join([f"Subject: {subject}", *fields, "", "hello", ""]).encode()


# -- aliases ----------------------------------------------------------------------------------------------------------


def test_an_alias_becomes_several_deliveries_and_the_sender_stays(desk: Desk) -> None:
    """To two destinations; a recipient that is named besides comes no second time (RFC 5321 3.9.1)."""
    with desk.client("open") as client:
        assert client.sendmail(SENDER, ["STAFF@relay.test", "bert@there.test"], text("expanded")) == {}
    there, every = desk.arrived("expanded", 2)
    assert (every.sender, there.sender) == (SENDER, SENDER)
    assert (sorted(there.recipients), every.recipients) == (
        ["anna@there.test", "bert@there.test"],
        ("carla@every.test",),
    )
    event = desk.event("Reception", sender=SENDER, size=len(text("expanded")))
    assert set(event["recipient"]) == {"anna@there.test", "bert@there.test", "carla@every.test"}


def test_clients_that_may_relay_ask_about_aliases(desk: Desk) -> None:
    with desk.client("open") as client:
        client.ehlo()
        assert client.has_extn("expn") and client.has_extn("help")  # RFC 5321 3.5.2 and 4.1.1.1
        assert client.expn("sales@shop.test") == (250, b"2.1.5 <anna@there.test>\n2.1.5 <dora@every.test>")
        assert client.verify("staff") == (250, b"2.1.5 <staff@relay.test>")
        assert client.verify("anna@there.test")[0] == 252
        assert client.expn("anna@there.test") == (550, b"5.1.1 No alias of that name")
    done = curl(desk, "open", "--mail-rcpt", "night", "--request", "EXPN")
    assert (done.returncode, done.stdout) == (0, b"250 2.1.5 <carla@every.test>\r\n")


def test_strangers_learn_nothing_and_send_nothing(desk: Desk) -> None:
    with desk.client("strangers") as client:
        client.ehlo()
        assert not client.has_extn("expn")  # RFC 5321 4.2.4
        assert client.expn("staff") == client.expn("nobody") == (502, b"5.5.1 Command not implemented")
        assert client.verify("staff")[0] == client.verify("nobody")[0] == 252
        assert b"EXPN" not in client.help() and b"VRFY" in client.help()
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="Relaying denied"):
            client.sendmail(SENDER, ["staff@relay.test"], text("never"))


def test_the_success_of_an_alias_is_that_it_was_expanded(desk: Desk) -> None:
    """RFC 3461 5.2.7.3: one notice of the expansion, one of each failure, none of what reaches the others."""
    with desk.client("open") as client:
        client.ehlo()
        client.sendmail(SENDER, ["lost@relay.test"], text("told of"), [], ["NOTIFY=SUCCESS,FAILURE"])
    told = desk.notices("told of", 2)
    assert {name: row[:2] for name, row in told.items()} == {
        "lost@relay.test": ("expanded", "2.1.5"), "refused@there.test": ("failed", "5.1.1")
    }  # fmt: skip
    failed: Any = list(told["refused@there.test"][2].walk())[2].get_payload()
    assert failed[1]["Original-Recipient"] == "rfc822; lost@relay.test"


def test_a_notice_to_an_alias_reaches_those_it_stands_for(desk: Desk) -> None:
    """Such a sender is a job of this machine: its mail would else come back to us, for ever."""
    with desk.client("open") as client:
        client.sendmail("night@relay.test", ["refused3@there.test"], text("by night"))

    def notices() -> list[Taken]:
        return [one for one in desk.every.messages if not one.sender and b"\r\nSubject: by night\r\n" in one.content]

    debian.wait_until(lambda: bool(notices()), 20, "the notice")
    (notice,) = notices()
    assert notice.recipients == ("carla@every.test",) and b"\r\nTo: <night@relay.test>\r\n" in notice.content


# -- claims in HELO ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("helo", "address", "checked", "reply"),
    [
        ("mail.client.test", "127.0.0.1", "pass", "550 5.7.1 Relaying denied"),
        ("[127.0.0.2]", "127.0.0.2", "pass", "550 5.7.1 Relaying denied"),
        ("else.client.test", "127.0.0.1", "fail", "550 5.7.1 The name in your HELO does not lead to your address"),
        ("mail.client.test", "127.0.0.2", "fail", "550 5.7.1 The name in your HELO does not lead to your address"),
        ("absent.client.test", "127.0.0.3", "fail", "550 5.7.1 The name in your HELO does not lead to your address"),
        ("127.0.0.4", "127.0.0.4", "fail", "550 5.7.1 The name in your HELO does not lead to your address"),
        ("mail.broken.test", "127.0.0.5", "temperror", "450 4.4.3 The name in your HELO cannot be looked up now"),
    ],
)
def test_what_a_required_claim_is_worth(desk: Desk, helo: str, address: str, checked: str, reply: str) -> None:
    """True: the client gets as far as any stranger. False: refused at MAIL. Unknown: it may come again."""
    done = swaks(desk, "requiring", "--helo", helo, "--local-interface", address, "--to", "b@there.test")
    assert f" {reply}\n".encode() in done.stdout, done.stdout
    assert done.returncode == (24 if checked == "pass" else 23), done.stdout  # no recipient, no sender was taken
    event = desk.event("Rejection", helo_check=checked, peer_address={"name": helo, "addr": address})
    assert event["response"]["command"] == ("RCPT" if checked == "pass" else "MAIL")
    assert f"{event['response']['code']} {event['response']['enhanced_code']} {event['response']['content']}" == reply


def test_a_login_counts_more_than_a_false_claim(desk: Desk) -> None:
    """Received says what the claim was worth all the same."""
    words = ("--helo", "else.client.test", "--auth", "PLAIN", "--auth-user", USER, "--auth-password", WORD)
    done = swaks(desk, "requiring", *words, "--to", "b@there.test", "--header", "Subject: by login")
    assert done.returncode == 0, done.stdout
    (arrived,) = desk.arrived("by login")
    first = arrived.content.split(b"\r\n")[0]
    assert first == b"Received: from else.client.test (mail.client.test [127.0.0.1]) (claimed name: fail)"
    assert desk.event("Reception", user=USER)["helo_check"] == "fail"


@pytest.mark.parametrize(
    ("helo", "address", "verified", "checked"),
    [
        ("mail.client.test", "127.0.0.1", "mail.client.test", "pass"),
        ("else.client.test", "127.0.0.1", "mail.client.test", "fail"),
        ("mail.client.test", "127.0.0.2", "unknown", "fail"),  # its PTR says so too, and does not lead back
        ("mail.broken.test", "127.0.0.1", "mail.client.test", "temperror"),
    ],
)
def test_what_is_recorded_of_a_claim(desk: Desk, helo: str, address: str, verified: str, checked: str) -> None:
    subject = f"recorded {helo} {address}"
    with desk.client("recording", helo, address) as client:
        client.sendmail(SENDER, ["b@there.test"], text(subject))
    (arrived,) = desk.arrived(subject)
    first = arrived.content.split(b"\r\n")[0].decode()
    assert first == f"Received: from {helo} ({verified} [{address}]) (claimed name: {checked})"
    assert desk.event("Reception", size=len(text(subject)), peer_address={"name": helo, "addr": address})[
        "helo_check"
    ] == checked  # fmt: skip


def test_the_walk_to_such_a_client_as_an_operator_draws_it(desk: Desk) -> None:
    """By the same nsd: a CNAME, its CNAME, MX by preference, addresses; and a domain whose zone is broken."""
    (desk.folder / "plain.toml").write_text("[server]\nhostname = 'relay.test'\n")
    command: list[str | Path] = [
        *PROGRAM,
        "resolve",
        "-c",
        desk.folder / "plain.toml",
        "--server",
        f"127.0.0.1:{desk.names}",
    ]
    done = debian.run([*command, "www.client.test"])
    lines = done.stdout.decode().splitlines()
    depths = [line.index(word) for line, word in zip(lines[1:], ("CNAME", "CNAME", "MX 10", "A "), strict=False)]
    assert depths == sorted(set(depths)), "each name stands under the one that led to it"
    drawn = [" ".join(line.strip(" │├└─").split()[:3]) for line in lines[1:5]]
    assert drawn == ["CNAME web.client.test", "CNAME client.test", "MX 10 mail.client.test", "A 127.0.0.1 1m"], lines
    assert any("MX 20  else.client.test" in line for line in lines)
    assert (
        done.returncode == 65 and "passed over: mail.client.test [127.0.0.1]: loopback address" in done.stdout.decode()
    )
    done = debian.run([*command, "mail.broken.test"])
    assert (
        done.returncode == 75
        and b"no route now: 451 4.4.3 Name service failed for MX of mail.broken.test" in done.stdout
    )


# -- Bcc, HELP, LIMITS ------------------------------------------------------------------------------------------------


def test_bcc_is_removed_on_the_way_in_and_its_recipients_are_served(desk: Desk) -> None:
    """Where it is asked for, in whatever spelling and over several lines; the envelope says who receives."""
    folded = ("To: <anna@there.test>", "BCC : <secret@there.test>,", " <second@there.test>", "X-Bcc: stays")
    for listener in ("submission", "open"):
        with desk.client(listener) as client:
            client.sendmail(SENDER, ["anna@there.test", "secret@there.test"], text(f"to {listener}", *folded))
    (removed,) = desk.arrived("to submission")
    (kept,) = desk.arrived("to open")
    assert set(removed.recipients) == {"anna@there.test", "secret@there.test"}
    for one, there in ((removed, False), (kept, True)):
        own = one.content.partition(b"\r\nSubject:")[2]
        assert own.endswith(b"\r\nX-Bcc: stays\r\n\r\nhello\r\n"), own
        assert (b"secret@" in own) is there and (b"second@" in own) is there
        ident = one.content.partition(b" id ")[2][:32].decode()
        assert ("bcc_removed" in desk.event("Reception", id=ident)) is not there


def test_help_by_clients_that_have_it(desk: Desk) -> None:
    commands = "HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"
    told = {"open": f"{commands} EXPN BDAT", "strangers": f"{commands} BDAT"}
    for listener, words in told.items():
        done = curl(desk, listener, "--request", "HELP")
        assert (done.returncode, done.stdout) == (0, f"214 2.0.0 Commands: {words}\r\n".encode())


def test_limits_are_announced_and_hold(desk: Desk) -> None:
    """RFC 9422: who reads RCPTMAX knows when to begin another transaction; who does not is told by 452."""
    with desk.client("submission") as client:
        client.ehlo()
        assert client.esmtp_features["limits"].strip() == "RCPTMAX=150"
        client.docmd(f"MAIL FROM:<{SENDER}>")
        codes = [client.docmd(f"RCPT TO:<u{n}@there.test>")[0] for n in range(152)]
        assert codes == [250] * 150 + [452] * 2
        client.docmd("RSET")


# -- notices ----------------------------------------------------------------------------------------------------------


def test_notices_as_the_user_of_a_mail_client_gets_them(desk: Desk) -> None:
    """msmtp asks for all there is: where the next hop knows no DSN a success is ours to tell, where it does it is asked
    (RFC 3461 5.2.1); a failure comes with the whole message; what ends together is told of together."""
    to = ["good@there.test", "refused@there.test", "good@every.test", "late@down.test"]
    config = desk.folder / "msmtprc"
    config.write_text(
        f"account default\nhost 127.0.0.1\nport {desk.ports['open']}\nfrom {SENDER}\ndomain mail.client.test\n"
        "tls off\nauth off\ndsn_notify success,failure,delay\ndsn_return full\n"
    )
    config.chmod(0o600)
    done = debian.run([debian.need("msmtp"), "-C", config, *to], stdin=text("asked", "Message-ID: <one@from.test>"))
    assert done.returncode == 0, done.stderr
    told = desk.notices("asked", 3)
    assert {name: row[:2] for name, row in told.items()} == {
        "good@there.test": ("relayed", "2.0.0"),
        "refused@there.test": ("failed", "5.1.1"),
        "late@down.test": ("delayed", "4.4.1"),
    }
    for name, last in (
        ("refused@there.test", "message/rfc822"),
        ("late@down.test", "text/rfc822-headers"),
    ):
        letter = told[name][2]
        assert letter.get_content_type() == "multipart/report" and letter["Auto-Submitted"] == "auto-replied"
        assert (letter["To"], letter["In-Reply-To"]) == (SENDER, "<one@from.test>")
        _, status, original = letter.iter_parts()  # type: ignore[attr-defined]
        assert (status.get_content_type(), original.get_content_type()) == ("message/delivery-status", last)
    assert "RCPT TO:<good@every.test> NOTIFY=SUCCESS,FAILURE,DELAY" in desk.every.commands
    assert [line for line in desk.every.commands if line.startswith("MAIL") and line.endswith(" RET=FULL")]


def test_who_wants_no_notice_gets_none(desk: Desk) -> None:
    """NEVER, and the null sender: their failures stand in the log alone (RFC 3461 4.1, RFC 5321 4.5.5)."""
    with desk.client("open") as client:
        client.sendmail(SENDER, ["refused1@there.test"], text("silent"), [], ["NOTIFY=NEVER"])
        client.sendmail("", ["refused2@there.test"], text("silent"))
    assert desk.event("Bounce", recipient="refused1@there.test")["notice"] == "not asked for"
    assert desk.event("Bounce", recipient="refused2@there.test")["notice"] == "null sender"


# -- beyond ASCII -----------------------------------------------------------------------------------------------------


def test_curl_with_addresses_beyond_ascii(desk: Desk) -> None:
    """RFC 6531: they go on where the next hop takes them, and come back with 5.6.7 where it does not."""
    sender = "josé@from.test"
    for to in ("büro@every.test", "büro@plain.test"):
        done = curl(desk, "open", "--mail-from", sender, "--mail-rcpt", to, stdin=text("wide", f"To: {to}"))
        assert done.returncode == 0, done.stderr
    (arrived,) = desk.arrived("wide")
    assert (
        arrived.sender == sender
        and arrived.recipients == ("büro@every.test",)
        and b" with UTF8SMTP id " in arrived.content
    )
    assert [one for one in desk.every.commands if one.startswith(f"MAIL FROM:<{sender}>") and " SMTPUTF8" in one]
    bounce = desk.event("Bounce", recipient="büro@plain.test", sender=sender)
    assert (bounce["response"]["code"], bounce["response"]["enhanced_code"]) == (553, "5.6.7")


def test_a_sender_beyond_ascii_gets_its_notice(desk: Desk) -> None:
    """RFC 6533: by SMTPUTF8, of the kinds made for it, with the addresses as they are."""
    sender, absent = "josé@every.test", "refusedü@there.test"
    with desk.client("open") as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        client.sendmail(sender, [absent], text("unheard"), ["SMTPUTF8", "BODY=8BITMIME"])

    def notices() -> list[Taken]:
        return [one for one in desk.every.messages if one.recipients == (sender,) and not one.sender]

    debian.wait_until(lambda: bool(notices()), 20, "the notice")
    (notice,) = notices()
    assert b"Content-Type: message/global-delivery-status\r\n" in notice.content
    assert f"\r\nFinal-Recipient: utf-8; {absent}\r\nAction: failed\r\nStatus: 5.1.1\r\n".encode() in notice.content
    assert [one for one in desk.every.commands if one.startswith("MAIL FROM:<>") and " SMTPUTF8" in one]


def test_what_only_claims_to_need_smtputf8_goes_through(desk: Desk) -> None:
    """curl asks for SMTPUTF8 and writes the domain in ASCII; a row of the configuration has it in letters."""
    done = curl(desk, "open", "--mail-from", SENDER, "--mail-rcpt", "anna@bücher.test", stdin=text("narrow"))
    assert done.returncode == 0, done.stderr
    (arrived,) = desk.arrived("narrow")
    assert arrived.recipients == ("anna@xn--bcher-kva.test",)
    assert b" with UTF8SMTP id " in arrived.content
    assert not [line for line in desk.plain.commands if "SMTPUTF8" in line]


# -- the clients ------------------------------------------------------------------------------------------------------


def curl(desk: Desk, listener: str, *words: str, stdin: bytes = b"") -> Any:
    """Its exit code and what the server said (stdout). stdin: the message, where one is sent."""
    upload = ["--upload-file", "-"] if stdin else []
    url = f"smtp://127.0.0.1:{desk.ports[listener]}/mail.client.test"
    command: list[str | Path] = [
        debian.need("curl"),
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        *upload,
        *words,
        url,
    ]
    return debian.run(command, stdin=stdin, env=debian.environment(LC_ALL="C.UTF-8"))


def swaks(desk: Desk, listener: str, *words: str) -> Any:
    """Its exit code and the dialogue (stdout)."""
    command: list[str | Path] = [
        debian.need("swaks"),
        "--server",
        f"127.0.0.1:{desk.ports[listener]}",
        "--from",
        SENDER,
        *words,
    ]
    return debian.run(command, seconds=30)
