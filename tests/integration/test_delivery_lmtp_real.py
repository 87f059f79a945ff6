"""The program delivers by LMTP to a real server, aiosmtpd's, over a local socket and over TCP at once."""

import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller, UnixSocketController
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.peers import debian
from tests.peers.relay_process import RelayProcess

WORDS = {"good": "250 2.0.0 kept", "full": "452 4.2.2 quota", "gone": "550 5.2.1 off"}


class Store:
    """Answers the dot for each recipient by its local part."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content: Any = envelope.original_content
        answers = [WORDS[address.partition("@")[0]] for address in envelope.rcpt_tos]
        pairs = zip(envelope.rcpt_tos, answers, strict=True)
        self.kept += [(address, content) for address, answer in pairs if answer.startswith("2")]
        return "\r\n".join(answers)


class OverSocket(UnixSocketController):
    def factory(self) -> SMTP:
        return LMTP(self.handler, enable_SMTPUTF8=True)


class OverTcp(Controller):
    def factory(self) -> SMTP:
        return LMTP(self.handler)


def test_verdicts_of_a_real_server(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    store, port = Store(), debian.free_port()
    local = OverSocket(store, unix_socket=str(tmp_path / "lmtp"))
    remote = OverTcp(store, hostname="127.0.0.1", port=port)
    tables = f"""
        [[route]]
        domain = "socket.example"
        next_hop = ["unix:{tmp_path}/lmtp"]
        [[route]]
        domain = "tcp.example"
        next_hop = ["lmtp:127.0.0.1:{port}"]
    """
    local.start()
    remote.start()
    try:
        one = relay(workers=1, tables=tables, retry=("first = '1h'",)).start()
        addresses = [f"{name}@{domain}" for domain in ("socket.example", "tcp.example") for name in WORDS]
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            client.sendmail("s@from.example", addresses, "Subject: hello\r\n\r\n.dot\r\n")
        debian.wait_until(lambda: len(outcomes(one)) == 6, 20, "an outcome for each")
        assert one.stop() == 0, one.said()
    finally:
        local.stop()
        remote.stop()
    kinds = {"good": "Delivery", "full": "TransientFailure", "gone": "Bounce"}
    assert outcomes(one) == {a: (kinds[a.partition("@")[0]], WORDS[a.partition("@")[0]]) for a in addresses}
    assert sorted(address for address, _ in store.kept) == ["good@socket.example", "good@tcp.example"]
    assert all(content.endswith(b"Subject: hello\r\n\r\n.dot\r\n") for _, content in store.kept)


def outcomes(relay: RelayProcess) -> dict[str, tuple[str, str]]:
    """Kind and reply by recipient."""
    found = {}
    for event in relay.lines():
        if event["type"] in ("Delivery", "TransientFailure", "Bounce") and event["sender"]:
            said = event["response"]
            found[event["recipient"]] = event["type"], f"{said['code']} {said['enhanced_code']} {said['content']}"
    return found
