"""PROXY headers: who the client is, where the header ends, and what is none; whole, octet by octet, cut anywhere."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.reception.proxy import BadIntroduction, Introduction

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BEHIND = b"\x16\x03\x01EHLO x\r\n"


def binary(command: int, family: int, body: bytes, *, size: int = -1) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if size < 0 else size) + body


def tcp4(client: str = "192.0.2.7", port: int = 40000, more: bytes = b"") -> bytes:
    packed = socket.inet_aton(client) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", port, 25)
    return binary(0x21, 0x11, packed + more)


def tcp6(client: str = "2001:db8::7", port: int = 40000, more: bytes = b"") -> bytes:
    packed = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in (client, "2001:db8::1"))
    return binary(0x21, 0x21, packed + struct.pack("!HH", port, 25) + more)


def start_of(header: bytes) -> str:
    return repr(header[:60])


TLVS = b"\x04\x00\x03abc" + b"\x20\x00\x05\x01\0\0\0\0"
GOOD = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n": ("192.0.2.7", 40000),
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": ("255.255.255.255", 65535),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 0 25\r\n": ("2001:db8::7", 0),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::1 9 25\r\n": ("192.0.2.7", 9),
    b"PROXY TCP6 " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n": (":".join(["ffff"] * 8), 65535),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 whatever it is\r\n": None,
    b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n": None,  # 107 octets
    tcp4(): ("192.0.2.7", 40000),
    tcp4(more=TLVS): ("192.0.2.7", 40000),
    tcp4(more=b"\xff" * 60_000): ("192.0.2.7", 40000),
    tcp6(): ("2001:db8::7", 40000),
    tcp6("::ffff:192.0.2.9", more=TLVS): ("192.0.2.9", 40000),
    binary(0x20, 0x00, b""): None,  # LOCAL
    binary(0x20, 0x11, b"ab"): None,  # LOCAL: its family and addresses mean nothing
    binary(0x21, 0x00, TLVS): None,  # unspecified
    binary(0x21, 0x31, b"/" * 216): None,  # a local socket of the proxy
}
BAD = [
    b"EHLO client.example\r\n", b"proxy TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", b"PROXY\r\n", b"PROXY  TCP4\r\n",
    b"PROXY TCP4\r\n", b"PROXY TCP5 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 \r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r \r\n",
    b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 25\r\n", b"PROXY TCP4 192.0.2.256 198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.07 198.51.100.1 40000 25\r\n", b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 25\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n", b"PROXY TCP6 fe80::1%eth0 2001:db8::1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 040 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 x\r\n",
    b"PROXY TCP4 \xd9\xa1.0.2.7 198.51.100.1 40000 25\r\n", b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY " + b"x" * 200, b"PROXY UNKNOWN\n" + b"x" * 100, SIGNATURE[:-1] + b"\r",
    binary(0x11, 0x11, bytes(12)), binary(0x22, 0x11, bytes(12)),
    binary(0x21, 0x12, bytes(12)), binary(0x21, 0x22, bytes(36)), binary(0x21, 0x41, bytes(12)),
    binary(0x21, 0x13, bytes(12)), binary(0x21, 0x11, bytes(11)), binary(0x21, 0x21, bytes(35)), b"\r\n\r\n", b"\0",
]  # fmt: skip


def play(octets: bytes, sizes: list[int]) -> tuple[Introduction, int]:
    """The octets as a socket shows them: `sizes` more each time, what was not taken again. How many were taken."""
    one = Introduction()
    taken = shown = 0
    while not one.done and shown < len(octets):
        shown = min(len(octets), max(shown, taken) + (sizes.pop(0) if sizes else 1))
        taken += one.feed(octets[taken:shown])
    return one, taken


@pytest.mark.parametrize("header", GOOD, ids=start_of)
@pytest.mark.parametrize("sizes", [[100_000], []], ids=["whole", "octets"])
def test_a_client_is_named_and_nothing_behind_is_touched(header: bytes, sizes: list[int]) -> None:
    one, taken = play(header + BEHIND, list(sizes))
    assert one.done and one.client == GOOD[header] and taken == len(header)


@pytest.mark.parametrize("header", BAD, ids=start_of)
@pytest.mark.parametrize("sizes", [[1000], []], ids=["whole", "octets"])
def test_what_is_no_header(header: bytes, sizes: list[int]) -> None:
    with pytest.raises(BadIntroduction):
        play(header + BEHIND * 20, list(sizes))


@pytest.mark.parametrize("header", [header for header in GOOD if len(header) < 400], ids=start_of)
def test_half_a_header_is_taken_and_waited_on(header: bytes) -> None:
    for cut in range(len(header)):
        one, taken = play(header[:cut], [cut])
        assert not one.done and taken == cut


@given(st.sampled_from(sorted(GOOD)), st.lists(st.integers(1, 40), max_size=8))
def test_cuts_change_nothing(header: bytes, sizes: list[int]) -> None:
    one, taken = play(header + BEHIND, [*sizes, 100_000])
    assert (one.done, one.client, taken) == (True, GOOD[header], len(header))


LINES = st.text("PROXY TCP46.:0129af\r\n", max_size=120).map(lambda text: b"PROXY " + text.encode())
BINARY = st.binary(max_size=200).map(lambda rest: SIGNATURE + rest)


@given(st.one_of(st.binary(max_size=300), LINES, BINARY))
def test_whatever_comes_is_a_header_or_is_none(octets: bytes) -> None:
    with contextlib.suppress(BadIntroduction):
        one, taken = play(octets, [len(octets)])
        assert taken <= len(octets) and (one.done or taken == len(octets))
