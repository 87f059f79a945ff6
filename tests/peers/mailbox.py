"""A receiving server made of aiosmtpd: keeps what arrives, refuses what a test says."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.peers import debian


@dataclass(frozen=True)
class Arrived:
    """One transaction."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Mailbox:
    """Listens on `port` of 127.0.0.1 inside a `with`. refuse(address): a reply to RCPT, "" takes it.

    at_dot: replies to the final dot in turn, the last one for ever.
    """

    def __init__(self, *, refuse: Callable[[str], str] = lambda address: "", at_dot: tuple[str, ...] = ("250 OK",)):
        self.port = debian.free_port()
        self.arrived: list[Arrived] = []
        self.offered = 0  # final dots seen, refused ones included
        self._refuse = refuse
        self._at_dot = list(at_dot)
        self._news = Condition()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._refuse(address)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._at_dot[0] if len(self._at_dot) == 1 else self._at_dot.pop(0)
        content: Any = envelope.original_content
        with self._news:
            self.offered += 1
            if answer.startswith("2"):
                sender = (envelope.mail_from or "").replace("<>", "")  # how aiosmtpd spells the null sender
                self.arrived.append(Arrived(sender, tuple(envelope.rcpt_tos), content))
            self._news.notify_all()
        return answer

    def wait(self, count: int, seconds: float = 20) -> list[Arrived]:
        """The first `count` arrivals."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.arrived) >= count, seconds), f"{len(self.arrived)} of {count}"
            return self.arrived[:count]

    def wait_offered(self, count: int, seconds: float = 20) -> None:
        """Until `count` messages were offered up to their dot."""
        with self._news:
            assert self._news.wait_for(lambda: self.offered >= count, seconds), f"{self.offered} of {count}"

    def __enter__(self) -> "Mailbox":
        self._controller.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._controller.stop()
