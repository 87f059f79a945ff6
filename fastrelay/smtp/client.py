"""The client side of SMTP and LMTP without I/O: octets of the peer in, octets for the peer out (RFC 5321, 2920, 3207).

Order of calls: `receive` with what the peer says until the state is READY or CLOSED; `start_tls` and `secured` around a
handshake; `authenticate` and `answer_challenge` to log in; then for each transaction `begin`, `receive` until the state
is CONTENT, `content`, `sent`, `receive` until it is READY or CLOSED, `verdicts`. What `receive` returns is to be
written at once; it needs nothing while `awaiting` is false. `phase` names what is waited for, so that the caller knows
the time it may take.

Promises: a reply is never credited to another command than its own: replies nobody is due, also those that came before
their command was sent, are a PeerError or close the session. RSET goes before the next MAIL wherever a transaction was
left open. 421 closes whatever it answers. Where everything was refused and DATA still got 354, a lone dot ends it.
LMTP (RFC 2033): LHLO, without a way back to HELO, and one reply to the final dot for each recipient accepted, in their
order; a peer that ends in between leaves the others without a verdict.
Errors: PeerError for a peer out of protocol; verdicts already given stay. Impossible for an address with a line end.
Limits: a group holds at most MAX_GROUP octets, so that neither side's buffers can fill while both write (RFC 2920 3.1).
"""

import enum
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence

from fastrelay.errors import Impossible, PeerError
from fastrelay.mail.outcome import Phase
from fastrelay.mail.reply import Reply
from fastrelay.smtp.data import stuff, stuff_pieces
from fastrelay.smtp.dsn import Asked
from fastrelay.smtp.offer import Offer, parse_offer
from fastrelay.smtp.replies import ReplyReader
from fastrelay.smtp.sasl.client import Exchange
from fastrelay.smtp.sasl.scram import unbase64

MAX_COMMAND = 512  # octets with CRLF, RFC 5321 4.5.3.1.4
MAX_GROUP = 16 * 1024  # octets; the replies to 250 RCPT of 64 octets are about as many, a quarter of a receive buffer


class State(enum.Enum):
    """Where the session stands. A reply is due in AWAITING, the caller's move in the others."""

    __hash__ = object.__hash__  # that of Enum is a Python function, called at every look into a table

    BANNER = "banner"
    EHLO = "ehlo"
    HELO = "helo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"  # 220 ready: the caller runs TLS, then `secured`
    AUTH = "auth"
    CHALLENGE = "challenge"  # 334: the caller asks for `answer_challenge`, which may take its time
    READY = "ready"
    ENVELOPE = "envelope"  # RSET, MAIL, RCPT and DATA, as many as were sent
    CONTENT = "content"  # 354: the caller sends the content, then `sent`
    DOT = "dot"
    CANCEL = "cancel"  # a lone dot ends a transaction nobody was accepted for
    CLOSED = "closed"


AWAITING = frozenset(
    {
        *(State.BANNER, State.EHLO, State.HELO, State.STARTTLS, State.AUTH),
        *(State.ENVELOPE, State.DOT, State.CANCEL),
    }
)

_PHASES = {
    State.BANNER: Phase.BANNER,
    State.EHLO: Phase.EHLO,
    State.HELO: Phase.EHLO,
    State.STARTTLS: Phase.STARTTLS,
    State.HANDSHAKE: Phase.STARTTLS,
    State.AUTH: Phase.AUTH,
    State.CHALLENGE: Phase.AUTH,
    State.READY: Phase.MAIL,
    State.CONTENT: Phase.CONTENT,
    State.DOT: Phase.DOT,
    State.CANCEL: Phase.DOT,
    State.CLOSED: Phase.MAIL,
}


class Client:
    """One session. hello: our name for EHLO. lmtp: speak that. verdicts: per recipient of the transaction, None while
    undecided."""

    __slots__ = (
        "_challenge",
        "_commands",
        "_due",
        "_exchange",
        "_hello",
        "_lmtp",
        "_mail_at",
        "_open",
        "_reader",
        "_sent",
        "answered",
        "offer",
        "peer_name",
        "refusal",
        "state",
        "verdicts",
    )

    def __init__(self, hello: str, *, lmtp: bool = False) -> None:
        self._hello = hello
        self._lmtp = lmtp
        self._reader = ReplyReader()
        self.state = State.BANNER
        self.answered = 0  # replies taken in so far
        self.offer = Offer()
        self.peer_name = ""  # as the peer calls itself in its EHLO reply
        self.refusal: tuple[Phase, Reply] | None = None  # why the session, STARTTLS or AUTH was refused
        self.verdicts: list[tuple[Phase, Reply] | None] = []
        self._commands: list[bytes] = []  # of the transaction: [RSET] MAIL RCPT* DATA
        self._mail_at = 0  # index of MAIL in them
        self._sent = 0
        self._due = 0  # index of the command the next reply answers
        self._exchange: Exchange | None = None  # of AUTH, while it is under way
        self._challenge = b""
        self._open = False  # the peer holds a transaction that was begun and not ended

    @property
    def awaiting(self) -> bool:
        """A reply is due."""
        return self.state in AWAITING

    @property
    def phase(self) -> Phase:
        """What is waited for, or would come next."""
        if self.state is not State.ENVELOPE:
            return _PHASES[self.state]
        if self._due <= self._mail_at:
            return Phase.MAIL
        return Phase.RCPT if self._due < len(self._commands) - 1 else Phase.DATA

    def receive(self, octets: bytes) -> bytes:
        """Take in what the peer said; returns what to write now, b"" for nothing."""
        reader = self._reader
        reader.feed(octets)
        while self.state in AWAITING:
            reply = reader.take()
            if reply is None:
                return b""
            self.answered += 1
            answer = _HANDLERS[self.state](self, reply)
            if answer:
                if reader.surplus:
                    raise PeerError("reply to a command not yet sent")
                return answer
        if reader.surplus:
            self._surplus()
        return b""

    def _surplus(self) -> None:
        """Octets nobody asked for: void before a handshake (RFC 3207 4.2), else the end of trust in this session."""
        if self.state is State.HANDSHAKE:
            self._reader.clear()
        elif self.verdicts and self.state is State.READY:
            self.state = State.CLOSED  # the verdicts are sound: each was the first reply to its command
        elif self.state is not State.CLOSED:
            raise PeerError("reply to a command not yet sent")

    # -- the session ----------------------------------------------------------------------------------------------

    def _banner(self, reply: Reply) -> bytes:
        if reply.code // 100 != 2:
            return self._refused(Phase.BANNER, reply)
        return self._greet()

    def _greet(self) -> bytes:
        self.state = State.EHLO
        return f"{'LHLO' if self._lmtp else 'EHLO'} {self._hello}\r\n".encode("ascii")

    def _ehlo(self, reply: Reply) -> bytes:
        if reply.code // 100 == 5 and not self._lmtp:
            self.state = State.HELO
            return f"HELO {self._hello}\r\n".encode("ascii")
        if reply.code // 100 != 2:
            return self._refused(Phase.EHLO, reply)
        self.offer = parse_offer(reply.lines[1:])
        self.peer_name = reply.lines[0].partition(" ")[0]
        self.state = State.READY
        return b""

    def _helo(self, reply: Reply) -> bytes:
        if reply.code // 100 != 2:
            return self._refused(Phase.EHLO, reply)
        self.peer_name = reply.lines[0].partition(" ")[0]
        self.state = State.READY
        return b""

    def _refused(self, phase: Phase, reply: Reply) -> bytes:
        self.refusal = (phase, reply)
        self.state = State.CLOSED
        return b""

    def start_tls(self) -> bytes:
        """Ask for TLS. Then the state is HANDSHAKE, or READY with `refusal` set where the peer does not want to."""
        self.state = State.STARTTLS
        return b"STARTTLS\r\n"

    def _starttls(self, reply: Reply) -> bytes:
        if reply.code == 220:
            self.state = State.HANDSHAKE
        elif reply.code == 421:
            return self._refused(Phase.STARTTLS, reply)
        else:
            self.refusal = (Phase.STARTTLS, reply)
            self.state = State.READY
        return b""

    def secured(self) -> bytes:
        """The handshake is done: what was known of the peer is void, EHLO again (RFC 3207 4.2)."""
        self._reader.clear()
        self.offer = Offer()
        return self._greet()

    def authenticate(self, exchange: Exchange) -> bytes:
        """Log in (RFC 4954). Then the state is CHALLENGE, as often as it takes; in the end READY, or CLOSED with
        `refusal` set. A response that makes the line longer than any server must take waits for a challenge."""
        self._exchange = exchange
        self.state = State.AUTH
        line = b"AUTH " + exchange.name.encode("ascii")
        first = exchange.first
        if first is not None:
            whole = b"%b %b\r\n" % (line, b64encode(first))
            if len(whole) <= MAX_COMMAND:
                exchange.first = None
                return whole
        return line + b"\r\n"

    def _auth(self, reply: Reply) -> bytes:
        exchange = self._exchange
        assert exchange is not None
        if reply.code == 334:
            try:
                self._challenge = unbase64(reply.lines[0])
            except ValueError:
                raise PeerError("a challenge of AUTH is not base64") from None
            self.state = State.CHALLENGE
            return b""
        self._exchange = None
        if reply.code < 400:
            if reply.code != 235 or not exchange.done:
                raise PeerError(f"{exchange.name} was answered with {reply.code} before its end")
            self.state = State.READY
            return b""
        return self._refused(Phase.AUTH, reply)

    def answer_challenge(self) -> bytes:
        """The answer to the challenge. May wait where the exchange derives keys."""
        exchange = self._exchange
        if exchange is None or self.state is not State.CHALLENGE:
            raise Impossible("no challenge is to be answered")
        first, exchange.first = exchange.first, None
        if first is not None and not self._challenge:
            answer = first
        else:
            answer = exchange.answer(self._challenge)
        self.state = State.AUTH
        return b64encode(answer) + b"\r\n"

    # -- a transaction --------------------------------------------------------------------------------------------

    def begin(
        self,
        sender: str,
        recipients: Sequence[str],
        *,
        size: int = 0,
        eightbit: bool = False,
        smtputf8: bool = False,
        asked: Asked | None = None,
    ) -> bytes:
        """The first group of a transaction. The parameters are sent where the peer offers their extension."""
        offer = self.offer
        mail = f"MAIL FROM:<{sender}>"
        if size and offer.size_offered:
            mail += f" SIZE={size}"
        if eightbit and offer.eightbit:
            mail += " BODY=8BITMIME"
        if smtputf8 and offer.smtputf8:
            mail += " SMTPUTF8"
        behind: Sequence[str] | None = None
        if asked is not None and offer.dsn:
            mail += asked.mail
            behind = asked.rcpt
        commands = ["RSET"] if self._open else []
        self._mail_at = len(commands)
        commands.append(mail)
        if behind is None:
            commands.extend([f"RCPT TO:<{recipient}>" for recipient in recipients])
        else:
            commands.extend([f"RCPT TO:<{one}>{words}" for one, words in zip(recipients, behind, strict=True)])
        commands.append("DATA\r\n")
        text = "\r\n".join(commands)
        if text.count("\n") != len(commands) or text.count("\r") != len(commands):
            raise Impossible("an envelope address holds a line end")
        octets = text.encode("utf-8")
        self.verdicts = [None] * len(recipients)
        self.state = State.ENVELOPE
        self._due = 0
        if offer.pipelining and len(octets) <= MAX_GROUP:
            self._sent = len(commands)
            self._commands = [b""] * self._sent
            return octets
        self._sent = 0
        self._commands = octets.splitlines(keepends=True)
        return self._next_group()

    def _next_group(self) -> bytes:
        commands = self._commands
        start = end = self._sent
        octets = len(commands[start])
        end += 1
        while self.offer.pipelining and end < len(commands) and octets + len(commands[end]) <= MAX_GROUP:
            octets += len(commands[end])
            end += 1
        self._sent = end
        return b"".join(commands[start:end])

    def _envelope(self, reply: Reply) -> bytes:
        kind = reply.code // 100
        if reply.code == 421:
            self._decide(self.phase, reply)
            self.state = State.CLOSED
            return b""
        at = self._due - self._mail_at
        last = len(self.verdicts) + 1
        if at == last:
            return self._data(reply)
        if kind == 3 or (at < 0 and kind != 2):
            raise PeerError(f"{'RCPT' if at > 0 else 'MAIL' if at == 0 else 'RSET'} answered with {reply.code}")
        self._due += 1
        if at > 0:
            if kind != 2 and self.verdicts[at - 1] is None:
                self.verdicts[at - 1] = (Phase.RCPT, reply)
        elif at == 0:
            self._open = kind == 2
            if kind != 2:
                self._decide(Phase.MAIL, reply)
        else:
            self._open = False
        if self._due < self._sent or self._due <= self._mail_at:
            return self._next_group() if self._due == self._sent else b""
        if not self._open or (self._due == last + self._mail_at and None not in self.verdicts):
            self.state = State.READY  # nobody left to send to, and DATA is not under way
            return b""
        return self._next_group()

    def _data(self, reply: Reply) -> bytes:
        kind = reply.code // 100
        someone = None in self.verdicts
        if reply.code == 354:
            self._open = False
            if not someone and self._lmtp:
                self.state = State.CLOSED  # RFC 2033 4.2 forbids it: how many replies a dot would get nobody knows
                return b""
            self.state = State.CONTENT if someone else State.CANCEL
            return b"" if someone else b".\r\n"
        if kind in (2, 3):  # 334 too: that peer would read the message as commands
            raise PeerError(f"DATA answered with {reply.code}")
        self._decide(Phase.DATA, reply)
        self.state = State.READY
        return b""

    def content(self, parts: Sequence[bytes]) -> list[bytes]:
        """The message as it goes over the wire, final dot included."""
        return stuff(parts)

    def pieces(self, parts: Iterable[bytes]) -> Iterator[list[bytes]]:
        """The same piece by piece, each made when it is asked for; to be written in order, all of them."""
        return stuff_pieces(parts)

    def sent(self) -> None:
        """The last octet of the final dot was handed to the system: from here on the peer may have the message."""
        self.state = State.DOT

    def interrupted(self, octets: bytes) -> None:
        """What the peer said while the content could not be sent to its end: a refusal decides, anything else not."""
        self._reader.feed(octets)
        reply = self._reader.take()
        if reply is not None and reply.code >= 400:
            self._decide(Phase.CONTENT, reply)
            self.state = State.CLOSED

    def _dot(self, reply: Reply) -> bytes:
        if reply.code // 100 == 3:
            raise PeerError(f"the final dot answered with {reply.code}")  # taken or not? nobody can tell
        if self._lmtp:
            return self._next_dot(reply)
        self._decide(Phase.DOT, reply)
        self.state = State.CLOSED if reply.code == 421 else State.READY
        return b""

    def _next_dot(self, reply: Reply) -> bytes:
        """The word on the first recipient who has none."""
        self.verdicts[self.verdicts.index(None)] = (Phase.DOT, reply)
        if None in self.verdicts:
            if reply.code == 421:
                raise PeerError(f"{reply} before every recipient was answered")
        else:
            self.state = State.CLOSED if reply.code == 421 else State.READY
        return b""

    def _cancelled(self, reply: Reply) -> bytes:
        self.state = State.CLOSED if reply.code == 421 else State.READY
        return b""

    def _decide(self, phase: Phase, reply: Reply) -> None:
        """The verdict for all who have none yet."""
        verdict = (phase, reply)
        self.verdicts = [verdict if one is None else one for one in self.verdicts]


_HANDLERS: dict[State, Callable[[Client, Reply], bytes]] = {
    State.BANNER: Client._banner,
    State.EHLO: Client._ehlo,
    State.HELO: Client._helo,
    State.STARTTLS: Client._starttls,
    State.AUTH: Client._auth,
    State.ENVELOPE: Client._envelope,
    State.DOT: Client._dot,
    State.CANCEL: Client._cancelled,
}

QUIT = b"QUIT\r\n"
