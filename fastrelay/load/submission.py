"""One message handed to a server: made fit for the wire, sent, and what the server said of each recipient."""

import os
import socket
from dataclasses import dataclass
from email.utils import formatdate

from fastrelay.errors import MisuseError
from fastrelay.load.access import OPEN, Access
from fastrelay.load.dialogue import Dialogue
from fastrelay.mail.reply import Reply
from fastrelay.runtime.stream import ticking
from fastrelay.smtp.data import stuff

PATIENCE = 300.0  # seconds for the whole session: a person waits
_FORBIDDEN = frozenset("<>\r\n\0 ")


@dataclass(frozen=True, slots=True)
class Submission:
    """Who sends what to whom; `content` as it goes on the wire, without transparency dots."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    def __post_init__(self) -> None:
        for address in (self.sender, *self.recipients):
            if _FORBIDDEN & set(address) or (address and "@" not in address):
                raise MisuseError(f"{address!r} is not a mail address: write it like someone@example.com")


def prepare(text: bytes, sender: str, recipients: tuple[str, ...], *, wall: float, host: str, token: str) -> bytes:
    """A file or what was typed as message content: every line end CRLF, and the header fields that must be there.

    Text whose first line is no header field is taken for a body. Date, From, Message-ID and To are added where they
    are missing (RFC 6409 8.2, 8.3); `token` makes the Message-ID unique. Everything else stays as it is.
    """
    content = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    head = _header_of(content)
    present = {line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n") if line[:1] not in b" \t"}
    wanted = {
        "Date": formatdate(wall, localtime=True),
        "From": f"<{sender}>",
        "Message-ID": f"<{token}@{host}>",
        "To": ", ".join(f"<{recipient}>" for recipient in recipients),
    }
    if not sender:
        del wanted["From"]
    added = "".join(f"{name}: {value}\r\n" for name, value in wanted.items() if name.lower().encode() not in present)
    return added.encode() + (content if head else b"\r\n" + content)


def _header_of(content: bytes) -> bytes:
    """The header section, b"" when the text begins with something else."""
    name, colon, _ = content.partition(b"\r\n")[0].partition(b":")
    if not colon or not name or not all(33 <= octet <= 126 for octet in name.rstrip(b" \t")):
        return b""
    return content.partition(b"\r\n\r\n")[0]


def submit(host: str, port: int, submission: Submission, access: Access = OPEN) -> dict[str, Reply]:
    """The reply that decided for each recipient. May wait. PeerError when there was none."""
    ticker = ticking()
    dialogue = None
    try:
        hello = socket.gethostname() or "localhost"
        dialogue = Dialogue(host, port, hello=hello, access=access, patience=PATIENCE)
        content = submission.content
        sent = dialogue.transact(
            submission.sender,
            submission.recipients,
            stuff([content]),
            size=len(content),
            eightbit=not content.isascii(),
        )
        dialogue.quit()
    finally:
        if dialogue is not None:
            dialogue.close()
        ticker.close()
    return dict(zip(submission.recipients, sent.replies, strict=True))


def fresh_token() -> str:
    """The left half of a Message-ID that no other message has."""
    return os.urandom(12).hex()
