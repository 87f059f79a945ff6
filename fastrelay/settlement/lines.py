"""The event lines of settlement: Delivery, TransientFailure, Bounce, Expiration.

Fields as eventlog.py names them. Those of the message and of the attempt are the same for all recipients of an item and
made once. delays: before the queue (from 354 to the dot), in the queue, connecting, transmitting; seconds. `notice`, in
Bounce and Expiration, and in Delivery where one was asked for: id of the notice to the sender, or why there is none.
"""

from typing import Any

from fastrelay.eventlog import response
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.outcome import Outcome, Phase
from fastrelay.mail.reply import Reply
from fastrelay.settlement.faces import EventLog, Item, Road

_ANSWERED = {  # which of our commands a reply of that phase answers
    Phase.EHLO: "EHLO",
    Phase.STARTTLS: "STARTTLS",
    Phase.AUTH: "AUTH",
    Phase.MAIL: "MAIL",
    Phase.RCPT: "RCPT",
    Phase.DATA: "DATA",
    Phase.CONTENT: "DATA",
}


class Lines:
    """The lines of one item's attempt. attempts: made so far, this one included. road: the carrier that made it, None
    when no connection was asked for."""

    __slots__ = ("_envelope", "_fields", "_log")

    def __init__(
        self,
        log: EventLog,
        item: Item,
        envelope: Envelope,
        site: str,
        wall: float,
        attempts: int,
        road: Road | None,
    ) -> None:
        self._log = log
        self._envelope = envelope
        connecting = transmitting = 0.0
        self._fields = fields = {
            "id": item.ident,
            "sender": envelope.sender,
            "site": site,
            "size": envelope.size,
            "created_time": envelope.created,
            "num_attempts": attempts,
            "session_id": envelope.session,
        }
        if road is not None:
            connecting, transmitting = road.connect_seconds, road.transmit_seconds
            if road.login:
                fields["login"] = road.login
            connection = road.connection
            if connection is not None:
                fields["source_address"] = connection.local_address
                if road.converted:
                    fields["converted"] = "7bit"
                version = connection.tls_version
                if version:
                    fields["tls_protocol_version"] = version
                    fields["tls_cipher"] = connection.tls_cipher
                    fields["tls_verified"] = not connection.tls_doubt
                    if connection.tls_doubt:
                        fields["tls_doubt"] = connection.tls_doubt
        queued = wall - envelope.created - connecting - transmitting
        fields["delays"] = [
            round(envelope.arriving, 6),
            round(queued, 6) if queued > 0.0 else 0.0,
            round(connecting, 6),
            round(transmitting, 6),
        ]

    def write(self, kind: str, index: int, outcome: Outcome, **more: Any) -> None:
        """What became of one recipient."""
        self._log.write(
            kind,
            **self._fields,
            recipient=self._envelope.recipients[index].address,
            response=response(outcome.reply, "." if outcome.phase is Phase.DOT else _ANSWERED.get(outcome.phase, "")),
            peer_address={"name": outcome.host, "addr": outcome.address},
            **more,
        )

    def write_expired(self, index: int, outcome: Outcome, **more: Any) -> None:
        """Time ran out for one recipient; the last word it got stands in the text."""
        last = outcome.reply
        text = f"delivery time expired; last: {last if last.code else last.text}"
        self._log.write(
            "Expiration",
            **self._fields,
            recipient=self._envelope.recipients[index].address,
            response=response(Reply(551, "5.4.7", (text,))),
            peer_address={"name": outcome.host, "addr": outcome.address},
            **more,
        )
