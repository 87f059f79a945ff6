"""What a reply, or its absence, means: the one place where permanence is derived.

Pure: (phase, what was said) -> Delivered | Deferred | Failed with its scope. Rules (RFC 5321 4.2.1 and 4.2.2):
- 2xx to the final dot: Delivered. 4xx, no answer, a lost connection, an answer that is none: Deferred, keep and retry.
- 5xx: Failed, except where the host speaks of itself and not of the message (greeting, EHLO, STARTTLS, AUTH): there
  another host may take it, so Deferred; only when every host of the route says so is it the site's word (RFC 7504).
- 552 to RCPT without an enhanced code is the "too many recipients" of old servers: as 452 (RFC 5321 4.5.3.1.10).
- 421 ends the session whatever it answers: the host's state, never the message's (RFC 5321 3.8).
- The dot was sent and no answer came: Deferred and `uncertain`; never bounced, never assumed done (RFC 1047).
- What fits no rule is temporary.
- What the text of a temporary reply asks for (a time to come again, fewer connections) goes along: word.py.
"""

from fastrelay.errors import FastrelayError, MachineShort, PeerClosed, PeerTimeout, TlsFailed
from fastrelay.mail.outcome import Deferred, Delivered, Failed, Outcome, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.settlement.word import asked

SCOPES = {
    Phase.ROUTE: Scope.SITE,
    Phase.CONNECT: Scope.HOST,
    Phase.BANNER: Scope.HOST,
    Phase.EHLO: Scope.HOST,
    Phase.STARTTLS: Scope.HOST,
    Phase.AUTH: Scope.HOST,
    Phase.MAIL: Scope.MESSAGE,
    Phase.RCPT: Scope.RECIPIENT,
    Phase.DATA: Scope.MESSAGE,
    Phase.CONTENT: Scope.MESSAGE,
    Phase.DOT: Scope.MESSAGE,
    Phase.QUEUE: Scope.SITE,
}
_HOST_SPEAKS = frozenset({Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.AUTH})

_DOING = {
    Phase.CONNECT: "connecting",
    Phase.BANNER: "waiting for the greeting",
    Phase.EHLO: "waiting for the reply to EHLO",
    Phase.STARTTLS: "starting TLS",
    Phase.AUTH: "authenticating",
    Phase.MAIL: "waiting for the reply to MAIL",
    Phase.RCPT: "waiting for the reply to RCPT",
    Phase.DATA: "waiting for the reply to DATA",
    Phase.CONTENT: "sending the content",
    Phase.DOT: "waiting for the reply to the final dot",
}


def classify(
    phase: Phase,
    said: Reply | FastrelayError,
    host: str = "",
    address: str = "",
    *,
    uncertain: bool = False,
    every_host: bool = False,
) -> Outcome:
    """The outcome for one recipient, or for all who shared its fate.

    said: the peer's reply in that phase, our own with the code a notice would carry, or the error that came instead.
    uncertain: the final dot was sent. every_host: every host of the route said the same.
    """
    if not isinstance(said, Reply):
        scope = Scope.SITE if phase is Phase.QUEUE else Scope.HOST
        return Deferred(_words(phase, said), phase, scope, host, address, uncertain, ours=True)
    code = said.code
    if phase is Phase.DOT and 200 <= code < 300:
        return Delivered(said, phase, Scope.MESSAGE, host, address)
    if code == 421:
        return _deferred(said, phase, Scope.HOST, host, address)
    scope = SCOPES[phase]
    if not 500 <= code < 600:
        return _deferred(said, phase, scope, host, address)
    if phase in _HOST_SPEAKS:
        if every_host:
            return Failed(said, phase, Scope.SITE, host, address)
        return _deferred(said, phase, scope, host, address)
    if phase is Phase.RCPT and code == 552 and said.enhanced in ("", "5.5.3"):
        return Deferred(said, phase, scope, host, address)
    return Failed(said, phase, scope, host, address)


def _deferred(said: Reply, phase: Phase, scope: Scope, host: str, address: str) -> Deferred:
    """With what its text asks for, where a peer said it."""
    if not host:
        return Deferred(said, phase, scope, host, address)
    word = asked(said.text)
    return Deferred(said, phase, scope, host, address, False, word.seconds, word.crowded)


def _words(phase: Phase, error: FastrelayError) -> Reply:
    """Our reply for an error: an enhanced code of RFC 3463 and the phase in words; a short machine has its own."""
    if isinstance(error, MachineShort):
        return Reply(error.code, error.enhanced, (error.text,))
    doing = _DOING.get(phase, phase.value)
    if phase is Phase.CONNECT:
        enhanced = "4.4.1"  # no answer from host
    elif isinstance(error, TlsFailed):
        enhanced = "4.7.5"  # cryptographic failure
    elif isinstance(error, PeerClosed | PeerTimeout):
        enhanced = "4.4.2"  # bad connection
    else:
        enhanced = "4.5.0"  # other protocol status: garbage, or replies nobody asked for
    return Reply(451, enhanced, (f"{error} while {doing}" if phase is not Phase.CONNECT else str(error),))
