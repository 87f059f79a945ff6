"""Live dialogue for `fastrelay trace`: sessions that begin while somebody watches are written down, line by line.

Nobody watches nearly always; then a session pays one look at `wanted`. A watch begins with its first `poll` and ends
GONE seconds after the last. Each keeps the MOST newest lines it was not asked for yet; `lost` counts the others.

By domain a transaction is shown from its MAIL on once a recipient there is named, with the greeting and EHLO of its
session before it; by client, the sessions of that address or network.
"""

import ipaddress
from collections import deque
from collections.abc import Callable
from typing import Any

from fastrelay.control.transcript import Transcript
from fastrelay.errors import MachineShort, MisuseError
from fastrelay.runtime import clock
from fastrelay.runtime.tapped import Tapped

GONE = 5.0  # seconds without a poll, of which a watcher sends some four a second
MOST = 2000  # lines kept for a watcher that is slow
WATCHES = 8  # at once
_KEPT = 100  # lines of a transaction that are kept until it is known to be wanted
_PRELUDE = 40  # lines before the first transaction of a session

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Talk:
    """One session that is listened to."""

    __slots__ = ("address", "before", "greeted", "ident", "kept", "mailed", "matched", "prelude", "side")

    def __init__(self, side: str, ident: str, address: str) -> None:
        self.side = side  # "in": a client of ours; "out": we are the client
        self.ident = ident
        self.address = address
        self.before = clock.now()
        self.prelude: list[dict[str, Any]] = []
        self.mailed = False  # the first transaction has begun
        self.greeted: set[int] = set()  # watches that were shown the prelude
        self.kept: dict[int, list[dict[str, Any]]] = {}  # by watch: lines of a transaction that is not wanted yet
        self.matched: set[int] = set()


class Watch:
    """What one watcher is shown. domain: "" = every; client: None = every."""

    __slots__ = ("client", "domain", "lines", "lost", "number", "polled")

    def __init__(self, number: int, domain: str, client: Network | None) -> None:
        self.number = number
        self.domain = f"@{domain}>" if domain else ""
        self.client = client
        self.lines: deque[dict[str, Any]] = deque()
        self.lost = 0
        self.polled = clock.now()

    def hear(self, talk: Talk, line: dict[str, Any]) -> None:
        """A line of a session."""
        if self.client is not None and not (talk.side == "in" and _is_in(talk.address, self.client)):
            return
        if not self.domain:
            self._show(line)
            return
        text = line["text"].lower()
        if text.startswith("mail from:"):
            talk.matched.discard(self.number)
            talk.kept[self.number] = []
        if self.number in talk.matched:
            self._show(line)
            return
        kept = talk.kept.get(self.number)
        if kept is None:
            return  # before the first transaction: in the prelude
        kept.append(line)
        if self.domain in text and line["from"] == "client":
            talk.matched.add(self.number)
            for one in (*(talk.prelude if self.number not in talk.greeted else ()), *kept):
                self._show(one)
            talk.greeted.add(self.number)
            del talk.kept[self.number]
        elif len(kept) > _KEPT:
            del kept[1]

    def _show(self, line: dict[str, Any]) -> None:
        if len(self.lines) >= MOST:
            self.lines.popleft()
            self.lost += 1
        self.lines.append(line)


class Traces:
    """One per worker. wanted: somebody watches. begun: called when a watch begins."""

    __slots__ = ("_begun", "_number", "_serial", "_watches", "wanted")

    def __init__(self, begun: Callable[[], object] = lambda: None) -> None:
        self._begun = begun
        self._watches: dict[tuple[str, str, str], Watch] = {}
        self._number = 0
        self._serial = 0
        self.wanted = False

    def poll(self, domain: str, client: str, name: str = "") -> dict[str, Any]:
        """The lines since the last poll of the watcher of that name with these filters; the first begins a watch.

        MisuseError for a filter that is none, MachineShort when there are WATCHES already.
        """
        key = (domain.lower(), client, name)
        watch = self._watches.get(key)
        if watch is None:
            if len(self._watches) >= WATCHES:
                raise MachineShort(f"{WATCHES} traces run already; try again when one has ended")
            self._number += 1
            watch = self._watches[key] = Watch(self._number, key[0], _network(client) if client else None)
            self.wanted = True
            self._begun()
        watch.polled = clock.now()
        lines, lost = list(watch.lines), watch.lost
        watch.lines.clear()
        watch.lost = 0
        return {"lines": lines, "lost": lost}

    def tick(self, now: float) -> None:
        """Once a second: who has not asked for a while has gone."""
        if self.wanted:
            self._watches = {key: one for key, one in self._watches.items() if now - one.polled < GONE}
            self.wanted = bool(self._watches)

    def inbound(self, stream: Any, ident: str) -> Any:
        """A client's session begins on this stream: the one to use instead."""
        talk = Talk("in", ident, stream.peer[0])
        script = Transcript(self._hearer(talk))
        return Tapped(stream, sent=script.server, received=script.client, note=self._noter(talk))

    def connecting(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        """runtime.stream.connect, listened to while somebody watches."""

        def tapped(address: str, port: int, *, source: str, seconds: float) -> Any:
            stream = connect(address, port, source=source, seconds=seconds)
            if not self.wanted:
                return stream
            self._serial += 1
            talk = Talk("out", f"to-{self._serial:x}", address)
            script = Transcript(self._hearer(talk))
            return Tapped(stream, sent=script.client, received=script.server, note=self._noter(talk))

        return tapped

    def _hearer(self, talk: Talk) -> Callable[[bool, str], None]:
        return lambda client, text: self._hear(talk, "client" if client else "server", text)

    def _noter(self, talk: Talk) -> Callable[[str], None]:
        return lambda text: self._hear(talk, "", text)

    def _hear(self, talk: Talk, who: str, text: str) -> None:
        if not self.wanted:
            return
        now = clock.now()
        line = {
            "at": clock.wall(),
            "took": round(now - talk.before, 6),
            "side": talk.side,
            "session": talk.ident,
            "address": talk.address,
            "from": who,
            "text": text,
        }
        talk.before = now
        talk.mailed = talk.mailed or text.lower().startswith("mail from:")
        if not talk.mailed and len(talk.prelude) < _PRELUDE:
            talk.prelude.append(line)
        for watch in self._watches.values():
            watch.hear(talk, line)


def _network(client: str) -> Network:
    try:
        return ipaddress.ip_network(client, strict=False)
    except ValueError:
        raise MisuseError(f"{client!r} is no address or network of a client") from None


def _is_in(address: str, network: Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False
