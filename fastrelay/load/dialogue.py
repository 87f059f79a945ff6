"""The client's side of a session for load: connect, EHLO, transactions, QUIT; each step's replies as values.

Quicker and blunter than delivery: no TLS, no second host, no judgement; the caller gets what the server answers.
A transaction costs two writes and two reads where the server offers PIPELINING, one of each per command where not.

Errors: PeerError and its kinds when the connection ends, stays silent for `patience` seconds or answers garbage;
Refused when the server does not want the session.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fastrelay.errors import PeerClosed, PeerError
from fastrelay.mail.reply import Reply
from fastrelay.runtime import clock
from fastrelay.runtime.stream import connect
from fastrelay.smtp.replies import ReplyReader

PATIENCE = 600.0  # seconds for any one reply: the longest of RFC 5321 4.5.3.2, the wait for the reply to the dot


class Refused(PeerError):
    """Greeting or EHLO were not answered 2xx; `reply` is what the server said."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Sent(NamedTuple):
    """What became of one transaction. `data` and `dot` are None where it did not come so far.

    waited: seconds from the last octet of the message to the reply.
    """

    mail: Reply
    recipients: list[Reply]
    data: Reply | None
    dot: Reply | None
    waited: float

    @property
    def decisive(self) -> Reply:
        """The reply that says whether the message was taken: that of the dot, or the refusal before it."""
        if self.dot is not None:
            return self.dot
        if self.mail.code >= 300:
            return self.mail
        for reply in self.recipients:
            if reply.code >= 300:
                return reply
        return self.data or self.mail


class Dialogue:
    """One session with a server, greeted and introduced. `connected` seconds went from the first packet to the 220."""

    __slots__ = ("_pipelining", "_reader", "_stream", "connected", "extensions")

    def __init__(
        self, address: str, port: int, *, hello: str, pipelining: bool = True, patience: float = PATIENCE
    ) -> None:
        started = clock.now()
        self._stream = connect(address, port, seconds=min(patience, 30.0))
        self._reader = ReplyReader()
        try:
            self._stream.expire_in(patience)
            greeting = self._reply()
            self.connected = clock.now() - started
            if greeting.code != 220:
                raise Refused(greeting)
            answer = self._ask(f"EHLO {hello}\r\n".encode())
            if answer.code != 250:
                raise Refused(answer)
        except BaseException:
            self._stream.close()
            raise
        self.extensions = frozenset(line.upper() for line in answer.lines[1:])
        self._pipelining = pipelining and "PIPELINING" in self.extensions

    def transact(self, mail: bytes, recipients: Sequence[bytes], parts: Sequence[bytes]) -> Sent:
        """One message. mail, recipients: whole command lines with CRLF; parts: content as on the wire, with its end.

        When the server takes no recipient the transaction ends with RSET and `dot` is None.
        """
        if self._pipelining:
            self._stream.write(b"".join((mail, *recipients, b"DATA\r\n")))
            taken = self._reply(waiting=True)
            answers = [self._reply() for _ in recipients]
            data: Reply | None = self._reply()
        else:
            taken = self._ask(mail)
            answers = [self._ask(line) for line in recipients] if taken.code < 300 else []
            data = self._ask(b"DATA\r\n") if any(reply.code < 300 for reply in answers) else None
        if data is None or data.code != 354:
            self._ask(b"RSET\r\n")
            return Sent(taken, answers, data, None, 0.0)
        if not any(reply.code < 300 for reply in answers):
            self._ask(b".\r\n")  # a 354 that should not be: RFC 2920 3.1 asks for an empty message
            return Sent(taken, answers, data, None, 0.0)
        self._stream.write_parts(parts)
        ended = clock.now()
        dot = self._reply(waiting=True)
        return Sent(taken, answers, data, dot, clock.now() - ended)

    def quit(self) -> None:
        """Say goodbye, wait for the answer, close. A server that is gone already is no error."""
        try:
            self._ask(b"QUIT\r\n")
        except PeerError:
            pass  # the session is over either way
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self._stream.close()

    def expire_in(self, seconds: float) -> None:
        """From now on all waits together may take `seconds`."""
        self._stream.expire_in(seconds)

    def _ask(self, line: bytes) -> Reply:
        self._stream.write(line)
        return self._reply(waiting=True)

    def _reply(self, *, waiting: bool = False) -> Reply:
        reader, stream = self._reader, self._stream
        while True:
            reply = reader.take()
            if reply is not None:
                return reply
            octets = stream.read_waiting_first() if waiting else stream.read()
            if not octets:
                raise PeerClosed("the server closed the connection where a reply was due")
            reader.feed(octets)
