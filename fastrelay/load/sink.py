"""A sink: the smallest SMTP server that takes mail, counts it and throws it away; misbehaving on request.

It is the peer of tests, demo and benchmarks, so it has a loop of its own instead of the strict machine of smtp/: it
must cost little (it shares the processors with the relay that is measured) and must be able to break off in any phase.
Commands are told by their first four letters, paths are taken as they stand; nothing here is safe to face strangers.

Bounded: 64 KiB of commands not yet understood, 16 KiB of a message are looked at, one connection waits at most
`patience` seconds for its client.
"""

import random
import ssl

from fastrelay.errors import PeerError
from fastrelay.load.limits import NO_LIMITS, Limits, Presence
from fastrelay.load.message import find_mark
from fastrelay.load.profile import REPLIES, Profile, Verdict
from fastrelay.load.tally import Tally
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.stream import Stream

EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")
_END = b"\r\n.\r\n"
_MAX_COMMANDS = 64 * 1024
_HEAD = 16 * 1024  # octets of a message that are kept to find its mark


class Sink:
    """Serves connections by a profile and limits and counts into a tally. `chance` decides shares: one seed, one
    behaviour.

    presence: shared by several processes, of which this is `number`. tls: STARTTLS is offered, or with `implicit` TLS
    comes first.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        profile: Profile | None = None,
        chance: random.Random | None = None,
        name: str = "sink.invalid",
        extensions: tuple[str, ...] = EXTENSIONS,
        patience: float = 300.0,
        limits: Limits | None = None,
        presence: Presence | None = None,
        number: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
    ) -> None:
        self.tally = tally
        self.profile = profile or {}
        self.chance = chance or random.Random(0)
        self.patience = patience
        self.limits = limits or NO_LIMITS
        self._presence = presence
        if presence is None and (self.limits.connections or self.limits.per_client):
            self._presence = Presence(self.limits)
        self._number = number
        self.tls = tls
        self.implicit = implicit
        self.greeting = f"220 {name} ESMTP sink\r\n".encode()
        self.hello_secured = _hello((name, *extensions))
        self.hello = _hello((name, *extensions, "STARTTLS")) if tls is not None else self.hello_secured

    def serve(self, stream: Stream) -> None:
        """One connection, to its end."""
        tally = self.tally
        tally.connections += 1
        presence = self._presence
        if presence is not None and not presence.enter(self._number, stream.peer[0]):
            tally.throttled += 1
            stream.write_nowait(self.limits.busy)
            stream.close()
            return
        tally.open += 1
        tally.peak = max(tally.peak, tally.open)
        try:
            _Session(self, stream).run()
        except _HungUp:
            tally.disconnected += 1
        except PeerError:
            tally.broken += 1
        finally:
            tally.open -= 1
            stream.close()
            if presence is not None:
                presence.leave(self._number, stream.peer[0])


def _hello(lines: tuple[str, ...]) -> bytes:
    return "".join(f"250{' ' if n == len(lines) else '-'}{line}\r\n" for n, line in enumerate(lines, 1)).encode()


class _HungUp(Exception):
    """The profile ends this connection."""


class _Session:
    """One client: what it sent and is not understood yet, replies not yet written, the transaction."""

    __slots__ = ("_buffer", "_encrypted", "_out", "_recipients", "_sink", "_stream", "_taken")

    def __init__(self, sink: Sink, stream: Stream) -> None:
        self._sink = sink
        self._stream = stream
        self._buffer = b""
        self._out: list[bytes] = []
        self._recipients: list[bytes] = []
        self._taken = 0  # messages
        self._encrypted = False

    def run(self) -> None:
        """Greet, then command by command; every reply to what came in one read leaves in one write."""
        self._stream.expire_in(self._sink.patience)
        if self._sink.tls is not None and self._sink.implicit:
            self._secure(self._sink.tls)
        if not self._answer("connect", self._sink.greeting):
            self._flush()
            return
        while True:
            self._flush()
            octets = self._stream.read_waiting_first()
            if not octets:
                self._sink.tally.broken += 1
                return
            self._stream.expire_in(self._sink.patience)
            self._buffer = self._buffer + octets if self._buffer else octets
            if not self._commands():
                self._flush()
                return

    def _commands(self) -> bool:
        """Every whole line of the buffer; False when the connection is to end."""
        while True:
            buffer = self._buffer
            end = buffer.find(b"\r\n")
            if end < 0:
                return len(buffer) <= _MAX_COMMANDS
            self._buffer = buffer[end + 2 :]
            verb = buffer[:4].upper()
            if verb == b"RCPT":
                self._recipient(_path(buffer[:end]))
            elif verb == b"MAIL":
                most = self._sink.limits.messages
                if most and self._taken >= most:
                    self._sink.tally.limited += 1
                    self._out.append(self._sink.limits.enough)
                    return False
                self._recipients = []
                self._answer("mail", b"250 2.1.0 Ok\r\n")
            elif verb == b"DATA":
                self._data()
                if self._taken == self._sink.limits.messages and self._taken and not self._sink.limits.enough:
                    self._sink.tally.limited += 1
                    return False
            elif verb in (b"EHLO", b"HELO"):
                if not self._answer("ehlo", self._hello() if verb == b"EHLO" else b"250 sink\r\n"):
                    return False
            elif verb == b"STAR" and self._sink.tls is not None and not self._encrypted:
                self._out.append(b"220 2.0.0 Ready\r\n")
                self._flush()
                self._buffer, self._recipients = b"", []
                self._secure(self._sink.tls)
            elif verb == b"QUIT":
                self._answer("quit", b"221 2.0.0 Bye\r\n")
                return False
            elif verb in (b"RSET", b"NOOP"):
                self._recipients = [] if verb == b"RSET" else self._recipients
                self._out.append(b"250 2.0.0 Ok\r\n")
            else:
                self._out.append(b"500 5.5.2 Not known to a sink\r\n")

    def _recipient(self, path: bytes) -> None:
        limits, recipients = self._sink.limits, self._recipients
        if limits.recipients and len(recipients) >= limits.recipients:
            refusal = limits.crowded
        elif limits.one_domain and recipients and _domain(path) != _domain(recipients[0]):
            refusal = limits.foreign
        else:
            if self._answer("rcpt", b"250 2.1.5 Ok\r\n"):
                recipients.append(path)
            return
        self._sink.tally.limited += 1
        self._out.append(refusal)

    def _hello(self) -> bytes:
        return self._sink.hello_secured if self._encrypted else self._sink.hello

    def _secure(self, context: ssl.SSLContext) -> None:
        self._stream.start_tls(context, server_side=True)
        self._encrypted = True
        self._sink.tally.encrypted += 1

    def _data(self) -> None:
        if not self._recipients:
            self._out.append(b"554 5.5.1 No recipients\r\n")
            return
        if not self._answer("data", b"354 Go ahead\r\n"):
            return
        self._flush()
        head, size = self._content()
        if self._answer("dot", b"250 2.0.0 Taken\r\n"):
            self._taken += 1
            mark = find_mark(head)
            ident, offered = mark or ("", 0.0)
            self._sink.tally.arrived(clock.now(), size, self._recipients, ident, offered)
        self._recipients = []

    def _content(self) -> tuple[bytes, int]:
        """Read to the end of data: the message's first octets and the number of all, as they were on the wire."""
        head, size = b"", 0
        edge = b"\r\n"  # the last octets before the piece: the end may lie across two pieces, or come at once
        piece = self._buffer
        while True:
            if piece:
                seam = (edge + piece[:4]).find(_END)
                end = seam - len(edge) if seam >= 0 else piece.find(_END)
                if end >= 0 or seam >= 0:
                    self._buffer = piece[end + 5 :]
                    size += end + 2
                    return head + piece[:_HEAD] if len(head) < _HEAD else head, size
                size += len(piece)
                if len(head) < _HEAD:
                    head += piece[:_HEAD]
                edge = (edge + piece[-4:])[-4:]
            if size:
                piece = self._stream.read()
            else:  # nothing of it can be there yet: the 354 has just gone out
                piece = self._stream.read_waiting_first()
            if not piece:
                self._buffer = b""
                raise _Vanished
            self._stream.expire_in(self._sink.patience)

    def _answer(self, phase: str, good: bytes) -> bool:
        """Queue the reply the profile wants; True when it is the good one."""
        rule = self._sink.profile.get(phase) if self._sink.profile else None
        if rule is None:
            self._out.append(good)
            return True
        if rule.latency:
            self._flush()
            tasks.sleep(rule.latency)
        verdict = rule.judge(self._sink.chance.random())
        if verdict is Verdict.ACCEPT:
            self._out.append(good)
            return True
        if verdict is Verdict.DISCONNECT:
            self._flush()
            raise _HungUp
        if verdict is Verdict.DEFER:
            self._sink.tally.deferred += 1
        else:
            self._sink.tally.rejected += 1
        self._out.append(REPLIES[phase, verdict])
        return False

    def _flush(self) -> None:
        out = self._out
        if out:
            self._stream.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()


class _Vanished(PeerError):
    """The client went away in the middle of a message."""


def _path(line: bytes) -> bytes:
    """What stands between the brackets of MAIL or RCPT; the whole rest where there are none."""
    start, end = line.find(b"<"), line.rfind(b">")
    return line[start + 1 : end] if 0 <= start < end else line[8:].strip()


def _domain(path: bytes) -> bytes:
    return path.rpartition(b"@")[2].lower()
