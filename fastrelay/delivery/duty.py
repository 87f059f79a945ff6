"""Who tells the sender of a success: decided where the message was handed over. Pure.

A peer that offers DSN takes that duty over with the parameters (RFC 3461 5.2.1). Else, where the sender asked to be
told, it is ours: a last hop (LMTP) has delivered the message (5.2.3), any other has it, and nobody will hear of it
again (5.2.2).
"""

from collections.abc import Sequence

import msgspec

from fastrelay.delivery.connection import Connection
from fastrelay.mail.envelope import Recipient
from fastrelay.mail.outcome import Delivered, Duty, Outcome
from fastrelay.smtp.dsn import wants


def owed(connection: Connection, recipients: Sequence[Recipient], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, in order, those of a success that we have to tell of marked as such."""
    if connection.client.offer.dsn:
        return list(outcomes)
    duty = Duty.DELIVERED if connection.place.lmtp else Duty.RELAYED
    return [
        msgspec.structs.replace(outcome, duty=duty)
        if isinstance(outcome, Delivered) and wants(recipient, "SUCCESS")
        else outcome
        for recipient, outcome in zip(recipients, outcomes, strict=False)
    ]
