"""What became of one delivery attempt, for one recipient: Delivered, Deferred or Failed.

One type for every room: connection, classify, settle and the event log all speak it. Permanence is derived in one place
(settlement/classify.py); what is unknown is temporary.
"""

import enum

import msgspec

from fastrelay.mail.reply import Reply


class Scope(enum.Enum):
    """How far a failure reaches: only this recipient, the whole message, this host, or the whole site."""

    __hash__ = object.__hash__  # that of Enum is a Python function, called at every look into a table

    RECIPIENT = "recipient"
    MESSAGE = "message"
    HOST = "host"
    SITE = "site"


class Phase(enum.Enum):
    """Where in the dialogue it happened (RFC 5321 4.5.3.2 gives each its own timeout)."""

    __hash__ = object.__hash__  # as above

    ROUTE = "route"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    DOT = "dot"
    QUEUE = "queue"  # decided at home: expired, removed, spool damaged


class Duty(enum.Enum):
    """Who tells the sender of a success that it asked to be told of (RFC 3461 5.2.1 to 5.2.3)."""

    __hash__ = object.__hash__  # as above

    PASSED = "passed"  # nobody asked, or the peer has taken that duty over with the message
    RELAYED = "relayed"  # the peer knows nothing of notices: we say that it has the message
    DELIVERED = "delivered"  # it was the last hop: we say that the message was delivered


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Common part. reply: the peer's words, or ours with the code a DSN would carry; host, address: who said it."""

    reply: Reply
    phase: Phase
    scope: Scope
    host: str = ""
    address: str = ""


class Delivered(Outcome, frozen=True, gc=False):
    """The peer took responsibility: 2xx to this recipient and to the final dot."""

    duty: Duty = Duty.PASSED


class Deferred(Outcome, frozen=True, gc=False):
    """Keep and retry. uncertain: the final dot was sent and no answer came, so the peer may have it (RFC 1047).

    ours: the words are ours, about `host`, which did not say them.

    retry_after: seconds the peer asked for, 0 = it did not. crowded: it said that we hold too many connections.
    """

    uncertain: bool = False
    retry_after: float = 0.0
    crowded: bool = False
    ours: bool = False


class Failed(Outcome, frozen=True, gc=False):
    """Permanent: bounce, once. ours: as in Deferred."""

    ours: bool = False
