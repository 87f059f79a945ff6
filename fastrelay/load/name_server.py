"""A tiny authoritative name server on loopback, UDP and TCP, with scripted zones and faults.

Plain sockets and threads, so that tests, demo and benchmarks can all use it, with an event loop beside it or without:

    with NameServer("example.test 300 MX 10 mx.example.test") as server: ...  server.port, server.asked

A zone text has one record a line, `owner ttl type rdata`; "*.example.test" stands for every name below without records
of its own; "#" and ";" start comments. A line "@fault owner kind [argument]" scripts a fault for that name (or "*" for
all):  servfail refused formerr | truncate (TC over UDP) | silent [n: only the first n] | slow SECONDS | wrong-id |
wrong-question | garbage | lie (records of another owner) | no-edns (FORMERR to an OPT record) | empty (no SOA).
"@ad" sets the AD bit, "@soa SECONDS" the negative TTL (60). Answers are built once and kept
(measured: 9,000 questions/s with the asker in the same process).
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

_HEADER = struct.Struct("!HHHHHH")
_CNAME = 5
_ANY_FAULT = "*"


def _labels(name: str) -> bytes:
    return (dns.name.from_text(name).to_wire() or b"").lower()


class NameServer:
    """Listens on `address`, the same port for UDP and TCP (0: a free one); `asked` counts (name, type, transport)."""

    def __init__(self, zone: str = "", *, address: str = "127.0.0.1", port: int = 0) -> None:
        self.asked: Counter[tuple[str, str, str]] = Counter()
        self._records: dict[tuple[bytes, int], list[bytes]] = {}
        self._names: set[bytes] = set()
        self._faults: dict[str, list[str]] = {}
        self._built: dict[tuple[bytes, int], tuple[int, int, int, bytes]] = {}
        self._secure = False
        self._negative = 60
        self._closing = False
        self._address = address
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp, self._tcp, self.port = self._bind(port)
        self.load(zone)

    def _bind(self, port: int) -> tuple[socket.socket, socket.socket, int]:
        for _ in range(50):
            tcp = socket.socket(self._family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp = socket.socket(self._family, socket.SOCK_DGRAM)
            try:
                tcp.bind((self._address, port))
                number = tcp.getsockname()[1]
                udp.bind((self._address, number))
            except OSError:
                tcp.close()
                udp.close()
                if port:
                    raise
                continue
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            tcp.listen(128)
            return udp, tcp, number
        raise OSError("no port free for both UDP and TCP")

    # -- the script -----------------------------------------------------------------------------------------------

    def load(self, zone: str) -> None:
        """Add the lines of a zone text."""
        for line in zone.splitlines():
            line = line.partition("#")[0].partition(";")[0].strip()
            if line.startswith("@fault"):
                _, owner, kind, *argument = line.split()
                self.fault(owner, kind, *argument)
            elif line == "@ad":
                self._secure = True
            elif line.startswith("@soa"):
                self._negative = int(line.split()[1])
            elif line:
                owner, ttl, kind, rdata = line.split(None, 3)
                self.add(owner, int(ttl), kind, rdata)
        self._built = {}

    def add(self, owner: str, ttl: int, kind: str, rdata: str) -> None:
        """Add one record."""
        number = int(dns.rdatatype.from_text(kind))
        value = dns.rdata.from_text(
            dns.rdataclass.IN, dns.rdatatype.RdataType.make(number), rdata, dns.name.root, False
        )
        name, wire = _labels(owner), value.to_wire() or b""
        self._records.setdefault((name, number), []).append(struct.pack("!HHIH", number, 1, ttl, len(wire)) + wire)
        while len(name) > 1:
            self._names.add(name)
            name = name[name[0] + 1 :]
        self._built = {}

    def clear(self) -> None:
        """Forget every record and fault."""
        self._records, self._names, self._faults, self._built = {}, set(), {}, {}

    def fault(self, owner: str, kind: str, *argument: str) -> None:
        """Script a fault for `owner` ("*": every name); kind "none" ends it."""
        if kind == "none":
            self._faults.pop(owner.lower().rstrip("."), None)
        else:
            self._faults[owner.lower().rstrip(".")] = [kind, *argument]

    # -- answers --------------------------------------------------------------------------------------------------

    def _lookup(self, name: bytes, number: int) -> list[bytes] | None:
        """Records; [] for a name without this type; None for no such name."""
        found = self._records.get((name, number))
        if found is not None or name in self._names:
            return found or []
        parent = name
        while len(parent) > 1:
            parent = parent[parent[0] + 1 :]
            star = b"\x01*" + parent
            if star in self._names:
                return self._records.get((star, number), [])
            if parent in self._names:
                return None
        return None

    def _answer(self, name: bytes, number: int) -> tuple[int, int, int, bytes]:
        """rcode, answer count, authority count, the octets of both sections."""
        out: list[bytes] = []
        owner, pointer, seen = name, b"\xc0\x0c", {name}
        while True:
            records = self._lookup(owner, number)
            alias = self._lookup(owner, _CNAME) if not records and number != _CNAME else None
            if not alias:
                break
            out.append(pointer + alias[0])
            owner = pointer = alias[0][10:].lower()
            if owner in seen or len(out) > 40:
                return 0, len(out), 0, b"".join(out)
            seen.add(owner)
        if records:
            out += [pointer + record for record in records]
            return 0, len(out), 0, b"".join(out)
        zone = owner[owner[0] + 1 :] if owner[0] and owner[owner[0] + 1 :] != b"\0" else owner
        soa = b"\0\0" + struct.pack("!IIIII", 1, 3600, 600, 86400, self._negative)
        out.append(zone + struct.pack("!HHIH", 6, 1, self._negative, len(soa)) + soa)
        return 3 if records is None else 0, len(out) - 1, 1, b"".join(out)

    def _reply(self, octets: bytes, transport: str) -> tuple[bytes, float]:
        """The reply and how many seconds to hold it back; b"" for none."""
        if len(octets) < 17:
            return b"", 0.0
        ident, flags, *_counts, extra = _HEADER.unpack_from(octets)
        end = 12
        while octets[end]:
            end += octets[end] + 1
        name, number = octets[12 : end + 1].lower(), int.from_bytes(octets[end + 1 : end + 3], "big")
        question = octets[12 : end + 5]
        text = _text(name)
        self.asked[text, dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number)), transport] += 1
        key = (name, number)
        built = self._built.get(key)
        if built is None:
            built = self._built[key] = self._answer(name, number)
        rcode, answers, authority, body = built
        delay = 0.0
        bits = 0x8400 | (flags & 0x0110) | (0x20 if self._secure else 0)
        fault = self._faults.get(text) or self._faults.get(_ANY_FAULT)
        if fault:
            kind = fault[0]
            if kind == "silent":
                left = int(fault[1]) if len(fault) > 1 else 1
                if len(fault) > 1:
                    fault[1] = str(left - 1)
                if left > 0:
                    return b"", 0.0
            elif kind == "slow":
                delay = float(fault[1])
            elif kind in ("servfail", "refused", "formerr") or (kind == "no-edns" and extra):
                rcode = {"servfail": 2, "refused": 5}.get(kind, 1)
                answers = authority = 0
                body = b""
            elif kind == "truncate" and transport == "udp":
                bits, answers, authority, body = bits | 0x0200, 0, 0, b""
            elif kind == "wrong-id":
                ident ^= 0x5555
            elif kind == "wrong-question":
                question = b"\x05other\x04test\0" + question[-4:]
            elif kind == "garbage":
                return random.Random(ident).randbytes(40), 0.0
            elif kind == "lie":
                body = body.replace(b"\xc0\x0c", b"\x05other\x04test\0")
            elif kind == "empty":
                body, authority = (body if answers else b""), 0
        if transport == "udp" and 12 + len(question) + len(body) > (1232 if extra else 512):
            bits, answers, authority, body = bits | 0x0200, 0, 0, b""
        return _HEADER.pack(ident, bits | rcode, 1, answers, authority, 0) + question + body, delay

    # -- the sockets ----------------------------------------------------------------------------------------------

    def __enter__(self) -> "NameServer":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Answer from now on."""
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def close(self) -> None:
        """Stop answering; the port is free afterwards."""
        self._closing = True
        for sock in (self._udp, self._tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def hand_over(self) -> None:
        """Close our share of the sockets and no more: a forked child is to answer."""
        for sock in (self._udp, self._tcp):
            sock.close()

    def _serve_udp(self) -> None:
        udp = self._udp
        while not self._closing:
            try:
                octets, peer = udp.recvfrom(4096)
                if self._closing:
                    return
                reply, delay = self._reply(octets, "udp")
                if reply and delay:
                    threading.Timer(delay, self._send_late, (reply, peer)).start()
                elif reply:
                    udp.sendto(reply, peer)
            except (OSError, IndexError):
                continue

    def _send_late(self, reply: bytes, peer: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._udp.sendto(reply, peer)

    def _serve_tcp(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                continue
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, IndexError), connection.makefile("rb") as stream:
            connection.settimeout(10)
            while not self._closing:
                head = stream.read(2)
                if len(head) < 2:
                    return
                reply, delay = self._reply(stream.read(int.from_bytes(head, "big")), "tcp")
                time.sleep(delay)
                if not reply:
                    return
                connection.sendall(len(reply).to_bytes(2, "big") + reply)


def _text(name: bytes) -> str:
    out, at = [], 0
    while name[at]:
        out.append(name[at + 1 : at + 1 + name[at]].decode("latin-1"))
        at += name[at] + 1
    return ".".join(out)
