"""How far one client has come, what it has been told, and how its errors are counted. Pure; the ground of the server
machine (server.py), which reads and decides, and of its verbs (verbs.py), which answer.

Whatever goes wrong in a dialogue goes through one of four ends: `error` (a reply that counts), `count_junk` (a command
that leads to no mail), `out_of_step` (octets where a reply had to come first: hang up) and `end`.
"""

from fastrelay.mail.envelope import Recipient
from fastrelay.mail.reply import Reply, reply
from fastrelay.smtp import words
from fastrelay.smtp.chunk import Chunk
from fastrelay.smtp.events import AuthClaim, AuthLookup, Content, Event, Expand, Mail, Rcpt, StartTls
from fastrelay.smtp.incoming import Incoming
from fastrelay.smtp.lines import Lines
from fastrelay.smtp.phases import OUT_OF_ORDER, TRANSITIONS, State, Step
from fastrelay.smtp.sasl.server import Exchange
from fastrelay.smtp.terms import MAX_ERRORS, MAX_JUNK, Terms

_CLOSED = State.CLOSED
_ON_CLOSE = TRANSITIONS[Step.CLOSE]


class Dialogue:
    """One connection. asked: the question that waits for a decision. out: replies not taken yet."""

    __slots__ = (
        "asked",
        "chunk",
        "errors",
        "exchange",
        "expanded",
        "extended",
        "helo",
        "incoming",
        "junk",
        "lines",
        "mail",
        "max_errors",
        "out",
        "over",
        "recipients",
        "refused",
        "state",
        "surplus",
        "terms",
        "tls",
        "user",
    )

    def __init__(self, terms: Terms, *, tls: bool = False) -> None:
        self.terms = terms
        self.lines = Lines()
        self.out: list[bytes] = []
        self.asked: Mail | Rcpt | Content | Expand | StartTls | AuthLookup | AuthClaim | None = None
        self.incoming: Incoming | None = None  # from the first DATA or BDAT on
        self.chunk: Chunk | None = None  # from the first BDAT on
        self.junk = 0
        self.refused = 0  # recipients over the limit in this transaction
        self.state = State.START
        self.helo = ""
        self.extended = False
        self.tls = tls
        self.user = ""  # who logged in
        self.exchange: Exchange | None = None  # of AUTH, while it is under way
        self.mail: Mail | None = None  # of the open transaction
        self.expanded: list[Recipient] | None = None  # accepted names of this transaction that stand for others
        self.recipients: dict[str, Recipient] = {}  # accepted, by mailbox: twice the same is one
        self.errors = 0  # since the last message taken
        self.max_errors = MAX_ERRORS  # the owner may allow fewer
        self.over = ""
        self.surplus = False  # at the end of the dialogue octets were there that nobody will look at

    @property
    def sender(self) -> str:
        """Of the open transaction, "" for none too."""
        return self.mail.sender if self.mail is not None else ""

    # -- answers --------------------------------------------------------------------------------------------------

    def said(self, octets: bytes) -> Event | None:
        """The answer to a command that ends a group and leads to no mail."""
        if self.lines.pending:
            return self.out_of_step()
        self.count_junk()
        if self.state is not _CLOSED:
            self.out.append(octets)
        return None

    def error(self, answer: Reply) -> Event | None:
        """A reply that counts as an error; the last one allowed is followed by 421."""
        self.out.append(answer.to_wire())
        self.errors += 1
        if self.errors >= self.max_errors:
            self.hang_up(self.terms.too_many_errors, "too many errors")
        return None

    def count_junk(self) -> None:
        """One more command that leads to no mail; beyond MAX_JUNK each is an error."""
        self.junk += 1
        if self.junk > MAX_JUNK:
            self.errors += 1
            if self.errors >= self.max_errors:
                self.hang_up(self.terms.too_many_errors, "too many commands without mail")

    def out_of_order(self, step: Step) -> Event | None:
        """The command may not follow what was said before."""
        return self.error(reply(503, "5.5.1", OUT_OF_ORDER[step][self.state]))

    def out_of_step(self) -> Event | None:
        """Octets stand behind a command that ends a group: nothing could tell a command from injected text there."""
        self.errors += 1
        self.hang_up(words.OUT_OF_STEP, "commands sent ahead of a reply")
        return None

    # -- ends -----------------------------------------------------------------------------------------------------

    def hang_up(self, answer: Reply | None, why: str) -> None:
        """End the connection: 421 and the like."""
        if self.state is not _CLOSED:
            self.asked = None
            if answer is not None:
                self.out.append(answer.to_wire())
            self.end(why)

    def end(self, why: str) -> None:
        """Nothing more is looked at; `over` says why."""
        self.state = _ON_CLOSE[self.state]
        self.over = why
        self.surplus = self.lines.pending
        self.lines.clear()
        self.forget()

    def forget(self) -> None:
        """No transaction is open."""
        self.mail = None
        if self.recipients:
            self.recipients = {}
            self.expanded = None
