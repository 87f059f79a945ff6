"""Postfix as a server: TLS both ways, AUTH both ways by Cyrus SASL (SCRAM-SHA-256 too), SMTPUTF8; started by root.

Set up as bench/rivals/postfix.py does it, but for the parameters that stand here. Cyrus SASL's plugins and the program
that writes its passwords are unpacked by `.ci/peers`.
"""

import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.relay import Wish as BenchWish
from bench.rivals.postfix import OWNER, Postfix
from tests.peers import debian
from tests.peers.server import LOCKED, WRONG, Seen, Wish

# SASL_README, TLS_README, VIRTUAL_README, SMTPUTF8_README
MAIN = """\
myhostname = {name}
import_environment = MAIL_CONFIG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH SASL_PATH
mynetworks = 192.0.2.0/24
smtputf8_enable = yes

smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_loglevel = 1
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {folder}/config/sasl
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject

virtual_mailbox_domains = {kept}
virtual_mailbox_base = {folder}/box
virtual_mailbox_maps = static:all/
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}

relayhost = [127.0.0.1]:{smart_host}
transport_maps = inline:{{ {locked}=smtp:[localhost]:{smart_host} }}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = texthash:{folder}/passwords
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = {smart_host_name}
smtp_tls_CAfile = {authority}
smtp_tls_loglevel = 1
minimal_backoff_time = 3600s
queue_run_delay = 3600s
"""
SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/config/sasl/users
mech_list: PLAIN LOGIN SCRAM-SHA-256
"""


class PostfixServer:
    """A Server."""

    def __init__(self, wish: Wish) -> None:
        if why := Postfix().missing():
            (pytest.fail if os.environ.get("FASTRELAY_PEERS") == "required" and debian.is_root() else pytest.skip)(why)
        saslpasswd, plugin = (
            debian.need("saslpasswd2", "sasl2-bin"),
            debian.need("sasl2/libscram.so", "libsasl2-modules"),
        )
        self._folder = folder = wish.folder
        setup = Postfix().prepare(folder, BenchWish(sink=wish.smart_host))
        self.port, self._command = setup.port, setup.command
        self._env = setup.env | {"SASL_PATH": str(plugin.parent)}
        owner = pwd.getpwnam(OWNER)
        main = MAIN.format(
            name=wish.name, folder=folder, key=wish.leaf.key, certificate=wish.leaf.certificate, kept=wish.kept,
            locked=LOCKED, smart_host=wish.smart_host, smart_host_name=wish.smart_host_name, authority=wish.authority,
            uid=owner.pw_uid, gid=owner.pw_gid,
        )  # fmt: skip
        ours = {line.partition(" = ")[0] for line in main.splitlines() if " = " in line}
        file = folder / "config/main.cf"
        theirs = [line for line in file.read_text().splitlines() if line.partition(" = ")[0].rstrip(" =") not in ours]
        file.write_text("\n".join(theirs) + "\n" + main)
        out = wish.way_out
        (folder / "passwords").write_text(
            f"[127.0.0.1]:{wish.smart_host} {out.user}:{out.password}\n"
            f"[localhost]:{wish.smart_host} {out.user}:{WRONG}\n"
        )
        for name in ("box", "config/sasl"):
            (folder / name).mkdir()
            os.chown(folder / name, owner.pw_uid, owner.pw_gid)
        (folder / "config/sasl/smtpd.conf").write_text(SASL.format(folder=folder))
        user, _, realm = wish.account.user.partition("@")
        users = folder / "config/sasl/users"
        done = debian.run(
            [saslpasswd, "-c", "-p", "-f", users, "-u", realm, user],
            stdin=wish.account.password.encode(),
            env=self._env,
        )
        assert done.returncode == 0, done.stderr
        os.chown(users, owner.pw_uid, owner.pw_gid)

    @contextmanager
    def running(self) -> Iterator[None]:
        with debian.running(self._command, ready=lambda: debian.listens(self.port), env=self._env):
            yield

    def seen(self, recipient: str) -> Seen:
        def found() -> list[bytes]:
            texts = [file.read_bytes() for file in (self._folder / "box/all/new").glob("*")]
            return [text for text in texts if b"\nDelivered-To: " + recipient.encode() + b"\n" in text]

        debian.wait_until(lambda: bool(found()), 20, f"{recipient} at Postfix")
        (text,) = found()
        added = re.match(rb"Return-Path: <(.*)>\nX-Original-To: .*\nDelivered-To: .*\n", text)
        assert added is not None, text
        said = self.said()
        sender = added[1].decode()
        taken = re.search(rf"(\w+): from=<{re.escape(sender)}>", said)
        assert taken is not None, said
        line = re.search(rf"smtpd\[(\d+)\]: {taken[1]}: client=.* sasl_method=(.*), sasl_username=(.*)", said)
        tls = re.search(rf"smtpd\[{line[1]}\]: .* TLS connection established .*: (TLSv1\.\d)", said) if line else None
        return Seen(
            sender,
            recipient,
            line[3] if line else "",
            line[2] if line else "",
            tls[1] if tls else "",
            text[added.end() :].replace(b"\n", b"\r\n"),
        )

    def said(self) -> str:
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""
