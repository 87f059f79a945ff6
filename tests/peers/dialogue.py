r"""Transcripts of SMTP dialogues: read from text, played in any cut.

    # what it shows
    ! max_size=1000 stranger         keys of a [[listener]], and the words of WORDS
    S: 220 relay.example *           a line of the server; * stands for anything
    S: offer                         the reply to EHLO of a listener that has neither TLS nor AUTH, line by line
    S: offer, STARTTLS, X Y          the same with these lines behind it
    C: NOOP                          a line of the client, CRLF is added; \r \n \0 \xNN \\ as in Python
    C*100: Received: x               the same line a hundred times
    C: NOOP {a*3000}                 a character many times
    C~ RSET\r                        octets, nothing is added
    closed                           the server ends the connection here (else the client leaves at the end)
    = <sender> <recipient> ...       a message that was taken, in order; none else may have been
    | line                           its content, line by line; left out: not looked at
    + ret=FULL / + <recipient> notify=NEVER    what its envelope says beyond that, field by field; left out: the same

Cuts: `whole` sends what stands between two answers in one piece; `octets` one octet at a time; `pipelined` everything
up to the next command that ends a group (RFC 2920). `! whole` in a transcript: its point is what comes in one piece.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastrelay.config.quantity import in_unit
from fastrelay.errors import MachineShort
from fastrelay.mail.envelope import Envelope
from tests.peers.front_desk import FakeBuckets, FakeIntake, SpentBuckets, Taken

WORDS = ("whole", "stranger", "full", "full_at_dot", "io_error_at_dot", "spent")
ENDS_GROUP = frozenset(b"EHLO HELO DATA NOOP VRFY EXPN QUIT STARTTLS AUTH XCLIENT TURN ETRN".split())
OFFER = (  # walk.txt alone spells it out
    "PIPELINING", "SIZE *", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "SMTPUTF8", "LIMITS RCPTMAX=*",
    "HELP",
)  # fmt: skip
_PATH = re.compile(r"<(.*?)>(?= <|$)")
_MANY = re.compile(r"\{(.)\*(\d+)\}")


@dataclass
class Exchange:
    """What the client sends, and every line the server answers before it waits for more."""

    send: bytes = b""
    answers: list[str] = field(default_factory=list)


@dataclass
class Expected:
    sender: str
    recipients: list[str]
    content: bytes | None = None
    more: list[str] = field(default_factory=list)


@dataclass
class Dialogue:
    name: str
    exchanges: list[Exchange]
    messages: list[Expected]
    words: frozenset[str]
    listener: dict[str, Any]
    closed: bool

    @property
    def answers(self) -> list[str]:
        return [line for exchange in self.exchanges for line in exchange.answers]

    def whole(self) -> list[bytes]:
        return [exchange.send for exchange in self.exchanges if exchange.send]

    def octets(self) -> list[bytes]:
        return [bytes((octet,)) for octet in b"".join(self.whole())]

    def pipelined(self) -> list[bytes]:
        pieces, asked = [b""], False  # who answers a challenge waits for it, and for what is said then
        for exchange in self.exchanges:
            pieces[-1] += exchange.send
            challenged = bool(exchange.answers) and exchange.answers[-1].startswith("334")
            if asked or challenged:
                pieces.append(b"")
            asked = challenged
        chunks, chunk = [], b""
        for piece in pieces:
            for line in re.findall(rb"(?s:.*?\r\n|.+)", piece):
                chunk += line
                if line.split(b" ")[0].strip().upper() in ENDS_GROUP:
                    chunks.append(chunk)
                    chunk = b""
            if chunk:
                chunks.append(chunk)
                chunk = b""
        return chunks

    def intake(self) -> FakeIntake:
        """The house as the transcript's words make it."""
        intake = FakeIntake()
        if "full" in self.words:
            intake.room = MachineShort("insufficient system storage")
        if "full_at_dot" in self.words:
            intake.dot = MachineShort("insufficient system storage")
        if "io_error_at_dot" in self.words:
            intake.dot = MachineShort("cannot be stored now", code=451, enhanced="4.3.0")
        return intake

    def buckets(self) -> FakeBuckets:
        """What is counted by the time: untouched, or used up by others."""
        return SpentBuckets() if "spent" in self.words else FakeBuckets()

    def check_answers(self, said: bytes) -> None:
        """The server's octets are the transcript's lines, no more and no fewer."""
        assert said == b"" or said.endswith(b"\r\n")
        lines = said.decode().split("\r\n")[:-1]
        for number, (line, wanted) in enumerate(zip(lines, self.answers, strict=False)):
            assert matches(line, wanted), f"answer {number + 1}: {line!r} is not {wanted!r}"
        assert len(lines) == len(self.answers), f"said {lines[len(self.answers) :]}, due {self.answers[len(lines) :]}"

    def check_messages(self, messages: list[Taken]) -> None:
        """What the house took is what the transcript says."""
        found = [(one.envelope.sender, one.addresses) for one in messages]
        assert found == [(one.sender, one.recipients) for one in self.messages]
        for one, wanted in zip(messages, self.messages, strict=True):
            assert wanted.content is None or one.content == wanted.content
            assert not wanted.more or _more(one.envelope) == wanted.more


def _more(envelope: Envelope) -> list[str]:
    """What an envelope bears beyond its addresses, as a transcript writes it."""
    lines = [f"{name}={value}" for name in ("ret", "envid", "smtputf8") if (value := getattr(envelope, name))]
    for one in envelope.recipients:
        words = [f"{name}={value}" for name in ("notify", "orcpt") if (value := getattr(one, name))]
        lines += [" ".join((f"<{one.address}>", *words))] if words else []
    return lines


def matches(line: str, wanted: str) -> bool:
    """`*` in wanted stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, wanted.split("*"))), line) is not None


def read(path: Path) -> Dialogue:
    """The transcript in a file."""
    return parse(path.read_text(encoding="utf-8"), path.stem)


def parse(text: str, name: str = "") -> Dialogue:
    """The transcript. ValueError names the line that is none."""
    exchanges = [Exchange()]
    messages: list[Expected] = []
    words: set[str] = set()
    listener: dict[str, Any] = {}
    closed = False
    for number, line in enumerate(text.splitlines(), 1):
        kind = line[:2]
        if not line.strip() or line.startswith("#"):
            continue
        if line == "closed":
            closed = True
        elif kind == "S:":
            words_said = line[3:].split(", ")
            exchanges[-1].answers += _offered(words_said[1:]) if words_said[0] == "offer" else [line[3:]]
        elif kind in ("C:", "C*", "C~"):
            if exchanges[-1].answers:
                exchanges.append(Exchange())
            exchanges[-1].send += _octets(line)
        elif kind == "= ":
            sender, *recipients = _PATH.findall(line)
            messages.append(Expected(sender, recipients))
        elif line[:1] == "|":
            messages[-1].content = (messages[-1].content or b"") + _plain(line[2:]) + b"\r\n"
        elif kind == "+ ":
            messages[-1].more.append(_plain(line[2:]).decode())
        elif kind == "! ":
            for word in line[2:].split():
                key, equals, value = word.partition("=")
                if key.endswith("_from"):
                    listener[key] = tuple(value.split(","))
                elif "_rate_per_" in key:
                    listener[key] = in_unit("rate", value)
                elif key == "check_helo":  # what comes of the look at HELO: pass, fail, temperror
                    listener[key] = lambda name, address, found=value: found
                elif key == "alias":  # alias=name@relay.example:one@there.example,two@there.example
                    alias, _, members = value.partition(":")
                    listener["aliases"] = (*listener.get("aliases", ()), (alias, tuple(members.split(","))))
                elif equals:
                    listener[key] = True if value == "true" else int(value) if value.isdigit() else value
                elif word in WORDS:
                    words.add(word)
                else:
                    raise ValueError(f"{name} line {number}: {word!r}")
        else:
            raise ValueError(f"{name} line {number}: {line!r}")
    if "stranger" in words:
        listener["relay_from"] = ("192.0.2.0/24",)
    return Dialogue(name, exchanges, messages, frozenset(words), listener, closed)


def _offered(more: Sequence[str]) -> list[str]:
    lines = ("relay.example", *OFFER, *more)
    return [*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]


def _octets(line: str) -> bytes:
    head, mark, text = line.partition("~ " if line.startswith("C~") else ":")
    times = int(head[2:]) if head.startswith("C*") else 1
    return (_plain(text.removeprefix(" ")) + (b"\r\n" if mark == ":" else b"")) * times


def _plain(text: str) -> bytes:
    text = _MANY.sub(lambda many: many[1] * int(many[2]), text)
    return codecs.escape_decode(text.encode())[0]  # type: ignore[attr-defined,no-any-return]
