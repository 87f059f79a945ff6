"""One question to one name server: over UDP, repeated while nothing comes, and over TCP where UDP will not do.

Every question has its own socket, so its own random source port, and a random id. What is not a reply to it is passed
over; after a few of those someone is guessing, and the question goes over TCP, where guessing does not help. An old
server that cannot read EDNS is asked again without. Errors: PeerError when the server stayed silent, was unreachable
or spoke no DNS; MachineShort when no socket could be had. It never waits longer than `seconds`, give or take the
second by which the deadline wheel may be late on TCP.
"""

import secrets

from fastrelay.errors import PeerClosed, PeerError, PeerTimeout
from fastrelay.routing import wire
from fastrelay.routing.answers import Question
from fastrelay.routing.servers import RESEND, Server
from fastrelay.routing.wire import Reading, Verdict
from fastrelay.runtime import clock, stream
from fastrelay.runtime.datagram import Datagram

MAX_STRANGERS = 3  # datagrams with other ids or questions before TCP; late repeats explain one or two
MIN_TCP = 1.0  # seconds granted to TCP when UDP used the time up


def ask(server: Server, question: Question, seconds: float) -> Reading:
    """The server's reading of `question`: its verdict is ANSWER."""
    deadline = clock.now() + seconds
    edns = True
    with Datagram(server.address, server.port) as socket:
        reading = _ask_udp(socket, question, deadline, edns=True)
        if reading.verdict is Verdict.NO_EDNS:
            edns = False
            reading = _ask_udp(socket, question, deadline, edns=False)
    if reading.verdict in (Verdict.TRUNCATED, Verdict.NOT_OURS, Verdict.BROKEN):
        reading = ask_tcp(server, question, max(deadline - clock.now(), MIN_TCP), edns=edns)
    if reading.verdict is not Verdict.ANSWER:
        raise PeerError(f"{server}: reply is {reading.verdict.value}")
    return reading


def _ask_udp(socket: Datagram, question: Question, deadline: float, *, edns: bool) -> Reading:
    """The first reply that is ours; NOT_OURS when too many were not."""
    sent = wire.ask(question, secrets.randbits(16), edns=edns)
    strangers = 0
    again = 0.0
    while True:
        now = clock.now()
        if now >= deadline:
            raise PeerTimeout("no reply in time")
        if now >= again:
            socket.send(sent)
            again = now + RESEND
        try:
            octets = socket.wait_datagram(min(again, deadline) - now)
        except PeerTimeout:
            continue
        reading = wire.read(octets, sent, question)
        if reading.verdict is Verdict.NOT_OURS:
            strangers += 1
            if strangers >= MAX_STRANGERS:
                return wire.NOT_OURS
            continue
        return reading


def ask_tcp(server: Server, question: Question, seconds: float, *, edns: bool = True) -> Reading:
    """The same over TCP (RFC 7766): one connection, one question."""
    sent = wire.ask(question, secrets.randbits(16), edns=edns)
    deadline = clock.now() + seconds
    connection = stream.connect(server.address, server.port, seconds=seconds)
    try:
        connection.expire_at(deadline)
        connection.write(len(sent).to_bytes(2, "big") + sent)
        received = b""
        while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            piece = connection.read_waiting_first()
            if not piece:
                raise PeerClosed(f"{server}: closed the TCP connection before its reply was whole")
            received += piece
    finally:
        connection.close()
    return wire.read(received[2 : 2 + int.from_bytes(received[:2], "big")], sent, question)
