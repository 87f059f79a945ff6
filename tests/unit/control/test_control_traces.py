"""control/traces.py: nobody watches, one watches, with filters; and what is not asked for."""

from typing import Any

import pytest

from fastrelay.control.traces import GONE, MOST, WATCHES, Traces
from fastrelay.errors import MachineShort, MisuseError
from fastrelay.runtime import clock


class Stream:
    def __init__(self, peer: str = "192.0.2.7") -> None:
        self.peer = (peer, 25)
        self.closed = False
        self.deadline = 0.0
        self.to_read: list[bytes] = []
        self.written: list[bytes] = []
        self.tls = None

    def read(self) -> bytes:
        return self.to_read.pop(0)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_parts(self, parts: list[bytes]) -> None:
        self.written += parts

    def close(self) -> None:
        self.closed = True


def serve(traces: Traces, *recipients: str, peer: str = "192.0.2.7", again: tuple[str, ...] = ()) -> Stream:
    """A client's session with one transaction for each of (recipients, again)."""
    stream = Stream(peer)
    tapped = traces.inbound(stream, "s-1") if traces.wanted else stream
    tapped.write(b"220 hi\r\n")
    for some in (recipients, again):
        if some:
            stream.to_read.append(b"MAIL FROM:<a@b>\r\n" + b"".join(b"RCPT TO:<%s>\r\n" % r.encode() for r in some))
            tapped.read()
            tapped.write(b"250 ok\r\n" * (1 + len(some)))
    tapped.close()
    assert stream.closed
    return stream


def texts(told: dict[str, Any]) -> list[str]:
    return [line["text"] for line in told["lines"]]


def test_nobody_watches_until_somebody_does_and_again_when_he_is_gone() -> None:
    begun: list[int] = []
    traces = Traces(lambda: begun.append(1))
    assert not traces.wanted
    assert traces.poll("", "") == {"lines": [], "lost": 0} and traces.wanted and begun == [1]
    serve(traces, "x@d.test")
    told = traces.poll("", "")
    assert texts(told) == ["220 hi", "MAIL FROM:<a@b>", "RCPT TO:<x@d.test>", "250 ok", "250 ok", "closed"]
    assert {(line["side"], line["session"], line["address"]) for line in told["lines"]} == {("in", "s-1", "192.0.2.7")}
    assert [line["from"] for line in told["lines"]] == ["server", "client", "client", "server", "server", ""]
    assert texts(traces.poll("", "")) == [] and begun == [1]
    traces.tick(clock.now() + GONE - 1)
    assert traces.wanted
    traces.tick(clock.now() + GONE + 1)
    assert not traces.wanted


def test_two_who_watch_the_same_both_see_all_of_it() -> None:
    traces = Traces()
    for name in ("one", "two"):
        traces.poll("", "", name)
    serve(traces, "x@d.test")
    assert texts(traces.poll("", "", "one")) == texts(traces.poll("", "", "two")) != []


def test_by_domain_the_transactions_that_name_it_with_their_greeting_once() -> None:
    traces = Traces()
    traces.poll("D.test", "")
    serve(traces, "x@other.test")
    serve(traces, "x@other.test", again=("y@d.test",))
    serve(traces, "x@d.test", again=("y@d.test", "z@d.test"))
    assert texts(traces.poll("d.test", "")) == [
        "220 hi", "MAIL FROM:<a@b>", "RCPT TO:<y@d.test>", "250 ok", "250 ok", "closed",
        "220 hi", "MAIL FROM:<a@b>", "RCPT TO:<x@d.test>", "250 ok", "250 ok",
        "MAIL FROM:<a@b>", "RCPT TO:<y@d.test>", "RCPT TO:<z@d.test>", "250 ok", "250 ok", "250 ok", "closed",
    ]  # fmt: skip


def test_by_client_its_sessions_alone() -> None:
    traces = Traces()
    traces.poll("", "192.0.2.0/24")
    traces.poll("", "198.51.100.1")
    serve(traces, "x@d.test")
    out = traces.connecting(lambda address, port, **how: Stream(address))("192.0.2.9", 25, source="", seconds=1.0)
    out.write(b"EHLO us\r\n")
    assert len(traces.poll("", "192.0.2.0/24")["lines"]) == 6, "not what we say to hosts of that network"
    assert traces.poll("", "198.51.100.1")["lines"] == []
    with pytest.raises(MisuseError, match="no address"):
        traces.poll("", "host.example")


def test_what_we_say_to_others_is_the_clients() -> None:
    traces = Traces()
    connect = traces.connecting(lambda address, port, **how: Stream(address))
    assert isinstance(connect("192.0.2.9", 25, source="", seconds=1.0), Stream), "nobody watches: it is the stream"
    traces.poll("", "")
    out = connect("192.0.2.9", 25, source="", seconds=1.0)
    out.write_parts([b"EHLO ", b"us\r\n"])
    out.deadline = 5.0
    assert out.deadline == 5.0 and out.peer == ("192.0.2.9", 25)
    (line,) = traces.poll("", "")["lines"]
    assert (line["side"], line["from"], line["text"]) == ("out", "client", "EHLO us")


def test_a_watcher_who_is_slow_loses_the_oldest_and_is_told() -> None:
    traces = Traces()
    traces.poll("", "")
    stream = traces.inbound(Stream(), "s")
    stream.write(b"250 ok\r\n" * (MOST + 10))
    told = traces.poll("", "")
    assert (len(told["lines"]), told["lost"]) == (MOST, 10)
    assert traces.poll("", "")["lost"] == 0


def test_watches_are_bounded() -> None:
    traces = Traces()
    for n in range(WATCHES):
        traces.poll(f"d{n}.test", "")
    with pytest.raises(MachineShort, match="traces run already"):
        traces.poll("one.more", "")
