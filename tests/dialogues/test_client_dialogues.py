"""Every transcript of client/ through the client machine: replies in whole groups, line by line, octet by octet.

S: a line of the peer, with \\xNN for octets. C: a line of ours; all of a group must be there before the peer is heard
again. What the caller does: "! begin SENDER RECIPIENT...", "! content", "! starttls", "! secured". How it ends:
"= STATE", or "= error TEXT" for a PeerError; "= refused PHASE CODE" for a session, or STARTTLS, that was; then for each
recipient "= PHASE CODE [ENHANCED] [TEXT]" or "= undecided". In the first line, what it shows, "LMTP" makes it one, and
"(whole)" leaves it in one piece.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastrelay.errors import PeerError
from fastrelay.smtp.client import Client, State

TRANSCRIPTS = sorted((Path(__file__).parent / "client").glob("*.txt"))
CUTS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "whole": lambda octets: iter([octets]),
    "by line": lambda octets: iter(octets.splitlines(keepends=True)),
    "by octet": lambda octets: iter([octets[n : n + 1] for n in range(len(octets))]),
}


class Play:
    """One transcript under way."""

    def __init__(self, text: str, cut: Callable[[bytes], Iterator[bytes]]) -> None:
        self.lines = text.splitlines()
        self.cut = cut
        self.client = Client("relay.example", lmtp="LMTP" in self.lines[0])
        self.said: list[bytes] = []
        self.written = b""
        self.error = ""

    def run(self) -> None:
        ends: list[str] = []
        for line in self.lines[1:]:
            mark, text = line[:2], line[3:]
            if mark == "S:":
                self.said.append(text.encode().decode("unicode_escape").encode("latin-1") + b"\r\n")
                continue
            self.listen()
            if mark == "C:":
                expected = text.encode() + b"\r\n"
                assert self.written.startswith(expected), f"{self.written!r} is not {text!r}"
                self.written = self.written[len(expected) :]
            elif mark == "! ":
                self.step(*line[2:].split())
            elif mark == "= ":
                ends.append(line[2:])
        assert self.written == b"" and not self.said
        assert ends == list(self.ends(len(ends)))

    def listen(self) -> None:
        if not self.said:
            return
        assert self.written == b"", f"the peer is not asked, and we wrote {self.written!r}"
        octets, self.said = b"".join(self.said), []
        try:
            for piece in self.cut(octets):
                self.written += self.client.receive(piece)
        except PeerError as error:
            self.error = str(error)

    def step(self, verb: str, *words: str) -> None:
        client = self.client
        if verb == "begin":
            self.written += client.begin(words[0].strip("<>"), words[1:])
        elif verb == "content":
            assert client.state is State.CONTENT, client.state
            self.written += b"".join(client.content([b"hello\r\n"]))
            client.sent()
        elif verb == "starttls":
            self.written += client.start_tls()
        else:
            assert client.state is State.HANDSHAKE
            self.written += client.secured()

    def ends(self, count: int) -> Iterator[str]:
        client = self.client
        if self.error:
            yield f"error {self.error}"
        else:
            yield client.state.value
        if client.refusal is not None:
            yield f"refused {client.refusal[0].value} {client.refusal[1].code}"
        for verdict in client.verdicts:
            yield "undecided" if verdict is None else f"{verdict[0].value} {verdict[1]}".rstrip()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, cut: str) -> None:
    text = path.read_text(encoding="utf-8")
    if cut == "whole" or "(whole)" not in text:
        Play(text, CUTS[cut]).run()


def test_there_are_some() -> None:
    assert len(TRANSCRIPTS) > 40
