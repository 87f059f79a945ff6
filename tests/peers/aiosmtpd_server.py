"""aiosmtpd as a server, in a process of its own: STARTTLS and AUTH are its own; what is not kept goes on by its Proxy.

Run as a program with a JSON file of what the server is to do, it prints its log on stderr. aiosmtpd is no client: its
Proxy hands on by smtplib before it answers the dot; what is added here are STARTTLS and the login.
"""

import json
import signal
import smtplib
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not the folder of this file, whose mailbox.py is not the one aiosmtpd means

from aiosmtpd.controller import Controller  # noqa: E402
from aiosmtpd.handlers import Proxy  # noqa: E402
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session  # noqa: E402

from tests.peers import debian  # noqa: E402
from tests.peers.server import LOCKED, WRONG, Seen, Wish  # noqa: E402


class AiosmtpdServer:
    """A Server."""

    def __init__(self, wish: Wish) -> None:
        self.port = debian.free_port()
        self._log = wish.folder / "log"
        self._box = wish.folder / "box"
        self._box.mkdir()
        self._plan = wish.folder / "plan.json"
        self._plan.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "name": wish.name,
                    "kept": wish.kept,
                    "certificate": str(wish.leaf.certificate),
                    "key": str(wish.leaf.key),
                    "user": wish.account.user,
                    "password": wish.account.password,
                    "box": str(self._box),
                    "smart_host": wish.smart_host,
                    "smart_host_name": wish.smart_host_name,
                    "authority": str(wish.authority),
                    "out_user": wish.way_out.user,
                    "out_password": wish.way_out.password,
                }
            )
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        command: list[str | Path] = [sys.executable, Path(__file__), self._plan]
        with (
            self._log.open("wb") as log,
            debian.running(command, ready=lambda: debian.listens(self.port), stdout=log),
        ):
            yield

    def seen(self, recipient: str) -> Seen:
        facts = self._box / f"{recipient}.json"
        debian.wait_until(facts.exists, 20, f"{facts} of aiosmtpd")
        return Seen(**json.loads(facts.read_text()), content=(self._box / f"{recipient}.eml").read_bytes())

    def said(self) -> str:
        return self._log.read_text(errors="replace")


class _Road(Proxy):
    """What is kept, and the way of all other mail."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__("127.0.0.1", plan["smart_host"])
        self._plan = plan

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipient = envelope.rcpt_tos[0]
        if not recipient.endswith("@" + self._plan["kept"]):
            return await super().handle_DATA(server, session, envelope)
        path = Path(self._plan["box"]) / recipient
        content = envelope.original_content
        assert content is not None and session.ssl is not None and session.auth_data is not None
        mechanism, login = session.auth_data
        Path(f"{path}.eml").write_bytes(content)
        facts = {
            "sender": envelope.mail_from,
            "recipient": recipient,
            "user": login.login.decode(),
            "mechanism": mechanism,
            "tls": session.ssl["cipher"][1],
        }
        Path(f"{path}.new").write_text(json.dumps(facts))
        Path(f"{path}.new").rename(f"{path}.json")
        return "250 kept"

    def _deliver(self, mail_from: str, rcpt_tos: list[str], data: str | bytes) -> dict[str, tuple[int, bytes]]:
        plan = self._plan
        word = WRONG if rcpt_tos[0].endswith("@" + LOCKED) else plan["out_password"]
        options = () if mail_from.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        try:
            with smtplib.SMTP("127.0.0.1", plan["smart_host"], timeout=20) as client:
                client._host = plan["smart_host_name"]  # type: ignore[attr-defined]  # the name that is verified
                client.ehlo(plan["name"])
                client.starttls(context=ssl.create_default_context(cafile=plan["authority"]))
                client.ehlo(plan["name"])
                client.user, client.password = plan["out_user"], word
                client.auth("plain", client.auth_plain)  # login() tries a refused password by every mechanism
                client.sendmail(mail_from, rcpt_tos, data, options)
                assert isinstance(client.sock, ssl.SSLSocket)
                print(f"handed on as {plan['out_user']}: {client.sock.version()}", file=sys.stderr, flush=True)
        except smtplib.SMTPResponseException as refused:
            print(f"refused: {refused!r}", file=sys.stderr, flush=True)
            raise
        return {}

    async def handle_exception(self, error: Exception) -> str:
        """The sender hears it: nothing is queued here."""
        return f"451 not handed on: {error}"


def main(plan: dict[str, Any]) -> None:
    """Until TERM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plan["certificate"], plan["key"])

    def judge(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = data == LoginPassword(plan["user"].encode(), plan["password"].encode())
        print(f"login {mechanism} {data.login!r}: {good}", file=sys.stderr, flush=True)
        return AuthResult(success=good, handled=False, auth_data=(mechanism, data))

    controller = Controller(
        _Road(plan),
        hostname="127.0.0.1",
        port=plan["port"],
        server_hostname=plan["name"],
        tls_context=context,
        require_starttls=True,
        authenticator=judge,
        auth_required=True,
        auth_require_tls=True,
        enable_SMTPUTF8=True,
    )
    controller.start()
    signal.sigwait({signal.SIGTERM})
    controller.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(json.loads(Path(sys.argv[1]).read_text()))
