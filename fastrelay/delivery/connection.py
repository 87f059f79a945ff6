"""One session with one host over a Stream: the client machine with deadlines, from the greeting to QUIT.

Promises: a message on a pipelining peer costs two writes and two reads; each wait has the deadline of its phase
(RFC 5321 4.5.3.2), content each block of it; nothing raises PeerError to the caller: a transaction ends with a verdict
per recipient, or with a Trouble that says in which phase the peer was lost and whether it may have the message.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastrelay.delivery.faces import Stream
from fastrelay.delivery.hosts import Place
from fastrelay.errors import FastrelayError, PeerClosed, PeerError
from fastrelay.mail.outcome import Phase
from fastrelay.mail.route import Demand, LimitKey, TlsLevel
from fastrelay.runtime import clock
from fastrelay.smtp.client import QUIT, Client, State
from fastrelay.smtp.dsn import Asked
from fastrelay.smtp.phases import CLIENT_SECONDS

BLOCK = 256 * 1024  # octets of content under one deadline of 3 minutes: a peer slower than 1.4 KB/s is given up
JOIN = 64 * 1024  # under TLS each write is a record and a system call: what is small goes out as one
_UNDER_WAY = frozenset({State.CONTENT, State.DOT})  # a message has begun, and nobody has answered for it


class Trouble(NamedTuple):
    """The peer was lost or left the protocol. uncertain: the final dot was sent, the peer may have the message."""

    phase: Phase
    error: FastrelayError
    uncertain: bool


class Connection:
    """One open session. demand: the last one it was found to satisfy. messages: transactions begun. used: when the last
    one ended, or it was left idle. is_fresh: it has not begun one and was never idle in the pool.
    """

    __slots__ = (
        "client",
        "content_begun",
        "demand",
        "is_fresh",
        "key",
        "local_address",
        "messages",
        "opened",
        "place",
        "reply_ceiling",
        "source",
        "stream",
        "tls",
        "tls_cipher",
        "tls_doubt",
        "tls_version",
        "used",
        "verified",
    )

    def __init__(
        self,
        stream: Stream,
        client: Client,
        place: Place,
        demand: Demand,
        key: LimitKey,
        *,
        opened: float,
        tls: TlsLevel,
        verified: str = "",
        source: str = "",
        reply_ceiling: float = 0.0,
    ) -> None:
        self.stream = stream
        self.client = client
        self.place = place
        self.demand = demand
        self.key = key
        self.opened = opened
        self.used = opened
        self.tls = tls
        self.tls_version = ""  # "TLSv1.3"; "" in plaintext
        self.tls_cipher = ""  # OpenSSL's name of the suite
        self.tls_doubt = ""  # encrypted, but to whom? why its certificate is not believed; "" where it is
        self.local_address = stream.local_address()
        self.verified = verified  # the name its certificate bears, "" where that was not asked
        self.source = source
        self.reply_ceiling = reply_ceiling
        self.messages = 0
        self.is_fresh = True
        self.content_begun = False

    def __repr__(self) -> str:
        state = self.client.state.value
        return (
            f"<Connection {self.place.name}[{self.place.address}] {state}, {self.messages} messages, {self.tls.name}>"
        )

    @property
    def host(self) -> str:
        """The name of the peer as routed."""
        return self.place.name

    @property
    def address(self) -> str:
        """The address of the peer."""
        return self.place.address

    def encrypted(self, level: TlsLevel) -> None:
        """The handshake proved `level`. What it agreed on is kept beyond the end: the event line is written then."""
        self.tls = level
        layer = self.stream.tls
        if layer is not None:
            self.tls_version = layer.version() or ""
            cipher = layer.cipher()
            self.tls_cipher = cipher[0] if cipher is not None else ""

    @property
    def is_ready(self) -> bool:
        """The last transaction ended cleanly; another may begin."""
        return self.client.state is State.READY

    def is_alive(self) -> bool:
        """Ready, and the peer has neither closed nor said anything since. One system call."""
        return self.client.state is State.READY and self.stream.is_quiet()

    def patience(self, phase: Phase) -> float:
        """Seconds the peer may take in that phase: what RFC 5321 gives it, less where the site's ceiling is lower."""
        seconds = CLIENT_SECONDS[phase]
        ceiling = self.reply_ceiling
        return ceiling if 0.0 < ceiling < seconds else seconds

    def converse(self, octets: bytes) -> None:
        """Write, and read replies until none is due. PeerError when the peer does not keep to the protocol."""
        stream, client = self.stream, self.client
        stream.expire_in(self.patience(client.phase))
        if octets:
            stream.write(octets)
        while client.awaiting:
            said = stream.read_waiting_first()
            if not said:
                raise PeerClosed("the peer closed the connection")
            answered = client.answered
            octets = client.receive(said)
            if client.answered != answered:  # each reply has its own time, each octet of it has not
                stream.expire_in(self.patience(client.phase))
            if octets:
                stream.write(octets)

    def transact(
        self,
        sender: str,
        recipients: Sequence[str],
        parts: Sequence[bytes],
        *,
        size: int,
        eightbit: bool = False,
        smtputf8: bool = False,
        asked: Asked | None = None,
    ) -> Trouble | None:
        """One transaction. The verdicts are in `client.verdicts`, None for those whom the Trouble befell.

        parts: a list where they are in memory; any other sequence is drawn piece by piece, and what drawing raises
        comes out here: the session is then to be closed.
        """
        client = self.client
        self.messages += 1
        self.is_fresh = False
        self.content_begun = False
        try:
            self.converse(
                client.begin(sender, recipients, size=size, eightbit=eightbit, smtputf8=smtputf8, asked=asked)
            )
            if client.state is State.CONTENT:
                self.content_begun = True
                if isinstance(parts, list | tuple):
                    self._send(client.content(parts))
                else:
                    self._send_pieces(parts)
                if client.state is State.CONTENT:
                    client.sent()
                    self.converse(b"")
        except PeerError as error:
            return Trouble(client.phase, error, client.state is State.DOT)
        finally:
            self.stream.deadline = clock.NEVER
        return None

    def _send(self, buffers: list[bytes]) -> None:
        """The content with its dot, unless the peer refuses on the way: then the state is CONTENT no longer."""
        stream = self.stream
        seconds = self.patience(Phase.CONTENT)
        stream.expire_in(seconds)
        size = sum(map(len, buffers))
        try:
            if size <= BLOCK:
                if stream.tls is None:
                    stream.write_parts(buffers)
                elif size <= JOIN:
                    stream.write(b"".join(buffers))
                else:
                    stream.write_parts(buffers)
                return
            for buffer in buffers:
                view = memoryview(buffer)
                for start in range(0, len(view), BLOCK):
                    stream.expire_in(seconds)
                    stream.write_parts([view[start : start + BLOCK]])
        except PeerClosed:
            self._hear_last_words()
            if self.client.state is State.CONTENT:
                raise

    def _send_pieces(self, parts: Iterable[bytes]) -> None:
        """The same for parts that are not in memory: one at a time is. What drawing one raises goes to the caller."""
        client = self.client
        for piece in client.pieces(parts):
            self._send(piece)
            if client.state is not State.CONTENT:
                return

    def _hear_last_words(self) -> None:
        """A server that refuses in the middle says why before it hangs up; that word is worth more than the loss, and
        the verdict on all who had none."""
        stream = self.stream
        stream.expire_in(self.patience(Phase.CONTENT))
        try:
            said = stream.read()
            if said:
                self.client.interrupted(said)
        except PeerError:
            return  # it said nothing: the loss itself is what is known

    def close(self) -> None:
        """QUIT where the session allows it (RFC 5321 4.1.1.10), and hang up without an answer. Never waits.

        In the middle of a message with a reset: content the peer has not read would keep the system's buffers, and a
        message that is tried elsewhere by then could still arrive whole.
        """
        stream = self.stream
        if stream.closed:
            return
        if self.client.state in _UNDER_WAY:
            stream.reset()
            return
        if self.client.state is State.READY or self.client.refusal is not None:
            stream.write_nowait(QUIT)
        stream.close()
