"""Exim as a server: TLS and AUTH both ways, CHUNKING and SMTPUTF8; it must be started by root."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.peers import debian
from tests.peers.exim import Exim
from tests.peers.server import LOCKED, WRONG, Seen, Wish

CONFIG = """\
acl_smtp_rcpt = rcpt
smtputf8_advertise_hosts = *
deliver_drop_privilege = true
received_header_text =

begin acl
rcpt:
  require message = log in first
          authenticated = *
  accept

begin routers
kept:
  driver = accept
  domains = {kept}
  transport = box
out:
  driver = manualroute
  transport = ${{if eq{{$domain}}{{{locked}}}{{locked}}{{out}}}}
  route_list = * 127.0.0.1
  self = send

begin transports
box:
  driver = appendfile
  directory = {{folder}}/box
  maildir_format
  envelope_to_add
  return_path_add
out:
  driver = smtp
  port = {smart_host}
  hosts_require_tls = *
  hosts_require_auth = *
  tls_verify_certificates = {authority}
  tls_verify_hosts = *
locked:
  driver = smtp
  port = {smart_host}
  hosts_require_tls = *
  hosts_require_auth = *
  tls_verify_certificates = {authority}
  tls_verify_hosts = *

begin retry
* * F,1d,1h

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
  client_send = ^{out_user}^${{if eq{{$transport_name}}{{locked}}{{{wrong}}}{{{out_password}}}}}
"""


class EximServer:
    """A Server."""

    def __init__(self, wish: Wish) -> None:
        if not debian.is_root():
            pytest.skip("Exim must be started by root")
        self._folder = wish.folder
        config = CONFIG.format(
            kept=wish.kept, locked=LOCKED, wrong=WRONG, smart_host=wish.smart_host, authority=wish.authority,
            user=wish.account.user, password=wish.account.password,
            out_user=wish.way_out.user, out_password=wish.way_out.password,
        )  # fmt: skip
        self._exim = Exim(wish.folder, wish.leaf, config)
        self.port = self._exim.port

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._exim.running():
            yield

    def seen(self, recipient: str) -> Seen:
        def found() -> list[bytes]:
            texts = [file.read_bytes() for file in (self._folder / "box" / "new").glob("*")]
            return [text for text in texts if b"Envelope-to: " + recipient.encode() + b"\n" in text]

        debian.wait_until(lambda: bool(found()), 20, f"{recipient} at Exim")
        (text,) = found()
        added = re.match(rb"Return-path: <(.*)>\nEnvelope-to: .*\n", text)
        assert added is not None, text
        sender = added[1].decode()
        line = re.search(rf" <= {re.escape(sender)} .*", self.said())
        assert line is not None, self.said()
        user, tls = re.search(r" A=plain:(\S+)", line[0]), re.search(r" X=(TLS1\.\d)", line[0])
        return Seen(
            sender,
            recipient,
            user[1] if user else "",
            "PLAIN" if user else "",
            tls[1] if tls else "",
            text[added.end() :].replace(b"\n", b"\r\n"),
        )

    def said(self) -> str:
        log = self._folder / "log" / "mainlog"
        return log.read_text(errors="replace") if log.exists() else ""
