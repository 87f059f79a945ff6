"""AUTH at the server machine (RFC 4954): the command, the lines of an exchange, and how it ends. Pure.

The exchange itself is one of smtp/sasl/server.py; here it gets its lines: base64, "*" to give up, a limit of their own.
AUTH and each line of its exchange end a group: what stands behind one was sent before our challenge was read, and
nothing could tell it from injected text. A failed login counts as an error of the client; what delay and how many
of them it may cost is the owner's decision.
"""

from base64 import b64encode

from fastrelay.mail.reply import reply
from fastrelay.smtp import sasl, words
from fastrelay.smtp.dialogue import Dialogue
from fastrelay.smtp.events import AuthClaim, AuthLookup, Event
from fastrelay.smtp.lines import MAX_LINE, OVERLONG
from fastrelay.smtp.phases import TRANSITIONS, Step
from fastrelay.smtp.sasl import scram, server
from fastrelay.smtp.sasl.server import Challenge, Claim, Exchange, Lookup, Malformed, Proof, Scram

_ON_AUTH, _ON_AUTH_END = TRANSITIONS[Step.AUTH], TRANSITIONS[Step.AUTH_END]


def command(dialogue: Dialogue, argument: bytes) -> Event | None:
    """`AUTH mechanism [initial-response]`."""
    terms = dialogue.terms
    if dialogue.lines.pending:
        return dialogue.out_of_step()
    if not terms.auth:
        return dialogue.error(words.NOT_HERE)
    if dialogue.state not in _ON_AUTH:
        return dialogue.out_of_order(Step.AUTH)
    if not dialogue.extended:
        return dialogue.error(words.EHLO_FIRST)
    if dialogue.user:
        return dialogue.error(words.AUTH_TWICE)
    if not dialogue.tls and not terms.auth_plaintext:
        return dialogue.error(words.AUTH_NEEDS_TLS)
    mechanism, space, initial = argument.rstrip(b" ").partition(b" ")
    if not mechanism or b" " in initial:
        return dialogue.error(words.AUTH_SYNTAX)
    name = mechanism.upper().decode("ascii")
    if name not in terms.auth:
        return dialogue.error(words.AUTH_UNKNOWN)
    exchange, challenge = server.begin(name)
    dialogue.exchange = exchange
    dialogue.state = _ON_AUTH[dialogue.state]
    if not space:
        return _proceed(dialogue, exchange, Challenge(challenge))
    return _take(dialogue, b"" if initial == b"=" else initial)


def line(dialogue: Dialogue) -> Event | None:
    """The next line of the exchange, if it is there."""
    lines = dialogue.lines
    octets = lines.take()
    if octets is None:
        return None
    if lines.pending:
        ended(dialogue)
        return dialogue.out_of_step()
    if octets is OVERLONG:
        ended(dialogue)
        return dialogue.error(words.AUTH_LONG)
    if octets == b"*":
        ended(dialogue)
        return dialogue.error(words.AUTH_CANCELLED)
    return _take(dialogue, octets)


def know(dialogue: Dialogue, verifier: scram.Verifier) -> None:
    """SCRAM goes on with what is kept of the user's password."""
    exchange = dialogue.exchange
    assert isinstance(exchange, Scram)
    _proceed(dialogue, exchange, exchange.know(verifier))


def ended(dialogue: Dialogue) -> None:
    """The exchange is over, however it ended."""
    dialogue.exchange = None
    dialogue.lines.most = MAX_LINE
    dialogue.state = _ON_AUTH_END[dialogue.state]


def _take(dialogue: Dialogue, octets: bytes) -> Event | None:
    """A message of the client, in base64."""
    try:
        message = scram.unbase64(octets)
    except ValueError:
        ended(dialogue)
        return dialogue.error(words.AUTH_BASE64)
    exchange = dialogue.exchange
    assert exchange is not None
    try:
        return _proceed(dialogue, exchange, exchange.step(message))
    except Malformed as error:
        ended(dialogue)
        return dialogue.error(reply(501, "5.5.4", f"Syntax: {error}"))


def _proceed(dialogue: Dialogue, exchange: Exchange, step: server.Step) -> Event | None:
    event: AuthLookup | AuthClaim
    if isinstance(step, Challenge):
        dialogue.lines.most = sasl.MAX_LINE
        dialogue.out.append(b"334 %b\r\n" % b64encode(step.octets))
        return None
    if isinstance(step, Lookup):
        event = AuthLookup(step.user)
    elif isinstance(step, Claim):
        event = AuthClaim(step.user, exchange.name, step.password)
    else:
        assert isinstance(step, Proof)
        event = AuthClaim(step.user, exchange.name, proved=step.proved)
    dialogue.asked = event
    return event
