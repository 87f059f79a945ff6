"""The commands of SMTP, one function each: what is wrong with it is answered here, what needs a decision is returned.

Order, syntax, sizes and limits are settled without the owner of the session; MAIL, RCPT, STARTTLS, AUTH, and VRFY and
EXPN where there are aliases, are questions once they have passed. `COMMANDS` is the whole vocabulary.
"""

from collections.abc import Callable

from fastrelay.mail.reply import reply
from fastrelay.smtp import authentication, commands, words, xclient
from fastrelay.smtp.bcc import IncomingWithoutBcc
from fastrelay.smtp.chunk import Chunk
from fastrelay.smtp.commands import Unacceptable
from fastrelay.smtp.dialogue import Dialogue
from fastrelay.smtp.events import Dropped, Event, Hello, Refused, Spoiled, StartTls
from fastrelay.smtp.extensions import Extension
from fastrelay.smtp.incoming import Incoming
from fastrelay.smtp.phases import OUT_OF_ORDER, TRANSITIONS, State, Step

_CLOSED, _CHUNKS = State.CLOSED, State.CHUNKS
_ON_HELLO, _ON_MAIL, _ON_RCPT = TRANSITIONS[Step.HELLO], TRANSITIONS[Step.MAIL], TRANSITIONS[Step.RCPT]
_ON_DATA, _ON_RESET, _ON_TLS = TRANSITIONS[Step.DATA], TRANSITIONS[Step.RESET], TRANSITIONS[Step.TLS]
_ON_CHUNK, _ON_STRAY = TRANSITIONS[Step.CHUNK], TRANSITIONS[Step.STRAY]

_FOREIGN = frozenset(b"GET POST PUT HEAD DELETE OPTIONS PATCH TRACE CONNECT PRI".split())


def _helo(dialogue: Dialogue, argument: bytes) -> Event | None:
    return _introduce(dialogue, argument, False)


def _ehlo(dialogue: Dialogue, argument: bytes) -> Event | None:
    return _introduce(dialogue, argument, True)


def _introduce(dialogue: Dialogue, argument: bytes, extended: bool) -> Event | None:
    if dialogue.lines.pending:
        return dialogue.out_of_step()
    try:
        name = commands.hello(argument)
    except Unacceptable as error:
        return dialogue.error(error.answer)
    if dialogue.state is not State.START:
        dialogue.count_junk()
    if dialogue.state is _CLOSED:
        return None
    dialogue.forget()
    dialogue.state = _ON_HELLO[dialogue.state]
    dialogue.helo = name
    dialogue.extended = extended
    terms = dialogue.terms
    dialogue.out.append((terms.ehlo_tls if dialogue.tls else terms.ehlo) if extended else terms.helo)
    return Hello()


def _mail(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.state not in _ON_MAIL:
        return dialogue.out_of_order(Step.MAIL)
    terms = dialogue.terms
    if terms.guarded:
        if terms.needs_tls and not dialogue.tls:
            return dialogue.error(words.NEEDS_TLS)
        if terms.needs_auth and not dialogue.user:
            return dialogue.error(words.NEEDS_AUTH)
    try:
        event = commands.mail(argument, terms.offered_tls)
    except Unacceptable as error:
        return dialogue.error(error.answer)
    if event.size > terms.max_size:
        dialogue.error(terms.too_large)
        return Refused(terms.too_large, "MAIL")
    dialogue.refused = 0
    dialogue.asked = event
    return event


def _rcpt(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.state not in _ON_RCPT:
        return dialogue.out_of_order(Step.RCPT)
    terms = dialogue.terms
    try:
        event = commands.rcpt(argument, terms.offered_tls, dialogue.mail is not None and dialogue.mail.smtputf8)
    except Unacceptable as error:
        return dialogue.error(error.answer)
    if len(dialogue.recipients) >= terms.max_recipients:
        return _too_many_recipients(dialogue)
    dialogue.asked = event
    return event


def _too_many_recipients(dialogue: Dialogue) -> Event | None:
    """As many again are refused without blame: a client may pipeline its whole list (Postfix: overshoot limit)."""
    dialogue.refused += 1
    if dialogue.refused > dialogue.terms.max_recipients:
        dialogue.error(words.TOO_MANY_RECIPIENTS)
    else:
        dialogue.out.append(words.TOO_MANY_RECIPIENTS.to_wire())
    return Refused(words.TOO_MANY_RECIPIENTS, "RCPT") if dialogue.refused == 1 else None


def _data(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.lines.pending:
        return dialogue.out_of_step()
    if argument:
        return dialogue.error(words.NO_ARGUMENT)
    if dialogue.state not in _ON_DATA:
        return dialogue.out_of_order(Step.DATA)
    (dialogue.incoming or _first_incoming(dialogue)).begin()
    dialogue.state = _ON_DATA[dialogue.state]
    dialogue.out.append(words.GO_ON)
    return None


def _first_incoming(dialogue: Dialogue) -> Incoming:
    terms = dialogue.terms
    incoming = dialogue.incoming = IncomingWithoutBcc(terms) if terms.remove_bcc else Incoming(terms)
    return incoming


def _rset(dialogue: Dialogue, argument: bytes) -> Event | None:
    if argument:
        return dialogue.error(words.NO_ARGUMENT)
    dialogue.count_junk()
    before = dialogue.state
    if before is _CLOSED:
        return None
    dialogue.forget()
    dialogue.state = _ON_RESET[before]
    dialogue.out.append(words.RESET_OK)
    return Dropped() if before is _CHUNKS else None


def _noop(dialogue: Dialogue, argument: bytes) -> Event | None:
    return dialogue.said(words.NOOP_OK)


def _help(dialogue: Dialogue, argument: bytes) -> Event | None:
    dialogue.count_junk()
    if dialogue.state is not _CLOSED:
        terms = dialogue.terms
        dialogue.out.append(terms.help_tls if dialogue.tls else terms.help)
    return None


def _vrfy(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.terms.needs_tls and not dialogue.tls:
        return dialogue.error(words.NEEDS_TLS)
    if argument and dialogue.terms.aliases:
        return _expand(dialogue, argument, verify=True)
    return dialogue.said(words.VRFY) if argument else dialogue.error(words.ARGUMENT_DUE)


def _expn(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.terms.needs_tls and not dialogue.tls:
        return dialogue.error(words.NEEDS_TLS)
    if not dialogue.terms.aliases:
        return _not_here(dialogue, argument)
    return _expand(dialogue, argument, verify=False) if argument else dialogue.error(words.ARGUMENT_DUE)


def _expand(dialogue: Dialogue, argument: bytes, *, verify: bool) -> Event | None:
    if dialogue.lines.pending:
        return dialogue.out_of_step()
    dialogue.count_junk()
    if dialogue.state is _CLOSED:
        return None
    try:
        event = commands.expand(argument, verify=verify)
    except Unacceptable as error:
        return dialogue.error(error.answer)
    dialogue.asked = event
    return event


def _not_here(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.lines.pending:
        return dialogue.out_of_step()  # TURN changes what follows, EXPN ends a group
    return dialogue.error(words.NOT_HERE)


def _bdat(dialogue: Dialogue, argument: bytes) -> Event | None:
    """What follows is content, and must never be read as commands."""
    if Extension.CHUNKING not in dialogue.terms.offered:
        dialogue.hang_up(words.NOT_HERE, "BDAT without CHUNKING")
        return None
    try:
        size, last = commands.chunk(argument)
    except Unacceptable as error:
        dialogue.hang_up(error.answer, "BDAT without a size")
        return None
    chunk = dialogue.chunk
    if chunk is None:
        chunk = dialogue.chunk = Chunk()
    state = dialogue.state
    if state not in _ON_CHUNK:
        chunk.stray(size, reply(503, "5.5.1", OUT_OF_ORDER[Step.CHUNK][state]), state)
        dialogue.state = _ON_STRAY[state]
        return None
    incoming = dialogue.incoming or _first_incoming(dialogue)
    if state is not _CHUNKS:
        incoming.begin()
    chunk.blamed = False
    chunk.begin(size, last=last)
    dialogue.state = _ON_CHUNK[state]
    incoming.announce(size)
    verdict = incoming.verdict
    if verdict is None:
        return None
    return Spoiled(verdict, dialogue.sender, "BDAT")


def _quit(dialogue: Dialogue, argument: bytes) -> Event | None:
    if argument:
        return dialogue.error(words.NO_ARGUMENT)
    dialogue.out.append(words.BYE)
    dialogue.end("quit")
    return None


def _starttls(dialogue: Dialogue, argument: bytes) -> Event | None:
    if dialogue.lines.pending:
        return dialogue.out_of_step()  # CVE-2011-0411: text injected before the handshake never survives it
    if argument:
        return dialogue.error(words.NO_ARGUMENT)
    if dialogue.tls:
        return dialogue.error(words.TLS_ALREADY)
    if Extension.STARTTLS not in dialogue.terms.offered:
        return dialogue.error(words.NO_TLS)
    if dialogue.state not in _ON_TLS:
        return dialogue.out_of_order(Step.TLS)
    event = StartTls()
    dialogue.asked = event
    return event


def unknown(dialogue: Dialogue, verb: bytes, argument: bytes) -> None:
    """A word that is no command: an error, or the end of a talker that is not SMTP."""
    if verb.upper() in _FOREIGN or b":" in verb or argument.startswith(b":"):  # HTTP, or the header of a message
        dialogue.end("not SMTP: " + verb[:32].decode("ascii"))
    else:
        dialogue.error(words.UNKNOWN)


COMMANDS: dict[bytes, Callable[[Dialogue, bytes], Event | None]] = {
    b"HELO": _helo,
    b"EHLO": _ehlo,
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"QUIT": _quit,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"EXPN": _expn,
    b"STARTTLS": _starttls,
    b"AUTH": authentication.command,
    b"BDAT": _bdat,
    b"XCLIENT": xclient.command,
    b"TURN": _not_here,
    b"ETRN": _not_here,
}
