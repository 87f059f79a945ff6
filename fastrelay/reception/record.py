"""What one session leaves in the event log: who it was, what was refused to it, why it ended.

Nothing of a password and nothing of the content ever stands there.
"""

from typing import Any

from fastrelay.eventlog import response
from fastrelay.mail.reply import Reply
from fastrelay.reception.desk import Desk, Stream
from fastrelay.reception.identity import Identity
from fastrelay.smtp.server import Server


class Record:
    """ident: names the session there."""

    __slots__ = ("_desk", "_identity", "_machine", "_stream", "ident")

    def __init__(self, desk: Desk, machine: Server, identity: Identity, stream: Stream, ident: str) -> None:
        self._desk = desk
        self._machine = machine
        self._identity = identity
        self._stream = stream
        self.ident = ident

    def refused(self, answer: Reply, command: str, **fields: Any) -> None:
        """The answer to a command was no."""
        mail = self._machine.mail
        if mail is not None:
            fields.setdefault("sender", mail.sender)
        self._rejected(response=response(answer, command), **fields)

    def ended(self, why: str) -> None:
        """It is over, and not because the client said QUIT; when the house closes nothing was wrong with it."""
        if why != "closing":
            self._rejected(reason=why)

    def _rejected(self, **fields: Any) -> None:
        self._desk.counts.rejected += 1
        self._desk.log.write("Rejection", **fields, **self.who())

    def who(self) -> dict[str, Any]:
        """The fields of each of its lines."""
        machine, identity = self._machine, self._identity
        fields: dict[str, Any] = {
            "session_id": self.ident,
            "peer_address": {"name": machine.helo, "addr": identity.address},
        }
        if machine.user:
            fields["user"] = machine.user
        if identity.checked and identity.known:
            fields["helo_check"] = identity.checked
        layer = self._stream.tls
        if layer is not None:
            cipher = layer.cipher()
            fields["tls_protocol_version"] = layer.version()
            fields["tls_cipher"] = cipher[0] if cipher else ""
            fields.update(identity.shown)
        return fields
