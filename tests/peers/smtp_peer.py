"""A scripted SMTP server on loopback, on the event loop of the test: right in everything its script does not name.

    peer = SmtpPeer({"rcpt": says(b"450 4.2.1 busy\r\n")}, GOOD)     # the first connection, then all others

A script maps a step to an act, or to a tuple of acts for its first, second, ... time (None: do the right thing); steps:
connect banner ehlo starttls mail rcpt data content dot after_dot rset quit. An act gets the session and does what it
likes with it; when it raises Gone the connection is over. `content` acts between 354 and the first octet read,
`after_dot` behind the reply.
Time does not pass by itself: an act that stalls turns the deadline wheel by hours until the client gives up.
"""

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from fastrelay.errors import PeerError
from fastrelay.runtime import clock, stream, tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")
REPLIES = {
    "banner": b"220 peer.example ESMTP\r\n",
    "helo": b"250 peer.example\r\n",
    "starttls": b"220 2.0.0 go\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go\r\n",
    "dot": b"250 2.0.0 taken\r\n",
    "rset": b"250 2.0.0 ok\r\n",
    "quit": b"221 2.0.0 bye\r\n",
}


_ESTABLISHED = 1  # TCP_INFO's word for a connection neither side has ended


class Gone(Exception):
    """The act has ended the connection."""


Act: TypeAlias = "Callable[[Session], None]"
Script: TypeAlias = "Mapping[str, Act | Sequence[Act | None]]"
GOOD: Script = {}


class SmtpPeer:
    """Listens on 127.0.0.1 (or `address`); connection n follows script n, those beyond the last script the last."""

    def __init__(
        self,
        *scripts: Script,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        name: str = "peer.example",
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.scripts = scripts or (GOOD,)
        self.extensions = [*extensions, "STARTTLS"] if tls is not None else list(extensions)
        self.tls = tls
        self.name = name
        self.sessions: list[Session] = []
        self.messages: list[tuple[str, list[str], bytes]] = []  # those it took: sender, recipients, content
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(64)
        self.port = int(sock.getsockname()[1])
        self._listener = Listener(sock, self._serve, spawn=tasks.spawn)
        self._listener.start()

    @property
    def open(self) -> int:
        """Connections whose client has not hung up yet."""
        return sum(not session.over for session in self.sessions)

    def commands(self, connection: int) -> list[str]:
        """What the client of the nth connection said, line by line, without content."""
        return self.sessions[connection].commands

    def close(self) -> None:
        """No new connections, and an end to those open."""
        self._listener.close()
        for session in self.sessions:
            if not session.over:
                session.stream.reset()
                tasks.kill(session.task)

    def _serve(self, link: Stream) -> None:
        script = self.scripts[min(len(self.sessions), len(self.scripts) - 1)]
        session = Session(self, link, script)
        self.sessions.append(session)
        try:
            session.run()
        except (Gone, PeerError):
            pass
        finally:
            session.over = True
            link.close()


class Session:
    """One connection. `commands`: the lines read; `written`: octets an act has got rid of."""

    def __init__(self, peer: SmtpPeer, link: Stream, script: Script) -> None:
        self.peer = peer
        self.stream = link
        self.script = script
        self.task = tasks.current()
        self.commands: list[str] = []
        self.said = b""  # the last reply
        self.written = 0
        self.over = False
        self.stuck = False  # an act waits for the client's end
        self.encrypted = False
        self._times: dict[str, int] = {}
        self._in = b""
        self._out: list[bytes] = []
        self._sender = ""
        self._recipients: list[str] = []

    def run(self) -> None:
        self._step("connect", b"")
        self._step("banner")
        while True:
            line = self._line()
            self.commands.append(line)
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == "EHLO":
                lines = [self.peer.name, *(e for e in self.peer.extensions if e != "STARTTLS" or not self.encrypted)]
                heads = [b"250-"] * (len(lines) - 1) + [b"250 "]
                self._step("ehlo", b"".join(b"%s%s\r\n" % (h, x.encode()) for h, x in zip(heads, lines, strict=True)))
            elif verb == "HELO":
                self._step("helo")
            elif verb == "STARTTLS":
                self._secure()
            elif verb == "MAIL":
                self._sender = line[line.index("<") + 1 : line.index(">")]
                self._recipients = []
                self._step("mail")
            elif verb == "RCPT":
                self._step("rcpt")
                if self.said.startswith(b"2"):
                    self._recipients.append(line[line.index("<") + 1 : line.index(">")])
            elif verb == "DATA":
                self._data()
            elif verb == "RSET":
                self._step("rset")
            elif verb == "QUIT":
                self._step("quit")
                self.flush()
                raise Gone
            else:
                self.say(b"500 5.5.2 what\r\n")

    # -- for acts -------------------------------------------------------------------------------------------------

    def say(self, octets: bytes) -> None:
        """Goes out with whatever else is said before the next read."""
        self.said = octets
        self._out.append(octets)

    def flush(self) -> None:
        if self._out:
            octets, self._out = b"".join(self._out), []
            self.stream.write(octets)

    # -- the right thing ------------------------------------------------------------------------------------------

    def _step(self, step: str, right: bytes | None = None) -> None:
        time = self._times.get(step, 0)
        self._times[step] = time + 1
        acts = self.script.get(step)
        if isinstance(acts, Sequence):
            act = acts[time] if time < len(acts) else None
        else:
            act = acts
        if act is not None:
            act(self)
        else:
            self.say(REPLIES[step] if right is None else right)

    def _secure(self) -> None:
        self._step("starttls")
        accepted = self.said.startswith(b"220")
        self.flush()
        if accepted and self.peer.tls is not None:
            self._in = b""
            self.stream.start_tls(self.peer.tls, server_side=True)
            self.encrypted = True

    def _data(self) -> None:
        if not self._recipients:
            self._step("data", b"554 5.5.1 no valid recipients\r\n")
        else:
            self._step("data")
        if not self.said.startswith(b"354"):
            return
        self.flush()
        self._step("content", b"")
        content = self._in
        while not (content.startswith(b".\r\n") or b"\r\n.\r\n" in content[-70_000:]):
            content += self._more()
        end = 0 if content.startswith(b".\r\n") else content.rindex(b"\r\n.\r\n") + 2
        self._in = content[end + 3 :]
        self._step("dot")
        if self.said.startswith(b"2"):
            self.peer.messages.append((self._sender, self._recipients, content[:end].replace(b"\r\n..", b"\r\n.")))
        self._step("after_dot", b"")

    def _line(self) -> str:
        while b"\n" not in self._in:
            self._in += self._more()
        line, _, self._in = self._in.partition(b"\n")
        return line.decode().rstrip("\r")

    def _more(self) -> bytes:
        self.flush()
        octets = self.stream.read()
        if not octets:
            raise Gone
        return octets


# -- acts -------------------------------------------------------------------------------------------------------------


def says(octets: bytes) -> Act:
    """This instead of the right reply."""
    return lambda session: session.say(octets)


def says_and_closes(octets: bytes) -> Act:
    """A last word and an end in good order."""

    def act(session: Session) -> None:
        session.say(octets)
        session.flush()
        raise Gone

    return act


def closes(session: Session) -> None:
    """Without a word."""
    session.flush()
    raise Gone


def resets(session: Session) -> None:
    """RST, as a machine that went down and came back would."""
    session.flush()
    session.stream.reset()
    raise Gone


def stalls(session: Session) -> None:
    """Says and reads nothing while hours pass, until the client has hung up."""
    hours = 0

    def pass_hours() -> None:
        nonlocal hours
        hours += 1
        stream.wheel.turn(clock.now() + 3600.0 * hours)

    _stay(session, pass_hours)


def hangs(session: Session) -> None:
    """Says and reads nothing, and no time passes: until somebody else has ended the client."""
    _stay(session, lambda: None)


def _stay(session: Session, look: Callable[[], object]) -> None:
    """Until the client is gone, without reading: what it writes must stay in its way."""
    session.flush()
    session.stuck = True
    gone = tasks.Parking()

    def turn() -> None:
        state = session.stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != _ESTABLISHED:
            gone.wake()
        else:
            look()

    ticker = tasks.Ticker(0.005, turn)
    try:
        gone.wait(30.0)
    finally:
        ticker.close()
    raise Gone


def drips(octets: bytes) -> Act:
    """The reply in single octets, each in a segment of its own."""

    def act(session: Session) -> None:
        session.flush()
        for n in range(len(octets)):
            session.stream.write(octets[n : n + 1])
            tasks.run_loop_once()
        session.said = octets

    return act


def floods(piece: bytes, most: int, begin: bytes = b"") -> Act:
    """`begin`, then `piece` again and again up to `most` octets, or until the client hangs up."""

    def act(session: Session) -> None:
        session.flush()
        try:
            session.stream.write(begin)
            while session.written < most:
                session.stream.write(piece)
                session.written += len(piece)
        except PeerError:
            raise Gone from None
        raise Gone

    return act
