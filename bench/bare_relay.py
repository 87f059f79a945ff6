"""The bare relay: the least that relays mail safely on fastrelay's ground. The yardstick, not a product.

    python bench/bare_relay.py --listen 127.0.0.1:2525 --to 127.0.0.1:2526 --journal DIR --workers 2

A master binds the listener and forks workers that share it. A worker accepts, reads a message, appends it to its
journal with whatever other messages wait (one write and one fdatasync by one native thread), answers 250 once the sync
has returned, and hands the message to a pooled outbound connection. What fastrelay costs above it is the price of what
is missing here: strict parsing, recovery, retries, routing, limits, bounces, event log, metrics, deadlines.
It relays to one next hop, keeps nothing it has delivered, and a refusal by the next hop ends the worker.
"""

import argparse
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from fastrelay.errors import PeerClosed
from fastrelay.runtime import stream, tasks
from fastrelay.runtime.crowd import Crowd
from fastrelay.runtime.listener import Listener

BACKLOG = 1024
MAX_JOURNAL = 64 * 1024 * 1024  # octets, then the file starts over: a yardstick does not fill the disk
END = b"\r\n.\r\n"
HELLO = b"250-bare.invalid\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n"
OK, GO_AHEAD, BYE = b"250 2.0.0 Ok\r\n", b"354 Go ahead\r\n", b"221 2.0.0 Bye\r\n"
RECEIVED = b"Received: by bare.invalid; Thu, 1 Jan 1970 00:00:00 +0000\r\n"


class Message(NamedTuple):
    """Content stays stuffed as it came, its end of data included."""

    sender: bytes
    recipients: list[bytes]
    content: bytes


class Journal:
    """Group commit: while the thread is at the disk, the next batch gathers."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._waiting: list[tuple[bytes, tasks.Parking]] = []
        self._away: list[tuple[bytes, tasks.Parking]] = []
        self._trips: SimpleQueue[bytes] = SimpleQueue()
        self._bell = tasks.Bell(self._returned)
        self._size = 0
        tasks.start_native_thread("journal", self._write)

    def commit(self, octets: bytes) -> None:
        """Returns when `octets` are on stable storage."""
        place = tasks.Parking()
        self._waiting.append((octets, place))
        if not self._away:
            self._leave()
        place.wait()

    def _leave(self) -> None:
        self._away, self._waiting = self._waiting, self._away
        self._trips.put(b"".join([octets for octets, _ in self._away]))

    def _returned(self) -> None:
        back, self._away = self._away, []
        if self._waiting:
            self._leave()
        for _, place in back:
            place.wake()

    def _write(self) -> None:
        while True:
            octets = self._trips.get()
            if self._size > MAX_JOURNAL:
                os.ftruncate(self._fd, 0)
                self._size = 0
            if os.write(self._fd, octets) != len(octets):
                os.abort()
            os.fdatasync(self._fd)
            self._size += len(octets)
            self._bell.ring()


class Road:
    """At most `limit` connections to the next hop; a warm one pulls the next message itself."""

    def __init__(self, host: str, port: int, limit: int) -> None:
        self._hop = (host, port)
        self._queue: deque[Message] = deque()
        self._idle: list[tasks.Parking] = []
        self._open = 0
        self._limit = limit

    def send(self, message: Message) -> None:
        """Take a message; never waits."""
        self._queue.append(message)
        if self._idle:
            self._idle.pop().wake()
        elif self._open < self._limit:
            self._open += 1
            tasks.spawn(self._run)

    def _run(self) -> None:
        link = stream.connect(*self._hop)
        _expect(link, 1)
        link.write(b"EHLO bare.invalid\r\n")
        while b"\n250 " not in (hello := link.read()) and not hello.startswith(b"250 "):
            pass
        while True:
            while self._queue:
                sender, recipients, content = self._queue.popleft()
                link.write(b"MAIL %b\r\n%b\r\nDATA\r\n" % (sender, b"\r\n".join([b"RCPT " + to for to in recipients])))
                _expect(link, len(recipients) + 2)
                link.write_parts((RECEIVED, content))
                _expect(link, 1)
            place = tasks.Parking()
            self._idle.append(place)
            place.wait()


def _expect(link: stream.Stream, lines: int) -> None:
    replies = b""
    while replies.count(b"\n") < lines:
        octets = link.read_waiting_first()
        if not octets:
            raise PeerClosed("the next hop closed")
        replies += octets
    if any(line[:1] not in (b"2", b"3") for line in replies.splitlines()):
        sys.stderr.write(f"the next hop refused: {replies!r}\n")
        os.abort()


class Front:
    """The SMTP server: one write per group of replies."""

    def __init__(self, journal: Journal, road: Road) -> None:
        self._journal = journal
        self._road = road

    def serve(self, client: stream.Stream) -> None:
        """One connection, to its end."""
        try:
            client.write(b"220 bare.invalid ESMTP\r\n")
            self._converse(client)
        except PeerClosed:
            pass
        finally:
            client.close()

    def _converse(self, client: stream.Stream) -> None:
        buffer, sender, recipients = b"", b"", list[bytes]()
        while octets := client.read_waiting_first():
            buffer += octets
            replies = b""
            while (end := buffer.find(b"\r\n")) >= 0:
                verb, line, buffer = buffer[:4].upper(), buffer[5:end], buffer[end + 2 :]
                if verb == b"DATA":
                    client.write(replies + GO_AHEAD)
                    content, buffer = self._content(client, buffer)
                    message = Message(sender, recipients, content)
                    self._journal.commit(b"%b\n%b\n%b" % (sender, b"\n".join(recipients), content))
                    replies, recipients = OK, []
                    self._road.send(message)
                elif verb == b"QUIT":
                    client.write(replies + BYE)
                    return
                else:
                    replies += HELLO if verb == b"EHLO" else OK
                    if verb == b"MAIL":
                        sender, recipients = line.split(b" ", 1)[0], []
                    elif verb == b"RCPT":
                        recipients.append(line)
            client.write(replies)

    @staticmethod
    def _content(client: stream.Stream, first: bytes) -> tuple[bytes, bytes]:
        pieces, tail = [first] if first else [], first
        while (tail.find(END)) < 0:
            octets = client.read()
            if not octets:
                raise PeerClosed("closed inside a message")
            pieces.append(octets)
            tail = tail[-4:] + octets
        content = b"".join(pieces)
        end = content.find(END, max(0, len(content) - len(tail))) + len(END)
        return content[:end], content[end:]


def work(listening: socket.socket, hop: tuple[str, int], journal: Path, connections: int) -> None:
    """A worker, for as long as it lives."""
    front = Front(Journal(journal), Road(*hop, connections))
    Listener(listening, front.serve, spawn=Crowd().spawn).start()
    tasks.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="the bare relay, the yardstick of the benchmarks")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    parser.add_argument("--to", required=True, help="HOST:PORT of the one next hop")
    parser.add_argument("--journal", required=True, type=Path, help="folder for one file per worker")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=25, help="outbound, per worker")
    options = parser.parse_args()
    host, _, port = options.listen.rpartition(":")
    hop_host, _, hop_port = options.to.rpartition(":")
    listening = socket.create_server((host, int(port)), backlog=BACKLOG)
    children = []
    for number in range(options.workers):
        child = os.fork()
        if child == 0:
            work(listening, (hop_host, int(hop_port)), options.journal / f"{number}", options.connections)
            os._exit(1)
        children.append(child)

    def stop(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    for _ in children:
        os.wait()


if __name__ == "__main__":
    main()
