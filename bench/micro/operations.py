"""The operations a message is made of, each alone: a function that prepares, and gives what is to be repeated.

No network, no event loop, no sync. Inputs are those of a 5 KB message from one sender to one recipient.
"""

import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from fastrelay import config, metrics
from fastrelay.config import Dns, Rate, Spool
from fastrelay.eventlog import line_of
from fastrelay.mail import envelope as envelopes
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.route import LimitKey
from fastrelay.mail.state import State, Status
from fastrelay.process.heartbeat import Page
from fastrelay.process.inhand import InHand
from fastrelay.process.ledger import Ledger
from fastrelay.routing.resolver import Resolver
from fastrelay.routing.router import Router
from fastrelay.schedule.item import Item, Place
from fastrelay.schedule.lane import Lane
from fastrelay.schedule.timers import Timers
from fastrelay.schedule.window import fresh
from fastrelay.smtp.client import Client
from fastrelay.smtp.client import State as ClientState
from fastrelay.smtp.data import Decoder, stuff
from fastrelay.smtp.events import Content, Mail, Rcpt
from fastrelay.smtp.replies import ReplyReader
from fastrelay.smtp.server import Server
from fastrelay.smtp.terms import Terms
from fastrelay.spool import slots
from fastrelay.spool.disk import Disk
from fastrelay.spool.format import MESSAGE, segment_header
from fastrelay.spool.frames import Frame, encode_batch
from fastrelay.spool.index import encode_index
from fastrelay.spool.journal import Journal
from fastrelay.spool.store import Store

Repeat = Callable[[], object]
Make = Callable[[Path], Repeat]  # the folder is empty and its own

LINE = b"A line of a message as people write them, seventy-eight octets with the end.\r\n"
CONTENT = b"From: <sender@example.com>\r\nSubject: micro\r\n\r\n" + LINE * 65
PREFIX = (
    b"Received: from client.example (unknown [192.0.2.1])\r\n\tby relay.example with ESMTP id " + b"0" * 32 + b"\r\n"
)
BATCH = 16  # messages: what 50 sessions give a journal on a disk that syncs in half a millisecond
ENVELOPE = Envelope(
    sender="sender@example.com", recipients=(Recipient("recipient@example.net"),), created=1.7e9, client="192.0.2.1",
    helo="client.example", session="0123456789abcdef", size=len(CONTENT) + len(PREFIX),
)  # fmt: skip


def session(folder: Path) -> Repeat:
    """The server machine: EHLO, MAIL, RCPT, DATA, 5 KB, QUIT, as six reads bring them."""
    terms = Terms("relay.example")
    reads = (
        b"EHLO client.example\r\n", b"MAIL FROM:<sender@example.com>\r\n", b"RCPT TO:<recipient@example.net>\r\n",
        b"DATA\r\n", CONTENT + b".\r\n", b"QUIT\r\n",
    )  # fmt: skip

    def once() -> None:
        machine = Server(terms)
        machine.greet()
        for octets in reads:
            machine.feed(octets)
            while (event := machine.next_event()) is not None:
                kind = type(event)
                if kind is Mail:
                    machine.mail_ok()
                elif kind is Rcpt:
                    machine.rcpt_ok()
                elif kind is Content and event.last:  # type: ignore[union-attr]
                    machine.taken("0" * 32)
            machine.take_output()

    return once


def transaction(folder: Path) -> Repeat:
    """The client machine: MAIL, RCPT and DATA in one group, 354, 5 KB stuffed, 250; on a session that is open."""
    machine = Client("relay.example")
    machine.receive(b"220 mx.example ESMTP\r\n")
    machine.receive(b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250 8BITMIME\r\n")
    assert machine.state is ClientState.READY
    parts = (PREFIX, CONTENT)

    def once() -> None:
        machine.begin("sender@example.com", ["recipient@example.net"])
        machine.receive(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go ahead\r\n")
        machine.content(parts)
        machine.sent()
        machine.receive(b"250 2.0.0 Taken\r\n")

    return once


def reply(folder: Path) -> Repeat:
    """One reply line of a peer that has not said the same before."""
    reader, numbers = ReplyReader(), itertools.count()

    def once() -> None:
        reader.feed(b"250 2.0.0 Ok: queued as %d\r\n" % next(numbers))
        reader.take()

    return once


def dot_decode(folder: Path) -> Repeat:
    """5 KB without a line that begins with a dot."""
    decoder, octets = Decoder(), CONTENT + b".\r\n"

    def once() -> None:
        decoder.reset()
        decoder.feed(octets)

    return once


def dot_decode_dots(folder: Path) -> Repeat:
    """5 KB of which every tenth line begins with a dot."""
    decoder = Decoder()
    lines = [b"." + LINE if n % 10 == 0 else LINE for n in range(65)]
    octets = b"".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"

    def once() -> None:
        decoder.reset()
        decoder.feed(octets)

    return once


def dot_stuff(folder: Path) -> Repeat:
    """5 KB without a line that begins with a dot."""
    parts = (PREFIX, CONTENT)
    return lambda: stuff(parts)


def envelope_encode(folder: Path) -> Repeat:
    """To the octets of a frame."""
    return lambda: envelopes.encode(ENVELOPE)


def ident(folder: Path) -> Repeat:
    """One new id."""
    return IdentSource().fresh


def journal_append(folder: Path) -> Repeat:
    """A batch of 16 messages of 5 KB: encoding, checksums, the gather write; no sync. Per batch."""
    journal = Journal(
        Disk(), str(folder), segment_size=64 * 2**20, durable=False, number=0, wall=time.time
    )  # fmt: skip
    octets, idents = envelopes.encode(ENVELOPE), IdentSource()

    def once() -> None:
        frames = [Frame(MESSAGE, idents.fresh(), octets, b"", 0, PREFIX, [CONTENT], len(CONTENT)) for _ in range(BATCH)]
        journal.append(frames, sum(frame.octets for frame in frames), sync=False)
        for news in journal.news:
            if news.closed:  # nobody reads it
                os.close(news.segment.fd)
                os.unlink(news.segment.path)
        journal.news.clear()

    return once


def store_message(folder: Path) -> Repeat:
    """The whole life of a message in the spool: committed, read, recorded as delivered; a batch each, no sync."""
    slot = slots.claim(folder)
    store = Store(slot, Spool(path=str(folder), durability="os"), threaded=False)
    store.recover()
    for _ in store.load():
        pass
    idents, done = IdentSource(), State(1, (int(Status.DELIVERED),))

    def once() -> None:
        one = idents.fresh()
        store.commit(ident=one, envelope=ENVELOPE, prefix=PREFIX, content=CONTENT)
        store.read(one)
        store.record(one, done)

    return once


def timers(folder: Path) -> Repeat:
    """One item put under a time within five hours, and left again, with 10,000 others waiting."""
    calendar, chance = Timers(0.0), random.Random(0)
    for n in range(10_000):
        calendar.put(_item(n, chance.uniform(1, 18_000)))
    item = _item(0, 0.0)

    def once() -> None:
        item.due = chance.uniform(1, 18_000)
        calendar.put(item)
        item.at = None
        calendar.left()
        calendar.sweep()

    return once


def lane(folder: Path) -> Repeat:
    """One item pushed to a lane, picked and gone, with 1,000 before it."""
    one = Lane("site", fresh(50), 0.0)
    for n in range(1000):
        _push(one, _item(n, 0.0))

    def once() -> None:
        item = one.pop()
        assert item is not None
        one.left()
        _push(one, item)

    return once


def window(folder: Path) -> Repeat:
    """A success at a site whose window is open."""
    held = fresh(50)
    for _ in range(60):
        held = held.succeeded()
    return held.succeeded


def route_cached(folder: Path) -> Repeat:
    """The decision for a domain, in force, among 1,000."""
    parsed = config.parse('[[route]]\ndomain = "*"\nnext_hop = ["127.0.0.1:2526"]\n')
    router = Router(parsed, Resolver(Dns(), []))
    names = [f"d{n}.example.net" for n in range(1000)]
    for name in names:
        router.route(name)
    now, cycle = time.monotonic(), itertools.cycle(names)
    assert router.route_cached(names[0], now) is not None
    return lambda: router.route_cached(next(cycle), now)


def event_line(folder: Path) -> Repeat:
    """A Delivery line, as settlement writes it."""
    answer = {"code": 250, "enhanced_code": "2.0.0", "content": "Taken", "command": "."}
    one = IdentSource().fresh()

    def once() -> None:
        fields = {
            "id": one, "sender": "sender@example.com", "site": "127.0.0.1:2526", "size": 5234, "created_time": 1.7e9,
            "num_attempts": 1, "session_id": "0123456789abcdef", "source_address": "127.0.0.1",
            "delays": [0.0, 0.001234, 0.0, 0.000456], "recipient": "recipient@example.net", "response": answer,
            "peer_address": {"name": "127.0.0.1", "addr": "127.0.0.1"},
        }  # fmt: skip
        line_of("Delivery", fields, 1.7e9)

    return once


def metrics_update(folder: Path) -> Repeat:
    """What one delivered message counts: received, octets, delivered at its site, two histograms."""
    counts = metrics.Counts()

    def once() -> None:
        counts.received += 1
        counts.received_bytes += 5234
        counts.sites["127.0.0.1:2526"].delivered += 1
        counts.accept_seconds.observe(0.0021)
        counts.delivery_seconds.observe(0.034)

    return once


def in_hand(folder: Path) -> Repeat:
    """A message on its way is named in the shared page, and no longer."""
    page = Page.create(1)
    page.claim(0, 0.0)
    hand, one = InHand(page), b"x" * 16
    return lambda: hand.end(hand.begin(one), one)


def rate(folder: Path) -> Repeat:
    """One message of a client that has a rate, counted over all workers."""
    buckets, key, often = Ledger.create(1).rates, LimitKey("message_rate", ("listener", "192.0.2.1")), Rate(10**9, 60)
    return lambda: buckets.spend(key, often, 1000.0)


def rate_of_a_stranger(folder: Path) -> Repeat:
    """The same of a client that was never seen."""
    buckets, often, numbers = Ledger.create(1).rates, Rate(10**9, 60), itertools.count()
    return lambda: buckets.spend(LimitKey("message_rate", ("listener", str(next(numbers)))), often, 1000.0)


def index_of_a_segment(folder: Path) -> Repeat:
    """The index of 1,000 frames, as a full segment ends."""
    header = segment_header(1, bytes(16), 1.7e9)
    encoded = envelopes.encode(ENVELOPE)
    frames = [Frame(MESSAGE, os.urandom(16), encoded, prefix=PREFIX) for _ in range(1000)]
    _, entries = encode_batch(frames, header, 128, 1, 0, 0)
    return lambda: encode_index(header, 1 << 20, 0, entries)


OPERATIONS: dict[str, Make] = {
    make.__name__: make
    for make in (
        session, dot_decode, dot_decode_dots, envelope_encode, ident, journal_append, store_message, timers, lane,
        window, route_cached, transaction, dot_stuff, reply, event_line, metrics_update, in_hand, rate,
        rate_of_a_stranger, index_of_a_segment,
    )
}  # fmt: skip


def _item(number: int, due: float) -> Item:
    return Item(number.to_bytes(16, "big"), "example.net", (0,), 0, due, 1e9)


def _push(one: Lane, item: Item) -> None:
    item.at, item.place = one, Place.READY
    one.push(item)
