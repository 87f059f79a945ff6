"""Attacks on the front door, and what an honest client feels of them: `python tests/proof/attacks.py [ATTACK ...]`.

A relay of two workers with `[limits] memory` of 64 MiB for each; strangers (127.1.0.0/16, many addresses) or trusted
clients attack it for --seconds; meanwhile an honest client hands in a message every 50 ms on a connection of its own.

    slow-commands  5,000 strangers say one octet of a command every five seconds; who is cut off comes again
    slow-content   2,000 trusted clients say one octet of content every five seconds; likewise
    flood          strangers connect and leave as fast as they can
    crowd          one stranger opens 2,000 connections
    bombs          2,000 trusted clients announce 50 MB each, and send 30 KB of it a second
    refused        strangers ask for recipients they may not have, as fast as they can
    nonsense       strangers send lines of 1 MB, NUL octets, HTTP, TLS hellos

For each: the honest client's latency (connect to 250 of the dot) against that of the same time without an attack, its
failures, what of it were late loops and a slow disk (each at p99, the bound of its bucket), memory of the workers, what
the attackers were told. Exit code 1 when the honest client failed once, waited for a second or more at p99, or memory
went above the limits plus --slack.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import resource
import smtplib
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.peers import debian
from tests.peers.relay_process import RelayProcess, p99
from tests.proof.idle_connections import memory

MIB = 1024 * 1024
BUDGET = 64 * MIB  # of each worker, for bodies
CLIENT = b"EHLO attacker.example\r\n"
MAIL = b"MAIL FROM:<a@attacker.example> SIZE=50000000\r\nRCPT TO:<b@c.example>\r\nDATA\r\n"
WAITS = ("fastrelay_loop_lag_seconds", "fastrelay_spool_commit_seconds")
HOLD = 5.0  # seconds between two octets of a slow one


@dataclass(eq=False)
class Honest(threading.Thread):
    """A client whose mail must go on: a message every 50 ms, each on a connection of its own."""

    port: int
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        text = "From: <h@honest.example>\r\nSubject: x\r\n\r\n" + "x" * 70 + "\r\n"
        while not self.over.wait(0.05):
            began = time.monotonic()
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
                    client.sendmail("h@honest.example", ["r@d.example"], text)
            except (OSError, smtplib.SMTPException) as error:
                self.failures.append(str(error))
            self.latencies.append(time.monotonic() - began)

    def end(self) -> None:
        self.over.set()
        self.join()

    def p99(self) -> float:
        return sorted(self.latencies)[int(0.99 * len(self.latencies))]


Told = Counter[str]
Attack = Callable[[int, float, Told], Coroutine[Any, Any, None]]


async def _open(port: int, number: int, *, trusted: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    network = 2 if trusted else 1
    source = f"127.{network}.{1 + number // 200 % 200}.{1 + number % 200}"
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), limit=2 * MIB)


async def _word(reader: asyncio.StreamReader, told: Told) -> str:
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        line = (await asyncio.wait_for(reader.readline(), 30)).decode("latin-1").strip()
        told[line[:3] or "closed"] += 1
        return line
    told["reset"] += 1
    return ""


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Told) -> bool:
    """The greeting and EHLO. False: the relay would not have us."""
    words = await _word(reader, told)
    if not words.startswith("220"):
        return False
    writer.write(CLIENT)
    while words and not words.startswith("250 "):
        words = (await asyncio.wait_for(reader.readline(), 30)).decode("latin-1").strip()
    return bool(words)


async def _each(count: int, one: Callable[[int], Awaitable[None]]) -> None:
    async def guarded(number: int) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            await one(number)

    await asyncio.gather(*(guarded(number) for number in range(count)))


def slow(count: int, before: bytes, drip: bytes, *, trusted: bool) -> Attack:
    async def attack(port: int, seconds: float, told: Told) -> None:
        until = time.monotonic() + seconds

        async def once(number: int) -> None:
            reader, writer = await _open(port, number, trusted=trusted)
            if await _greet(reader, writer, told):
                writer.write(before)
                end = asyncio.ensure_future(reader.read())  # whatever it is told, it goes on until it is cut off
                position = 0
                while time.monotonic() < until and not end.done():
                    writer.write(drip[position % len(drip) :][:1])
                    position += 1
                    await asyncio.wait({end}, timeout=HOLD)
                told["cut off"] += end.done()
                end.cancel()
            writer.close()

        async def one(number: int) -> None:
            await asyncio.sleep(seconds / 4 * number / count)
            while time.monotonic() < until:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                    await once(number)
                await asyncio.sleep(1)

        await _each(count, one)

    return attack


async def flood(port: int, seconds: float, told: Told) -> None:
    until = time.monotonic() + seconds

    async def one(number: int) -> None:
        while time.monotonic() < until:
            reader, writer = await _open(port, number)
            await _word(reader, told)
            writer.close()

    await _each(40, one)


async def crowd(port: int, seconds: float, told: Told) -> None:
    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.1.0.9", 0))
        await _word(reader, told)
        await asyncio.sleep(seconds)
        writer.close()

    await _each(2000, one)


async def bombs(port: int, seconds: float, told: Told) -> None:
    until = time.monotonic() + seconds
    piece = (b"x" * 76 + b"\r\n") * 800

    async def one(number: int) -> None:
        await asyncio.sleep(seconds / 8 * number / 2000)
        while time.monotonic() < until:
            reader, writer = await _open(port, number, trusted=True)
            words = "220" if await _greet(reader, writer, told) else ""
            writer.write(MAIL)
            while words and not words.startswith(("354", "4", "5")):
                words = await _word(reader, told)
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                while words.startswith("354") and time.monotonic() < until and not reader.at_eof():
                    writer.write(piece)
                    await asyncio.wait_for(writer.drain(), 30)
                    await asyncio.sleep(2.0)
            writer.close()
            await asyncio.sleep(1)

    await _each(2000, one)


async def refused(port: int, seconds: float, told: Told) -> None:
    until = time.monotonic() + seconds
    lines = b"RSET\r\nMAIL FROM:<a@b.example>\r\n" + b"RCPT TO:<x@y.example>\r\n" * 5

    async def one(number: int) -> None:
        while time.monotonic() < until:
            reader, writer = await _open(port, number)
            await _greet(reader, writer, told)
            writer.write(lines)
            for _ in range(7):
                if not await _word(reader, told):
                    break
            writer.close()

    await _each(40, one)


async def nonsense(port: int, seconds: float, told: Told) -> None:
    until = time.monotonic() + seconds
    texts = [
        b"x" * MIB + b"\r\n",
        b"\0" * 65536,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + b"\xff" * 500,
        b"\r" * 9999,
    ]

    async def one(number: int) -> None:
        while time.monotonic() < until:
            reader, writer = await _open(port, number)
            await _word(reader, told)
            writer.write(texts[number % len(texts)])
            await _word(reader, told)
            writer.close()

    await _each(40, one)


ATTACKS: dict[str, Attack] = {
    "slow-commands": slow(5000, b"NOOP ", b"x", trusted=False),
    "slow-content": slow(2000, MAIL, b"x" * 60 + b"\r\n", trusted=True),
    "flood": flood,
    "crowd": crowd,
    "bombs": bombs,
    "refused": refused,
    "nonsense": nonsense,
}


def _attack(name: str, port: int, seconds: float, told: "multiprocessing.Queue[Told]") -> None:
    words: Told = Counter()
    asyncio.run(ATTACKS[name](port, seconds, words))
    told.put(words)


@dataclass(frozen=True)
class Result:
    """p99 in seconds, alone and under attack, and meanwhile of how late the workers' loops ran and of a batch's way to
    disk; most: octets of memory of the workers, above those at the start."""

    name: str
    alone: float
    under: float
    lag: float
    disk: float
    messages: int
    failures: tuple[str, ...]
    most: int
    told: Told

    def good(self, slack: int) -> bool:
        return not self.failures and self.under < 1.0 and self.most <= 2 * BUDGET + slack

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} x {word}" for word, count in self.told.most_common(6))
        return (
            f"{self.name:14} honest p99 {1000 * self.alone:5.0f} -> {1000 * self.under:5.0f} ms "
            f"(loops {1000 * self.lag:.0f}, disk {1000 * self.disk:.0f}), "
            f"{len(self.failures)} of {self.messages} failed, memory +{self.most / MIB:4.0f} MiB; told: {told}"
        )


def run(name: str, seconds: float) -> Result:
    """One attack on a relay of its own."""
    sink = debian.free_port()
    with (
        tempfile.TemporaryDirectory(prefix="fastrelay-attack-") as folder,
        debian.running(
            [debian.need("smtp-sink"), "-u", "nobody", f"127.0.0.1:{sink}", "1000"],
            ready=lambda: debian.listens(sink),
        ),
    ):
        relay = RelayProcess(
            Path(folder), next_hop=f"127.0.0.1:{sink}",
            listener=["relay_from = ['127.0.0.1/32', '127.2.0.0/16']", "max_connections = 10000"],
            tables=f"[limits]\nmemory = {BUDGET}\n",
        ).start()  # fmt: skip
        try:
            alone = Honest(relay.port)
            alone.start()
            time.sleep(5)  # not a wait for a condition: the time it is measured for
            alone.end()
            before = most = memory(relay)
            looks = [relay.histogram(wait) for wait in WAITS]
            told: multiprocessing.Queue[Told] = multiprocessing.Queue()
            attacker = multiprocessing.Process(target=_attack, args=(name, relay.port, seconds, told))
            honest = Honest(relay.port)
            attacker.start()
            honest.start()
            while attacker.is_alive() and told.empty():
                most = max(most, memory(relay))
                time.sleep(0.5)
            honest.end()
            lag, disk = (p99(look, relay.histogram(wait)) for look, wait in zip(looks, WAITS, strict=True))
            words = told.get(timeout=30)
            attacker.join(30)
            relay.wait_empty()
            assert relay.stop() == 0, relay.said()
            failures = (*alone.failures, *honest.failures)
            return Result(
                name, alone.p99(), honest.p99(), lag, disk, len(honest.latencies), failures, most - before, words
            )
        finally:
            relay.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", choices=[[], *ATTACKS], help="default: all")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each attack (default: 30)")
    parser.add_argument("--slack", type=int, default=192, help="MiB above the budget for bodies (default: 192)")
    chosen = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    good = True
    for name in chosen.attacks or ATTACKS:
        result = run(name, chosen.seconds)
        print(result, flush=True)
        for failure in result.failures[:5]:
            print(f"    {failure}")
        good = good and result.good(chosen.slack * MIB)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
