"""What the server machine tells: values. Those marked "asks" wait for a decision, named behind the arrow."""

import msgspec

from fastrelay.mail.reply import Reply


class Hello(msgspec.Struct, gc=False):
    """HELO or EHLO (machine.helo, .extended). The reply is already given; a message begun by BDAT is forgotten."""


class Mail(msgspec.Struct, gc=False):
    """Asks: may this sender open a transaction? -> mail_ok | refuse.

    sender: "" = null sender. size: what SIZE announced, 0 = nothing. body: "7BIT" | "8BITMIME". ret, envid, smtputf8:
    as in an Envelope.
    """

    sender: str
    size: int
    body: str
    ret: str = ""
    envid: str = ""
    smtputf8: bool = False


class Rcpt(msgspec.Struct, gc=False):
    """Asks: may this sender send to this recipient? -> rcpt_ok | rcpt_expanded | refuse. notify, orcpt: as in a
    Recipient."""

    address: str
    notify: str = ""
    orcpt: str = ""


class Content(msgspec.Struct, gc=False):
    """Content of the message, dots removed. last=True asks: is it taken? -> taken | refuse.

    A message that arrived whole is one Content with last=True.
    """

    octets: bytes
    last: bool


class Spoiled(msgspec.Struct, gc=False):
    """The message will not be taken, whatever else comes: no more Content, the machine gives `reply` at its end.
    command: "DATA" | "BDAT"."""

    reply: Reply
    sender: str
    command: str = "DATA"


class Dropped(msgspec.Struct, gc=False):
    """RSET: the client gave up a message of which it had sent chunks. Already answered."""


class Refused(msgspec.Struct, gc=False):
    """The machine refused a command itself, for a limit an operator set. Already answered; for the log."""

    reply: Reply
    command: str


class Expand(msgspec.Struct, gc=False):
    """Asks, where there are aliases: what does this name stand for? -> expansion. verify: VRFY, else EXPN."""

    name: str
    verify: bool


class StartTls(msgspec.Struct, gc=False):
    """Asks: begin the handshake? -> tls_ok, send what is to be sent, handshake, tls_started | refuse."""


class XClient(msgspec.Struct, gc=False):
    """The client is another: what XCLIENT said of it, and answered already. None: not said; "": it is not known. login:
    the user the trusted peer has let in."""

    name: str | None = None
    address: str | None = None
    login: str = ""


class AuthLookup(msgspec.Struct, gc=False):
    """Asks: SCRAM: what is kept of this user's password? -> auth_verifier | refuse. Strangers have a decoy."""

    user: str


class AuthClaim(msgspec.Struct, gc=False):
    """Asks: is it that user? -> auth_ok | auth_no | refuse. password: None where SCRAM has `proved` it, or not."""

    user: str
    mechanism: str
    password: bytes | None = None
    proved: bool = False

    def __repr__(self) -> str:
        return f"AuthClaim({self.user!r}, {self.mechanism}, {'***' if self.password is not None else self.proved})"


Event = (
    Hello | Mail | Rcpt | Content | Spoiled | Dropped | Refused | Expand | StartTls | XClient | AuthLookup | AuthClaim
)
