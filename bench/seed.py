"""Fills a spool with queued mail through the spool's own Store, not by SMTP: 6,600 a second (measured with 20,000).

    python bench/seed.py --spool DIR --messages 1000000 --slots 2

Each message has 5 KB, one sender and one recipient in one of 1,000 domains (--size, --senders, --domains), was tried
once and put off for one to five hours (--first-hour, --last-hour), so that a relay which loads it leaves it alone for
the length of a measurement. One process fills one slot. Nothing is synced on the way (durability "os"); at the end
everything is. Prints messages and seconds.
"""

import argparse
import os
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastrelay.config import Spool
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.ident import IdentSource
from fastrelay.mail.state import State, Waiting
from fastrelay.spool import slots
from fastrelay.spool.store import Store

DOMAINS = 1000
_HOUR = 3600.0
REPLIES = ("450 4.2.1 Mailbox deferred",)
_PREFIX = (
    b"Received: from seed.invalid (unknown [127.0.0.1])\r\n\tby relay.invalid with ESMTP id 0123456789abcdef\r\n"
    b"\t; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
)


def fill(
    spool: Path,
    number: int,
    messages: int,
    size: int,
    *,
    senders: int = 1,
    domains: int = DOMAINS,
    hours: tuple[float, float] = (1.0, 5.0),
    replies: Sequence[str] = REPLIES,
) -> None:
    """Slot `number`, with so many messages of `size` octets. hours: when they are due, from now. replies: their last
    ones, in turn."""
    slot = slots.take(spool, number)
    if slot is None:
        raise SystemExit(f"slot {number} of {spool} is held by another process")
    store = Store(slot, Spool(path=str(spool), durability="os"), threaded=False)
    try:
        store.recover()
        for _ in store.load():
            pass
        chance, idents = random.Random(number), IdentSource()
        content = b"Subject: seed\r\n\r\n" + b"A line of a message that waits, 64 octets long with its CRLF.\r\n" * (
            size // 64
        )
        now = time.time()
        for n in range(messages):
            ident = idents.fresh(now)
            envelope = Envelope(
                sender=f"sender{n % senders}@example.com" if senders > 1 else "sender@example.com",
                recipients=(Recipient(f"user{n}@d{chance.randrange(domains)}.example.net"),),
                created=now,
                client="127.0.0.1",
                helo="seed.invalid",
                session=f"{n:016x}",
            )
            store.commit(ident=ident, envelope=envelope, prefix=_PREFIX, content=content)
            store.release_body(ident)
            due = now + chance.uniform(*hours) * _HOUR
            store.record(ident, State(1, (Waiting(1, due, replies[n % len(replies)]),)))
        store.drain()
    finally:
        store.close()
        slot.close()


def sync_all(folder: Path) -> None:
    """What durability "os" left to the system."""
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--size", type=int, default=5120)
    parser.add_argument("--senders", type=int, default=1)
    parser.add_argument("--domains", type=int, default=DOMAINS)
    parser.add_argument("--first-hour", type=float, default=1.0)
    parser.add_argument("--last-hour", type=float, default=5.0)
    parser.add_argument("--reply", action="append", help="last reply of its recipients; several in turn")
    chosen = parser.parse_args()
    began = time.monotonic()
    chosen.spool.mkdir(parents=True, exist_ok=True)
    children = []
    for number in range(chosen.slots):
        share = chosen.messages // chosen.slots + (number < chosen.messages % chosen.slots)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                fill(
                    chosen.spool,
                    number,
                    share,
                    chosen.size,
                    senders=chosen.senders,
                    domains=chosen.domains,
                    hours=(chosen.first_hour, chosen.last_hour),
                    replies=chosen.reply or REPLIES,
                )
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(codes):
        return 1
    sync_all(chosen.spool)
    print(f"{chosen.messages} messages in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
