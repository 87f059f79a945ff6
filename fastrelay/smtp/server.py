"""The server's side of SMTP as a machine without I/O (RFC 5321; 1870, 2034, 2920, 3207, 6152).

    machine.greet()
    loop:   event = machine.next_event()
            event is None:  write machine.take_output() in one go; end if machine.state is CLOSED; read; machine.feed()
            an event that asks (events.py):  give the decision it names, then ask for the next

Replies gather until `next_event` finds nothing more to do, so a pipelined group is answered by one write (RFC 2920).
What needs no decision (order, syntax, sizes, HELP, ...) is answered here. A line that is wrong gets its error and the
dialogue stays in step; where it cannot, the connection ends: octets behind a command that ends a group (RFC 2920 3.1:
EHLO, DATA, NOOP, VRFY, STARTTLS; nothing could tell a command from injected text there), a talker that is not SMTP,
too many errors, a spoiled message that never ends. `over` then says why.

Promises: a message ends at CRLF "." CRLF alone; every octet of an address, parameter or name handed on is printable
ASCII (grammar.py); memory per session is bounded by one read, the recipients allowed and MAX_LINE.

Measured: EHLO, MAIL, RCPT, DATA, 5 KB of content, QUIT in 6 reads: 27 us, 10 of them the dot codec.
"""

from collections.abc import Callable
from typing import TypeVar

from fastrelay.errors import MisuseError
from fastrelay.mail.envelope import Recipient
from fastrelay.mail.reply import Reply, reply
from fastrelay.smtp import commands, words
from fastrelay.smtp.commands import Unacceptable
from fastrelay.smtp.events import Content, Event, Hello, Mail, Rcpt, Refused, Spoiled, StartTls
from fastrelay.smtp.grammar import PRINTABLE
from fastrelay.smtp.incoming import Incoming
from fastrelay.smtp.lines import OVERLONG, Lines
from fastrelay.smtp.phases import OUT_OF_ORDER, TRANSITIONS, State, Step
from fastrelay.smtp.terms import MAX_ERRORS, MAX_JUNK, Terms

_CONTENT, _CLOSED = State.CONTENT, State.CLOSED
_ON_HELLO, _ON_MAIL, _ON_RCPT = TRANSITIONS[Step.HELLO], TRANSITIONS[Step.MAIL], TRANSITIONS[Step.RCPT]
_ON_DATA, _ON_END, _ON_RESET = TRANSITIONS[Step.DATA], TRANSITIONS[Step.END], TRANSITIONS[Step.RESET]
_ON_TLS, _ON_CLOSE = TRANSITIONS[Step.TLS], TRANSITIONS[Step.CLOSE]

_FOREIGN = frozenset(b"GET POST PUT HEAD DELETE OPTIONS PATCH TRACE CONNECT PRI".split())
_TLS_RECORD = b"\x16\x03"

_Asking = TypeVar("_Asking", Mail, Rcpt, Content, StartTls)


class Server:
    """One connection. Read only: state, helo, extended, tls, mail, recipients, size, errors, over."""

    __slots__ = (
        "_asked",
        "_incoming",
        "_junk",
        "_lines",
        "_out",
        "_refused",
        "_terms",
        "errors",
        "extended",
        "helo",
        "mail",
        "over",
        "recipients",
        "state",
        "tls",
    )

    def __init__(self, terms: Terms, *, tls: bool = False) -> None:
        self._terms = terms
        self._lines = Lines()
        self._out: list[bytes] = []
        self._asked: Mail | Rcpt | Content | StartTls | None = None
        self._incoming: Incoming | None = None  # from the first DATA on
        self._junk = 0
        self._refused = 0  # recipients over the limit in this transaction
        self.state = State.START
        self.helo = ""
        self.extended = False
        self.tls = tls
        self.mail: Mail | None = None  # of the open transaction
        self.recipients: dict[str, Recipient] = {}  # accepted, by address: twice the same is one
        self.errors = 0  # since the last message taken
        self.over = ""

    # -- octets ---------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """The first reply: 220."""
        self._out.append(self._terms.greeting)

    def feed(self, octets: bytes) -> None:
        """What was read from the client."""
        self._lines.feed(octets)

    def take_output(self) -> bytes:
        """The replies that have gathered, b"" when none."""
        out = self._out
        if not out:
            return b""
        octets = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return octets

    @property
    def size(self) -> int:
        """Octets of content of the message on its way, or of the last one."""
        return self._incoming.size if self._incoming is not None else 0

    @property
    def mended(self) -> bool:
        """Bare CR or LF were replaced in the message just received."""
        return self._incoming is not None and self._incoming.mended

    def next_event(self) -> Event | None:
        """What happened; None when the client has to say more (or the connection is CLOSED)."""
        if self._asked is not None:
            raise MisuseError(f"{type(self._asked).__name__} waits for a decision")
        lines = self._lines
        while True:
            state = self.state
            if state is _CONTENT:
                return self._content()
            if state is _CLOSED:
                return None
            line = lines.take()
            if line is None:
                if state is State.START and lines.starts_with(_TLS_RECORD):
                    self._end("not SMTP: a TLS record")
                return None
            if line is OVERLONG:
                self._error(words.OVERLONG_LINE)
                continue
            if line.translate(None, PRINTABLE):
                if state is State.START and line.startswith(_TLS_RECORD):
                    self._end("not SMTP: a TLS record")
                else:
                    self._error(words.BAD_OCTETS)
                continue
            verb, _, argument = line.partition(b" ")
            command = _COMMANDS.get(verb) or _COMMANDS.get(verb.upper())
            if command is None:
                self._no_command(verb, argument)
                continue
            event = command(self, argument)
            if event is not None:
                return event

    # -- decisions ------------------------------------------------------------------------------------------------

    def mail_ok(self) -> None:
        """The sender may go on."""
        self.mail = self._answered(Mail)
        self.state = _ON_MAIL[self.state]
        self._out.append(words.MAIL_OK)

    def rcpt_ok(self, address: str = "") -> None:
        """The recipient is accepted; `address` replaces what the client wrote (a bare <postmaster>)."""
        asked = self._answered(Rcpt)
        name = address or asked.address
        self.state = _ON_RCPT[self.state]
        if name not in self.recipients:
            self.recipients[name] = Recipient(name)
        self._out.append(words.RCPT_OK)

    def taken(self, ident: str) -> None:
        """The message is ours. Only now: 250."""
        self._answered(Content)
        self._out.append(words.TAKEN % ident.encode("ascii"))
        self.errors = self._junk = 0
        self._leave_content()

    def tls_ok(self) -> None:
        """The handshake may begin once the output is written; what the client sends next is its hello."""
        self._answered(StartTls)
        self._out.append(words.TLS_GO)

    def tls_started(self) -> None:
        """The handshake is done: the client begins again at EHLO (RFC 3207 4.2)."""
        self._lines.clear()
        self._forget()
        self.state = _ON_TLS[self.state]
        self.helo = ""
        self.extended = False
        self.tls = True

    def refuse(self, answer: Reply, *, blame: bool = True) -> None:
        """No, to whatever was asked. blame: it counts against the client (not when the shortage is ours)."""
        asked, self._asked = self._asked, None
        if asked is None:
            raise MisuseError("nothing was asked")
        if type(asked) is Content:
            self._leave_content()
        if blame:
            self._error(answer)
        else:
            self._out.append(answer.to_wire())

    def spoil(self, answer: Reply) -> None:
        """The message on its way cannot be taken: swallow the rest and say so at its end."""
        if self.state is not _CONTENT or self._asked is not None:
            raise MisuseError("no message is on its way")
        assert self._incoming is not None
        self._incoming.spoil(answer)

    def hang_up(self, answer: Reply | None, why: str) -> None:
        """End the connection: 421 and the like."""
        if self.state is not _CLOSED:
            self._asked = None
            if answer is not None:
                self._out.append(answer.to_wire())
            self._end(why)

    # -- content --------------------------------------------------------------------------------------------------

    def _content(self) -> Event | None:
        octets = self._lines.take_all()
        if not octets:
            return None
        incoming = self._incoming
        assert incoming is not None
        before = incoming.verdict
        content, rest = incoming.feed(octets)
        verdict = incoming.verdict
        if verdict is None:
            if rest < 0:
                return Content(content, False) if content else None
            self._lines.put_back(octets, rest)
            self._asked = event = Content(content, True)
            return event
        sender = self.mail.sender if self.mail is not None else ""
        if rest >= 0:
            self._finish_spoiled(octets, rest, verdict)
        elif incoming.endless:
            self.hang_up(words.ENDLESS, "a refused message that does not end")
        if before is None:
            return Spoiled(verdict, sender)
        return self.next_event() if rest >= 0 else None

    def _finish_spoiled(self, octets: bytes, rest: int, answer: Reply) -> None:
        self._lines.put_back(octets, rest)
        self._leave_content()
        if answer.code < 500:
            self._out.append(answer.to_wire())
        else:
            self._error(answer)

    def _leave_content(self) -> None:
        self.state = _ON_END[self.state]
        self._forget()

    def _forget(self) -> None:
        """No transaction is open."""
        self.mail = None
        if self.recipients:
            self.recipients = {}

    # -- commands -------------------------------------------------------------------------------------------------

    def _helo(self, argument: bytes) -> Event | None:
        return self._introduce(argument, False)

    def _ehlo(self, argument: bytes) -> Event | None:
        return self._introduce(argument, True)

    def _introduce(self, argument: bytes, extended: bool) -> Event | None:
        if self._lines.pending:
            return self._out_of_step()
        try:
            name = commands.hello(argument)
        except Unacceptable as error:
            return self._error(error.answer)
        if self.state is not State.START:
            self._count_junk()
        if self.state is _CLOSED:
            return None
        self._forget()
        self.state = _ON_HELLO[self.state]
        self.helo = name
        self.extended = extended
        terms = self._terms
        self._out.append((terms.ehlo_tls if self.tls else terms.ehlo) if extended else terms.helo)
        return Hello(name, extended)

    def _mail(self, argument: bytes) -> Event | None:
        if self.state not in _ON_MAIL:
            return self._out_of_order(Step.MAIL)
        terms = self._terms
        if terms.needs_tls and not self.tls:
            return self._error(words.NEEDS_TLS)
        try:
            event = commands.mail(argument, terms.offered_tls)
        except Unacceptable as error:
            return self._error(error.answer)
        if event.size > terms.max_size:
            self._error(terms.too_large)
            return Refused(terms.too_large, "MAIL")
        self._refused = 0
        self._asked = event
        return event

    def _rcpt(self, argument: bytes) -> Event | None:
        if self.state not in _ON_RCPT:
            return self._out_of_order(Step.RCPT)
        terms = self._terms
        try:
            event = commands.rcpt(argument, terms.offered_tls)
        except Unacceptable as error:
            return self._error(error.answer)
        if len(self.recipients) >= terms.max_recipients:
            return self._too_many_recipients()
        self._asked = event
        return event

    def _too_many_recipients(self) -> Event | None:
        """As many again are refused without blame: a client may pipeline its whole list (Postfix: overshoot limit)."""
        self._refused += 1
        if self._refused > self._terms.max_recipients:
            self._error(words.TOO_MANY_RECIPIENTS)
        else:
            self._out.append(words.TOO_MANY_RECIPIENTS.to_wire())
        return Refused(words.TOO_MANY_RECIPIENTS, "RCPT") if self._refused == 1 else None

    def _data(self, argument: bytes) -> Event | None:
        if self._lines.pending:
            return self._out_of_step()
        if argument:
            return self._error(words.NO_ARGUMENT)
        if self.state not in _ON_DATA:
            return self._out_of_order(Step.DATA)
        incoming = self._incoming
        if incoming is None:
            incoming = self._incoming = Incoming(self._terms)
        incoming.begin()
        self.state = _ON_DATA[self.state]
        self._out.append(words.GO_ON)
        return None

    def _rset(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(words.NO_ARGUMENT)
        self._count_junk()
        if self.state is not _CLOSED:
            self._forget()
            self.state = _ON_RESET[self.state]
            self._out.append(words.RESET_OK)
        return None

    def _noop(self, argument: bytes) -> Event | None:
        return self._said(words.NOOP_OK)

    def _help(self, argument: bytes) -> Event | None:
        self._count_junk()
        if self.state is not _CLOSED:
            self._out.append(words.HELP)
        return None

    def _vrfy(self, argument: bytes) -> Event | None:
        return self._said(words.VRFY) if argument else self._error(words.ARGUMENT_DUE)

    def _not_here(self, argument: bytes) -> Event | None:
        if self._lines.pending:
            return self._out_of_step()  # AUTH and TURN change what follows, EXPN ends a group
        return self._error(words.NOT_HERE)

    def _bdat(self, argument: bytes) -> Event | None:
        """Never offered: what follows is a message, and must not be read as commands."""
        self.hang_up(words.NOT_HERE, "BDAT without CHUNKING")
        return None

    def _quit(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(words.NO_ARGUMENT)
        self._out.append(words.BYE)
        self._end("quit")
        return None

    def _starttls(self, argument: bytes) -> Event | None:
        if self._lines.pending:
            return self._out_of_step()  # CVE-2011-0411: text injected before the handshake never survives it
        if argument:
            return self._error(words.NO_ARGUMENT)
        if self.tls or self._terms.offered is self._terms.offered_tls:
            return self._error(words.NO_TLS)
        if self.state not in _ON_TLS:
            return self._out_of_order(Step.TLS)
        event = StartTls()
        self._asked = event
        return event

    def _no_command(self, verb: bytes, argument: bytes) -> None:
        if verb.upper() in _FOREIGN or b":" in verb or argument.startswith(b":"):  # HTTP, or the header of a message
            self._end("not SMTP: " + verb[:32].decode("ascii"))
        else:
            self._error(words.UNKNOWN)

    # -- replies --------------------------------------------------------------------------------------------------

    def _answered(self, kind: type[_Asking]) -> _Asking:
        asked = self._asked
        if type(asked) is not kind:
            raise MisuseError(f"no {kind.__name__} was asked")
        self._asked = None
        return asked

    def _said(self, octets: bytes) -> Event | None:
        if self._lines.pending:
            return self._out_of_step()
        self._count_junk()
        if self.state is not _CLOSED:
            self._out.append(octets)
        return None

    def _error(self, answer: Reply) -> Event | None:
        """A reply that counts as an error; the last one allowed is followed by 421."""
        self._out.append(answer.to_wire())
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            self.hang_up(self._terms.too_many_errors, "too many errors")
        return None

    def _count_junk(self) -> None:
        self._junk += 1
        if self._junk > MAX_JUNK:
            self.errors += 1
            if self.errors >= MAX_ERRORS:
                self.hang_up(self._terms.too_many_errors, "too many commands without mail")

    def _out_of_order(self, step: Step) -> Event | None:
        return self._error(reply(503, "5.5.1", OUT_OF_ORDER[step][self.state]))

    def _out_of_step(self) -> Event | None:
        self.errors += 1
        self.hang_up(words.OUT_OF_STEP, "commands sent ahead of a reply")
        return None

    def _end(self, why: str) -> None:
        self.state = _ON_CLOSE[self.state]
        self.over = why
        self._lines.clear()
        self._forget()


_COMMANDS: dict[bytes, Callable[[Server, bytes], Event | None]] = {
    b"HELO": Server._helo,
    b"EHLO": Server._ehlo,
    b"MAIL": Server._mail,
    b"RCPT": Server._rcpt,
    b"DATA": Server._data,
    b"RSET": Server._rset,
    b"NOOP": Server._noop,
    b"QUIT": Server._quit,
    b"HELP": Server._help,
    b"VRFY": Server._vrfy,
    b"EXPN": Server._not_here,
    b"STARTTLS": Server._starttls,
    b"AUTH": Server._not_here,
    b"BDAT": Server._bdat,
    b"TURN": Server._not_here,
    b"ETRN": Server._not_here,
}
