"""A receiving server in threads that goes wrong at one step, for tests that run the relay as processes.

    with RudePeer("rcpt", says(b"what?\r\n")) as peer: ...   # its first connection; those after it are served well

Steps: banner ehlo mail rcpt data content dot. `content` acts between 354 and the first octet read. An act gets the
Talk and does what it likes with it, in place of the right reply; Gone ends the connection.
"""

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

_PATIENCE = 60.0  # seconds until a peer's thread gives up, whatever a test has forgotten

RIGHT = {
    "banner": b"220 peer.example ESMTP\r\n",
    "ehlo": b"250-peer.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 52428800\r\n",
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go\r\n",
    "dot": b"250 2.0.0 taken\r\n",
}


class Gone(Exception):
    """The connection is over."""


class Taken(NamedTuple):
    """A message the peer said 250 to, or went wrong at the dot of."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Talk:
    """One connection."""

    def __init__(self, peer: "RudePeer", sock: socket.socket, act: "Act | None") -> None:
        self.peer = peer
        self.sock = sock
        self._act = act
        self._in = b""
        self._raw = bytearray()
        peer.raw.append(self._raw)

    def run(self) -> None:
        self._step("banner")
        sender = ""
        recipients: list[str] = []
        while True:
            line = self._line()
            self.peer.commands.append(line)
            verb = line[:4].upper()
            if verb == "EHLO":
                self._step("ehlo")
            elif verb == "MAIL":
                sender, recipients = _address(line), []
                self._step("mail")
            elif verb == "RCPT":
                address = _address(line)
                if self.peer.one_domain and recipients and _domain(address) != _domain(recipients[0]):
                    self.peer.refused.append(address)
                    self.sock.sendall(b"451 4.3.0 Multiple destination domains per transaction is unsupported\r\n")
                    continue
                recipients.append(address)
                self._step("rcpt")
            elif verb == "DATA":
                self._step("data")
                self._step("content")
                content = self._content()
                if not content:  # of who was told 354 although all it had named were refused
                    self.sock.sendall(b"554 5.5.1 no valid recipients\r\n")
                    continue
                message = Taken(sender, tuple(recipients), content)
                self.peer.offered.append(message)
                self._step("dot")
                self.peer.messages.append(message)
            elif verb == "QUIT":
                self.sock.sendall(b"221 2.0.0 bye\r\n")
                raise Gone
            else:
                self.sock.sendall(b"250 2.0.0 ok\r\n")

    def _step(self, step: str) -> None:
        if step == self.peer.step and self._act is not None:
            act, self._act = self._act, None
            act(self)
        elif step in RIGHT:
            self.sock.sendall(RIGHT[step])

    def _line(self) -> str:
        while b"\n" not in self._in:
            self._in += self._more()
        line, _, self._in = self._in.partition(b"\n")
        return line.decode().rstrip("\r")

    def _content(self) -> bytes:
        """Up to the dot, which may be all there is."""
        pieces = bytearray(b"\r\n" + self._in)
        while b"\r\n.\r\n" not in pieces[-70_000:]:
            pieces += self._more()
        content, _, self._in = bytes(pieces).partition(b"\r\n.\r\n")
        return content[2:] + b"\r\n" if content else b""

    def _more(self) -> bytes:
        octets = self.sock.recv(65536)
        if not octets:
            raise Gone
        self._raw += octets
        return octets


Act = Callable[[Talk], None]


class RudePeer:
    """Listens on `port` of 127.0.0.1 inside a `with`. Its first `times` connections meet `act` at `step`.

    one_domain: a transaction takes recipients of one domain only, others are put off (`refused`). offered: messages
    whose dot it saw; messages: those it said 250 to. commands: every line it was told outside them. stuck: connections
    an act keeps waiting. written: octets an act got rid of. raw: every octet it was sent, by connection.
    """

    def __init__(
        self, step: str = "", act: Act | None = None, *, times: int = 1, one_domain: bool = False, port: int = 0
    ) -> None:
        self.step = step
        self.one_domain = one_domain
        self.connections = 0
        self.stuck = 0
        self.written = 0
        self.commands: list[str] = []
        self.raw: list[bytearray] = []
        self.refused: list[str] = []
        self.offered: list[Taken] = []
        self.messages: list[Taken] = []
        self._act = act
        self._times = times
        self._sock = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = int(self._sock.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            self.connections += 1
            act = self._act if self.connections <= self._times else None
            threading.Thread(target=self._serve, args=(sock, act), daemon=True).start()

    def _serve(self, sock: socket.socket, act: Act | None) -> None:
        sock.settimeout(_PATIENCE)
        self._open.add(sock)
        with contextlib.suppress(Gone, OSError), sock:
            Talk(self, sock, act).run()
        self._open.discard(sock)

    def __enter__(self) -> "RudePeer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for sock in [*self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)


class DeafPeer:
    """A port whose queue of connections is full: a further one is neither refused nor made."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(0)
        self.port = int(self._sock.getsockname()[1])
        self._callers = []
        for _ in range(2):  # the kernel takes one more than it was told
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", self.port))
            self._callers.append(caller)

    def close(self) -> None:
        for sock in (*self._callers, self._sock):
            sock.close()


# -- acts -------------------------------------------------------------------------------------------------------------


def says(octets: bytes) -> Act:
    """This, and then on as if nothing were."""
    return lambda talk: talk.sock.sendall(octets)


def stalls(talk: Talk) -> None:
    """Neither says nor reads anything until the client has hung up."""
    talk.peer.stuck += 1
    poll = select.poll()
    poll.register(talk.sock, select.POLLRDHUP)
    poll.poll(_PATIENCE * 1000)
    talk.peer.stuck -= 1
    raise Gone


def closes(talk: Talk) -> None:
    """An end in good order, without a word."""
    raise Gone


def resets(talk: Talk) -> None:
    """RST, as a machine that went down and came back would."""
    talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def says_and_closes(octets: bytes) -> Act:
    """This, and an end in good order."""

    def act(talk: Talk) -> None:
        talk.sock.sendall(octets)
        raise Gone

    return act


def drips(talk: Talk) -> None:
    """The first words of a reply, and then an octet of it five times a second, without end."""
    talk.sock.sendall(b"250-")
    poll = select.poll()
    poll.register(talk.sock, select.POLLRDHUP)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and not poll.poll(200):
        talk.sock.sendall(b"x")
    raise Gone


def injects(context: ssl.SSLContext | None) -> Act:
    """STARTTLS is offered, and answered with its 220 and replies in plaintext behind it, as somebody on the wire would.
    Then the handshake, and on inside TLS; without a context an end."""

    def act(talk: Talk) -> None:
        talk.sock.sendall(b"250-peer.example\r\n250 STARTTLS\r\n")
        talk.peer.commands.append(talk._line())
        talk.sock.sendall(
            b"220 2.0.0 go\r\n250-evil.example\r\n250 SIZE 1\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
        )
        if context is None:
            talk._more()
            raise Gone
        talk.sock = context.wrap_socket(talk.sock, server_side=True)

    return act


def floods(piece: bytes, most: int, begin: bytes = b"") -> Act:
    """`begin`, then `piece` again and again up to `most` octets, or until the client hangs up."""

    def act(talk: Talk) -> None:
        talk.sock.sendall(begin)
        while talk.peer.written < most:
            talk.sock.sendall(piece)
            talk.peer.written += len(piece)
        raise Gone

    return act


def _address(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
