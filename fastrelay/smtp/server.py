"""The server's side of SMTP as a machine without I/O (RFC 5321; 1870, 2034, 2920, 3030, 3207, 3461, 4954, 6152, 6531).

    machine.greet()
    loop:   event = machine.next_event()
            event is None:  write machine.take_output() in one go; end if machine.state is CLOSED; read; machine.feed()
            an event that asks (events.py):  give the decision it names, then ask for the next

Replies gather until `next_event` finds nothing more to do, so a pipelined group is answered by one write (RFC 2920).
What needs no decision (order, syntax, sizes, HELP, ...) is answered by the verbs (verbs.py). A line that is wrong gets
its error and the dialogue stays in step; where it cannot, the connection ends: octets behind a command that ends a
group (RFC 2920 3.1: EHLO, DATA, NOOP, VRFY, STARTTLS, AUTH; nothing could tell a command from injected text there), a
talker that is not SMTP, too many errors, a spoiled message that never ends. `over` then says why.

Promises: a message ends at CRLF "." CRLF alone, or with the last octet of a BDAT LAST; addresses, parameters and names
handed on are printable ASCII, or, where the transaction asked for SMTPUTF8, well-formed UTF-8 without controls
(grammar.py); memory per session is bounded by one read, the recipients allowed and MAX_LINE.

Measured: EHLO, MAIL, RCPT, DATA, 5 KB of content, QUIT in 6 reads: 27 us, 10 of them the dot codec.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from fastrelay.errors import MisuseError
from fastrelay.mail.envelope import Recipient
from fastrelay.mail.reply import Reply, reply
from fastrelay.smtp import authentication, words
from fastrelay.smtp.dialogue import Dialogue
from fastrelay.smtp.dsn import expand, joined, typed
from fastrelay.smtp.events import AuthClaim, AuthLookup, Content, Event, Expand, Mail, Rcpt, Spoiled, StartTls
from fastrelay.smtp.extensions import Extension
from fastrelay.smtp.grammar import PRINTABLE, Malformed, text
from fastrelay.smtp.incoming import SWALLOWED
from fastrelay.smtp.lines import OVERLONG
from fastrelay.smtp.phases import TRANSITIONS, State, Step
from fastrelay.smtp.sasl.scram import Verifier
from fastrelay.smtp.verbs import COMMANDS, unknown

_CHUNKS, _CONTENT, _CHUNK, _CLOSED = State.CHUNKS, State.CONTENT, State.CHUNK, State.CLOSED
_ON_MAIL, _ON_RCPT, _ON_END = TRANSITIONS[Step.MAIL], TRANSITIONS[Step.RCPT], TRANSITIONS[Step.END]
_AUTH = State.AUTH
_ON_TLS, _ON_MORE = TRANSITIONS[Step.TLS], TRANSITIONS[Step.MORE]

_WITH_ADDRESS = (b"MAIL ", b"RCPT ", b"VRFY ", b"EXPN ")
_TLS_RECORD = b"\x16\x03"

_Asking = TypeVar("_Asking", Mail, Rcpt, Content, Expand, StartTls, AuthLookup, AuthClaim)


class Server(Dialogue):
    """One connection. For its owner to read: state, helo, extended, tls, mail, recipients, expanded,
    user, size, changes, errors, over, surplus."""

    __slots__ = ()

    # -- octets ---------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """The first reply: 220."""
        self.out.append(self.terms.greeting)

    def feed(self, octets: bytes) -> None:
        """What was read from the client."""
        self.lines.feed(octets)

    def take_output(self) -> bytes:
        """The replies that have gathered, b"" when none."""
        out = self.out
        if not out:
            return b""
        octets = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return octets

    @property
    def size(self) -> int:
        """Octets of content of the message on its way, or of the last one."""
        return self.incoming.size if self.incoming is not None else 0

    @property
    def changes(self) -> dict[str, Any]:
        """What was done to the message just received, for the log (incoming.py); {} when nothing."""
        return self.incoming.changes if self.incoming is not None else {}

    def next_event(self) -> Event | None:
        """What happened; None when the client has to say more (or the connection is CLOSED)."""
        if self.asked is not None:
            raise MisuseError(f"{type(self.asked).__name__} waits for a decision")
        lines = self.lines
        while True:
            state = self.state
            if state > _CHUNKS:  # no command is due
                if state is _CONTENT:
                    return self._content()
                if state is _CLOSED:
                    return None
                if state is _AUTH:
                    return authentication.line(self)
                event = self._chunk() if state is _CHUNK else self._astray()
                if event is not None or self.state is state:
                    return event
                continue
            line = lines.take()
            if line is None:
                if state is State.START and lines.starts_with(_TLS_RECORD):
                    self.end("not SMTP: a TLS record")
                return None
            if line is OVERLONG:
                self.error(words.OVERLONG_LINE)
                continue
            if line.translate(None, PRINTABLE) and not self._beyond_ascii(line):
                if state is State.START and line.startswith(_TLS_RECORD):
                    self.end("not SMTP: a TLS record")
                else:
                    self.error(words.BAD_OCTETS)
                continue
            verb, _, argument = line.partition(b" ")
            command = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
            if command is None:
                unknown(self, verb, argument)
                continue
            event = command(self, argument)
            if event is not None:
                return event

    def _beyond_ascii(self, line: bytes) -> bool:
        """A command that may hold addresses beyond ASCII, in well-formed UTF-8 without controls (RFC 6531 3.3)."""
        if line[:5].upper() not in _WITH_ADDRESS or Extension.SMTPUTF8 not in self.terms.offered:
            return False
        try:
            text(line)
        except Malformed:
            return False
        return True

    # -- decisions ------------------------------------------------------------------------------------------------

    def mail_ok(self) -> None:
        """The sender may go on."""
        self.mail = self._answered(Mail)
        self.state = _ON_MAIL[self.state]
        self.out.append(words.MAIL_OK)

    def rcpt_ok(self, address: str = "") -> None:
        """The recipient is accepted; `address` replaces what the client wrote (a bare <postmaster>)."""
        asked = self._answered(Rcpt)
        name = address or asked.address
        self.state = _ON_RCPT[self.state]
        one = Recipient(name, asked.notify, asked.orcpt)
        mailbox = name if name.islower() else _mailbox(name)
        if mailbox in self.recipients:
            one = joined(self.recipients[mailbox], one)
        self.recipients[mailbox] = one
        self.out.append(words.RCPT_OK)

    def has_room(self, addresses: Sequence[str]) -> bool:
        """May the recipient asked about stand for these? The limit is on what it becomes, but a name that stands for
        more than all the recipients of a transaction still goes alone."""
        named = self.recipients
        further = sum(_mailbox(one) not in named for one in addresses)
        return not named or len(named) + further <= self.terms.max_recipients

    def rcpt_expanded(self, name: str, addresses: Sequence[str]) -> None:
        """The recipient is accepted; by this name it stands for these."""
        asked = self._answered(Rcpt)
        self.state = _ON_RCPT[self.state]
        named: tuple[Recipient, ...]
        if len(addresses) == 1:  # only passed on: its own success is told of (RFC 3461 5.2.7.1)
            named = (Recipient(addresses[0], asked.notify, asked.orcpt or typed(name)),)
        else:
            alias = Recipient(name, asked.notify, asked.orcpt)
            named = expand(alias, addresses)
            if self.expanded is None:
                self.expanded = []
            self.expanded.append(alias)
        recipients = self.recipients
        for one in named:
            mailbox = _mailbox(one.address)
            before = recipients.get(mailbox)
            recipients[mailbox] = one if before is None else joined(before, one)
        self.out.append(words.RCPT_OK)

    def expansion(self, addresses: Sequence[str]) -> None:
        """What the name stands for; nothing where it is no alias."""
        asked = self._answered(Expand)
        if asked.verify:
            name = self.terms.whole(asked.name)
            self.out.append(reply(250, "2.1.5", f"<{name}>").to_wire() if addresses else words.VRFY)
        elif not addresses:
            self.error(words.NO_ALIAS)
        else:
            self.out.append(reply(250, "2.1.5", *(f"<{one}>" for one in addresses)).to_wire())

    def taken(self, ident: str) -> None:
        """The message is ours. Only now: 250."""
        self._answered(Content)
        self.out.append(words.TAKEN % ident.encode("ascii"))
        self.errors = self.junk = 0
        self._leave_content()

    def tls_ok(self) -> None:
        """The handshake may begin once the output is written; what the client sends next is its hello."""
        self._answered(StartTls)
        self.out.append(words.TLS_GO)

    def tls_started(self) -> None:
        """The handshake is done: the client begins again at EHLO (RFC 3207 4.2)."""
        self.lines.clear()
        self.forget()
        self.state = _ON_TLS[self.state]
        self.helo = ""
        self.extended = False
        self.tls = True
        self.user = ""

    def auth_verifier(self, verifier: Verifier) -> None:
        """What is kept of the user's password, or a decoy for a stranger."""
        self._answered(AuthLookup)
        authentication.know(self, verifier)

    def auth_ok(self) -> None:
        """It is he: `user` from now on."""
        self.user = self._answered(AuthClaim).user
        authentication.ended(self)
        self.out.append(words.AUTH_OK)

    def auth_no(self, *, last: bool = False) -> None:
        """It is not. last: nor may the client try again here."""
        self._answered(AuthClaim)
        authentication.ended(self)
        self.error(words.AUTH_NO)
        if last:
            self.hang_up(words.AUTH_NO_MORE, "too many failed logins")

    def refuse(self, answer: Reply, *, blame: bool = True) -> None:
        """No, to whatever was asked. blame: it counts against the client (not when the shortage is ours)."""
        asked, self.asked = self.asked, None
        if asked is None:
            raise MisuseError("nothing was asked")
        if type(asked) is Content:
            self._leave_content()
        elif self.state is _AUTH:
            authentication.ended(self)
        if blame:
            self.error(answer)
        else:
            self.out.append(answer.to_wire())

    def spoil(self, answer: Reply) -> None:
        """The message on its way cannot be taken: swallow the rest and say so at its end."""
        if self.state not in (_CONTENT, _CHUNK) or self.asked is not None:
            raise MisuseError("no message is on its way")
        assert self.incoming is not None
        self.incoming.spoil(answer)

    def _answered(self, kind: type[_Asking]) -> _Asking:
        asked = self.asked
        if type(asked) is not kind:
            raise MisuseError(f"no {kind.__name__} was asked")
        self.asked = None
        return asked

    # -- content --------------------------------------------------------------------------------------------------

    def _content(self) -> Event | None:
        octets = self.lines.take_all()
        if not octets:
            return None
        incoming = self.incoming
        assert incoming is not None
        before = incoming.verdict
        content, rest = incoming.feed(octets)
        verdict = incoming.verdict
        if verdict is None:
            if rest < 0:
                return Content(content, False) if content else None
            self.lines.put_back(octets, rest)
            self.asked = event = Content(content, True)
            return event
        sender = self.sender
        if rest >= 0:
            self.lines.put_back(octets, rest)
            self._end_spoiled(verdict)
        elif incoming.endless:
            self.hang_up(words.ENDLESS, "a refused message that does not end")
        if before is None:
            return Spoiled(verdict, sender)
        return self.next_event() if rest >= 0 else None

    def _end_spoiled(self, answer: Reply) -> None:
        self._leave_content()
        if answer.code < 500:
            self.out.append(answer.to_wire())
        else:
            self.error(answer)

    # -- chunks ---------------------------------------------------------------------------------------------------

    def _chunk(self) -> Event | None:
        """What there is of a chunk. It is answered one step after its last octet was handed on, for the owner may
        have spoiled the message then."""
        chunk, incoming = self.chunk, self.incoming
        assert chunk is not None and incoming is not None
        before = incoming.verdict
        content = b""
        if chunk.left:
            octets = self.lines.take_most(chunk.left)
            if not octets:
                return None
            chunk.left -= len(octets)
            content = incoming.chunk(octets)
        ends = chunk.last and not chunk.left
        if ends and before is None:
            rest = incoming.finish()
            content = content + rest if rest else content
        verdict = incoming.verdict
        if verdict is None:
            if ends:
                self.asked = asked = Content(content, True)
                return asked
            if content:
                return Content(content, False)
            if not chunk.left:
                self._end_chunk(chunk.size)
            return None
        if before is None:
            return Spoiled(verdict, self.sender, "BDAT")
        if not chunk.left:
            chunk.blamed = True
            self._end_spoiled(verdict)
        elif incoming.endless:
            self.hang_up(words.ENDLESS, "a refused message that does not end")
        return None

    def _end_chunk(self, size: int) -> None:
        if not size:
            self.count_junk()
            if self.state is _CLOSED:
                return
        self.state = _ON_MORE[self.state]
        self.out.append(words.CHUNK_OK % size)

    def _astray(self) -> Event | None:
        """What there is of a chunk that belongs to no message."""
        chunk = self.chunk
        assert chunk is not None and chunk.answer is not None
        if chunk.left:
            octets = self.lines.take_most(chunk.left)
            chunk.left -= len(octets)
            if chunk.left:
                if chunk.size - chunk.left > 2 * self.terms.max_size + SWALLOWED:
                    self.hang_up(words.ENDLESS, "a refused chunk that does not end")
                return None
        self.state = chunk.back
        if chunk.blamed:
            self.count_junk()
            if self.state is not _CLOSED:
                self.out.append(chunk.answer.to_wire())
        else:
            chunk.blamed = True
            self.error(chunk.answer)
        return None

    def _leave_content(self) -> None:
        self.state = _ON_END[self.state]
        self.forget()


def _mailbox(address: str) -> str:
    """The address by what tells mailboxes apart: its domain has no case (RFC 5321 2.4)."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}"
