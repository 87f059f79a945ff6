"""The header of the PROXY protocol, versions 1 and 2, without I/O (haproxy.org, proxy-protocol.txt).

A connection that comes through a proxy begins with it, in plaintext, before TLS and before the greeting; it says who
the client is. `feed` is given what has come and tells how much of it belongs to the header, so nothing behind it is
ever taken from the stream. What is not exactly a header is refused: the peer may not be a proxy at all.

Version 1 is a line of at most 107 octets, CRLF included. Version 2 is 16 octets, addresses, and fields of types and
values (TLVs), which are passed over. LOCAL and UNKNOWN (health checks of the proxy itself), families other than IP and
an unspecified transport leave the client as the socket knows it.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address

from fastrelay.errors import PeerError

PROXY_SECONDS = 5.0  # for the whole header: the proxy sends it with its connect. Postfix smtpd_upstream_proxy_timeout

_LINE = 107  # octets of a version 1 header at most
_WORD = b"PROXY "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16  # octets of version 2 before the addresses
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES = {_TCP4: 12, _TCP6: 36}
_WITHOUT_IP = frozenset((0x00, 0x10, 0x20, 0x30, 0x31))  # unspecified family or transport, or a local socket
_HELD = 108  # enough of either to find its end, or its addresses


class BadIntroduction(PeerError):
    """What came is no PROXY header."""


class Introduction:
    """One header. done: it is complete. client: address and port it names; None: as the socket has it."""

    __slots__ = ("_held", "_left", "client", "done")

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # octets of TLVs to come
        self.client: tuple[str, int] | None = None
        self.done = False

    def feed(self, octets: bytes) -> int:
        """How many of `octets`, which follow those already taken, belong to the header. BadIntroduction when none
        can come of it."""
        if self._left:
            used = min(self._left, len(octets))
            self._left -= used
            self.done = not self._left
            return used
        before = len(self._held)
        held = self._held = self._held + octets[: _HELD - before]
        if _WORD.startswith(held[: len(_WORD)]):
            return self._line(held, before, len(octets))
        if _SIGNATURE.startswith(held[: len(_SIGNATURE)]):
            return self._binary(held, before, len(octets))
        raise BadIntroduction("no PROXY header")

    def _line(self, held: bytes, before: int, count: int) -> int:
        end = held.find(b"\r\n")
        if end < 0 and len(held) < _LINE:
            return count
        if not 0 <= end <= _LINE - 2:
            raise BadIntroduction("a PROXY line longer than 107 octets")
        words = held[:end].split(b" ")
        if words[1] != b"UNKNOWN":
            self.client = _named(words)
        self.done = True
        return end + 2 - before

    def _binary(self, held: bytes, before: int, count: int) -> int:
        if len(held) < _FIXED:
            return count
        command, family, size = held[12], held[13], int.from_bytes(held[14:_FIXED], "big")
        if command not in (_LOCAL, _PROXY):
            raise BadIntroduction(f"a PROXY header of version and command {command:#04x}")
        due = 0
        if command == _PROXY and family not in _WITHOUT_IP:
            due = _ADDRESSES.get(family, 0)
            if not due:
                raise BadIntroduction(f"a PROXY header of family and transport {family:#04x}")
            if size < due:
                raise BadIntroduction("a PROXY header too short for its addresses")
        if len(held) < _FIXED + due:
            return count
        if due:
            self.client = _packed(held[_FIXED : _FIXED + due])
        missing = _FIXED + size - before - count
        if missing > 0:
            self._left = missing
            return count
        self.done = True
        return count + missing


def _named(words: list[bytes]) -> tuple[str, int]:
    """Client of a version 1 line; one space between words, addresses and ports as the specification writes them."""
    kinds = {b"TCP4": 4, b"TCP6": 6}
    if len(words) != 6 or words[1] not in kinds:
        raise BadIntroduction("a PROXY line that is none")
    try:
        source, target = (ip_address(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise BadIntroduction("a PROXY line with an address that is none") from None
    if source.version != kinds[words[1]] or target.version != source.version or b"%" in words[2] + words[3]:
        raise BadIntroduction("a PROXY line with an address of another family")
    port = _port(words[4])
    _port(words[5])
    return _text(source), port


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise BadIntroduction("a PROXY line with a port that is none")
    return int(word)


def _packed(octets: bytes) -> tuple[str, int]:
    """Source of: source, destination, source port, destination port."""
    if len(octets) == _ADDRESSES[_TCP4]:
        return str(IPv4Address(octets[:4])), int.from_bytes(octets[8:10], "big")
    return _text(IPv6Address(octets[:16])), int.from_bytes(octets[32:34], "big")


def _text(address: IPv4Address | IPv6Address) -> str:
    """As text; an IPv4 client of a proxy that speaks IPv6 is one all the same."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
