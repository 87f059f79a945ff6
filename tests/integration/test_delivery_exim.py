"""The program delivers to a real Exim that has TLS, a SIZE limit and no 8BITMIME: one house, one Exim, every case."""

import email
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import debian
from tests.peers.certificates import Authority
from tests.peers.exim import Exim
from tests.peers.relay_process import RelayProcess

CONFIG = """\
acl_smtp_rcpt = rcpt
acl_smtp_data = data
message_size_limit = 100K
accept_8bitmime = false
deliver_drop_privilege = true

begin acl
rcpt:
  deny local_parts = gone
       message = 5.1.1 nobody of that name
  defer local_parts = grey
       message = 4.7.1 come again
  accept
data:
  deny condition = ${if match{$h_subject:}{spam}}
       message = 5.7.1 we do not like it
  accept

begin routers
all:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = {folder}/box
  maildir_format
  envelope_to_add
"""


class Trial:
    """A relay with three ways to the same Exim: what is asked of its certificate is the difference."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = Authority(folder)
        self.exim = Exim(folder, authority.issue("mx.exim.test"), CONFIG)
        house = folder / "house"
        house.mkdir()
        tables = "".join(
            f"""
            [[route]]
            domain = "{domain}"
            next_hop = ["{hop}:{self.exim.port}"]
            [[site]]
            name = "{hop}:{self.exim.port}"
            {keys}
            """
            for domain, hop, keys in (
                (
                    "good.test",
                    "127.0.0.1",
                    f"tls = 'verify'\ntls_names = ['host', 'mx.exim.test']\ntls_ca = '{authority.ca_file}'",
                ),
                ("wrong.test", "localhost", f"tls = 'verify'\nip = '4'\ntls_ca = '{authority.ca_file}'"),
                ("any.test", "[127.0.0.1]", "tls = 'opportunistic'"),
            )
        )
        tables += f"""
            [[route]]
            domain = "bücher.test"
            next_hop = ["127.0.0.1:{self.exim.port}"]
        """
        self.relay = RelayProcess(house, workers=1, retry=("first = '1h'",), tables=tables)

    def send(self, *to: str, subject: str = "hello", body: bytes = b"hello\r\n", options: tuple[str, ...] = ()) -> None:
        head = f"Subject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".encode()
        with smtplib.SMTP("127.0.0.1", self.relay.port, timeout=20) as client:
            client.sendmail("s@from.example", list(to), head + body, mail_options=options)

    def event(self, recipient: str) -> dict[str, Any]:
        """What became of the one message to that recipient."""
        kinds = ("Delivery", "TransientFailure", "Bounce")

        def found() -> list[dict[str, Any]]:
            return [one for one in self.relay.lines() if one["type"] in kinds and one["recipient"] == recipient]

        debian.wait_until(lambda: bool(found()), 20, f"an outcome for {recipient}")
        return found()[0]

    def kept(self, name: str) -> bytes:
        """The one message to that local part, as Exim keeps it."""

        def found() -> list[bytes]:
            texts = [file.read_bytes() for file in (self.folder / "box" / "new").glob("*")]
            return [text for text in texts if b"Envelope-to: " + name.encode() + b"@" in text]

        debian.wait_until(lambda: bool(found()), 20, f"the message to {name}")
        (one,) = found()
        return one


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """In a folder of its own: pytest's are closed to the account Exim changes to."""
    if not debian.is_root():
        pytest.skip("Exim must be started by root")
    with tempfile.TemporaryDirectory(prefix="fastrelay-exim-") as folder:
        yield from in_folder(Path(folder))


def in_folder(folder: Path) -> Iterator[Trial]:
    one = Trial(folder)
    with one.exim.running():
        one.relay.start()
        yield one
        assert one.relay.stop() == 0, one.relay.said()
        assert not any(orphans for _, orphans in one.relay.audits())


def test_a_certificate_that_bears_an_expected_name(trial: Trial) -> None:
    trial.send("plain@good.test", body=b".dot\r\n..\r\n")
    event = trial.event("plain@good.test")
    assert (event["type"], event["tls_protocol_version"], event["tls_verified"]) == ("Delivery", "TLSv1.3", True)
    assert "tls_doubt" not in event and event["response"]["command"] == "."
    assert trial.kept("plain").endswith(b"\n\n.dot\n..\n")


def test_a_certificate_for_others_holds_the_mail_back(trial: Trial) -> None:
    trial.send("plain@wrong.test")
    event = trial.event("plain@wrong.test")
    assert (event["type"], event["response"]["code"], event["response"]["enhanced_code"]) == (
        "TransientFailure",
        451,
        "4.7.5",
    )
    assert "the certificate of localhost is for mx.exim.test, not for localhost" in event["response"]["content"]


def test_opportunistic_delivers_and_tells_the_truth(trial: Trial) -> None:
    trial.send("any@any.test")
    event = trial.event("any@any.test")
    assert (event["type"], event["tls_verified"]) == ("Delivery", False)
    assert event["tls_doubt"].startswith("certificate not trusted: ")


def test_8bit_content_arrives_as_7bit_and_reads_the_same(trial: Trial) -> None:
    text = "Grüße aus München, und noch mehr Text\r\n" * 3
    trial.send("eight@good.test", body=text.encode(), options=("BODY=8BITMIME",))
    event = trial.event("eight@good.test")
    assert (event["type"], event["converted"]) == ("Delivery", "7bit")
    octets = trial.kept("eight")
    assert octets.isascii()
    message = email.message_from_bytes(octets)
    assert message["Content-Transfer-Encoding"] == "quoted-printable"
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes) and content.decode().split() == text.split()


def test_a_message_above_its_size_is_not_even_offered(trial: Trial) -> None:
    trial.send("large@good.test", body=b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 2000)
    event = trial.event("large@good.test")
    assert (event["type"], event["response"]["enhanced_code"]) == ("Bounce", "5.3.4")
    assert "takes 102400" in event["response"]["content"]


def test_a_local_part_beyond_ascii_returns_and_a_domain_has_its_ascii_form(trial: Trial) -> None:
    """Exim is not told to take SMTPUTF8: those who need it get 5.6.7, the others their mail."""
    trial.send("ü@good.test", "ascii@good.test", "b@bücher.test", options=("SMTPUTF8", "BODY=8BITMIME"))
    event = trial.event("ü@good.test")
    assert (event["type"], event["response"]["enhanced_code"]) == ("Bounce", "5.6.7")
    assert trial.event("ascii@good.test")["type"] == trial.event("b@bücher.test")["type"] == "Delivery"
    assert b"Envelope-to: b@xn--bcher-kva.test\n" in trial.kept("b")


def test_recipients_and_messages_refused(trial: Trial) -> None:
    trial.send("one@good.test", "gone@good.test", "grey@good.test")
    assert trial.event("one@good.test")["type"] == "Delivery"
    gone, grey = trial.event("gone@good.test"), trial.event("grey@good.test")
    assert (gone["type"], gone["response"]["command"], gone["response"]["enhanced_code"]) == ("Bounce", "RCPT", "5.1.1")
    assert (grey["type"], grey["response"]["enhanced_code"]) == ("TransientFailure", "4.7.1")
    trial.send("spam@good.test", subject="spam")
    spam = trial.event("spam@good.test")
    assert (spam["type"], spam["response"]["enhanced_code"]) == ("Bounce", "5.7.1")
