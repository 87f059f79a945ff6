"""A mail server that keeps a diary, as a process: `python timing_sink.py PORT DIARY [DEFERRED_SHARE SEED]`.

It takes everything but that share of recipients, which it defers. When it is interrupted it writes one line for each
marked message and recipient it took, in order:

    TAKEN NEXT CONNECTION IDENT ADDRESS

TAKEN: monotonic seconds when it said 250. NEXT: when the same client's next word came, by which the 250 had been read;
"-" when none came. Both clocks are the machine's, so they compare with those of any other process.
"""

import asyncio
import random
import signal
import sys
import time

MARK = b"X-Id: "


class Entry:
    """One message taken. next: 0 while the client has said nothing since."""

    __slots__ = ("addresses", "connection", "ident", "next", "taken")

    def __init__(self, taken: float, connection: int, ident: str, addresses: list[str]) -> None:
        self.taken = taken
        self.next = 0.0
        self.connection = connection
        self.ident = ident
        self.addresses = addresses


class Diary:
    """What all connections took; share: of recipients, deferred."""

    def __init__(self, share: float, seed: int) -> None:
        self.entries: list[Entry] = []
        self.connections = 0
        self.share = share
        self.chance = random.Random(seed)

    def lines(self) -> list[str]:
        return [
            f"{one.taken:.6f} {one.next:.6f} {one.connection} {one.ident} {address}\n"
            if one.next
            else f"{one.taken:.6f} - {one.connection} {one.ident} {address}\n"
            for one in self.entries
            for address in one.addresses
        ]


class Session(asyncio.Protocol):
    """One client."""

    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self._in = b""
        self._content = False
        self._addresses: list[str] = []
        self._last: Entry | None = None
        diary.connections += 1
        self._number = diary.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.invalid ESMTP\r\n")

    def data_received(self, octets: bytes) -> None:
        if self._last is not None:
            self._last.next = time.monotonic()
            self._last = None
        self._in += octets
        out: list[bytes] = []
        while True:
            if self._content:
                end = self._in.find(b"\r\n.\r\n")
                if end < 0:
                    break
                out.append(b"250 2.0.0 taken\r\n")
                self._take(self._in[:end])
                self._in = self._in[end + 5 :]
                self._content = False
            else:
                line, found, rest = self._in.partition(b"\r\n")
                if not found:
                    break
                self._in = rest
                out.append(self._answer(line))
                if line[:4].upper() == b"QUIT":
                    self._transport.write(b"".join(out))
                    self._transport.close()
                    return
        if out:
            self._transport.write(b"".join(out))

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"
        if verb == b"MAIL":
            self._addresses = []
        elif verb == b"RCPT":
            if self._diary.chance.random() < self._diary.share:
                return b"450 4.2.1 later\r\n"
            self._addresses.append(line[line.index(b"<") + 1 : line.index(b">")].decode())
        elif verb == b"DATA":
            if not self._addresses:
                return b"554 5.5.1 no recipients\r\n"
            self._content = True
            return b"354 go\r\n"
        elif verb == b"QUIT":
            return b"221 2.0.0 bye\r\n"
        return b"250 2.0.0 ok\r\n"

    def _take(self, content: bytes) -> None:
        start = content.find(MARK)
        if start < 0:
            return
        run, number, _ = content[start + len(MARK) : content.index(b"\r\n", start)].decode().split("-")
        self._last = Entry(time.monotonic(), self._number, f"{run}-{number}", self._addresses)
        self._diary.entries.append(self._last)


async def serve(port: int, diary: Diary) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Session(diary), "127.0.0.1", port, backlog=512)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, over.set)
    print("listening", flush=True)
    await over.wait()
    server.close()


def main() -> None:
    port, path, share, seed = (*sys.argv[1:], "0", "0")[:4]
    diary = Diary(float(share), int(seed))
    asyncio.run(serve(int(port), diary))
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(diary.lines())


if __name__ == "__main__":
    main()
