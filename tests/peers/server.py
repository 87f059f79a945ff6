"""What a test asks of a real mail server that takes mail from us and hands mail on through us, whichever it is.

Each takes mail only from `Wish.account`, inside TLS. Mail for `Wish.kept` stays there to be looked at; everything else
goes out through a smart host, inside TLS that must verify, logged in as `Wish.way_out`; mail for LOCKED goes with WRONG
for a password.
"""

import smtplib
import ssl
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.peers.certificates import Leaf

LOCKED = "locked.test"
WRONG = "not the password"


@dataclass(frozen=True, slots=True)
class Account:
    """A name and its password."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Wish:
    """How a server is to be set up. folder: its own, open to the account it may change to. name: what it calls itself.

    smart_host: a port of 127.0.0.1, whose certificate is `smart_host_name`'s, signed by `authority`.
    """

    folder: Path
    name: str
    kept: str
    leaf: Leaf
    authority: Path
    account: Account
    smart_host: int
    smart_host_name: str
    way_out: Account


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as the server took it: who had logged in, how, inside which TLS, in its words; content with CRLF."""

    sender: str
    recipient: str
    user: str
    mechanism: str
    tls: str
    content: bytes


class Server(Protocol):
    """One of tests/peers/{postfix,exim_server,haraka,aiosmtpd_server}.py."""

    port: int

    def running(self) -> AbstractContextManager[None]:
        """Until the end of the block."""

    def seen(self, recipient: str) -> Seen:
        """The one message for that address at `Wish.kept`; waits for it."""

    def said(self) -> str:
        """Its log so far."""


def submit(
    port: int, account: Account, sender: str, to: str, content: bytes, options: tuple[str, ...] = ()
) -> tuple[int, bytes] | None:
    """smtplib hands in a message as `account`, inside TLS. None when it was taken, else what the server said."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo("client.test")
        client.starttls(context=context)
        client.ehlo("client.test")
        client.user, client.password = account.user, account.password
        client.auth("plain", client.auth_plain)
        try:
            client.sendmail(sender, [to], content, options)
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[to]
        except smtplib.SMTPDataError as refused:
            return refused.smtp_code, bytes(refused.smtp_error)  # type: ignore[arg-type]
    return None
