"""The client machine against peers that answer each command with anything: what it takes for delivered was delivered,
what was delivered it never takes for refused, and how the octets are cut changes nothing."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.errors import PeerError
from fastrelay.smtp.client import Client, State
from tests.fuzz.effort import effort

GOOD = [b"250 ok\r\n", b"250-2.1.0 one\r\n250 2.1.0 two\r\n", b"250\r\n", b"251 2.1.5 on\r\n", b"250 ok\n"]
BAD = [
    b"421 4.3.2 bye\r\n",
    b"451 4.7.1 later\r\n",
    b"452 4.5.3 full\r\n",
    b"550-5.1.1 no\r\n550 5.1.1 no\r\n",
    b"552 no\r\n",
]
NO_REPLIES = [b"199 no\r\n", b"250-a\r\n550 b\r\n", b"hi\r\n", b"250ok\r\n", b"\r\n"]
ODD = [b"250 " + b"y" * 2100 + b"\r\n", b"220 hi\r\n", b"334 \r\n", b"354 go\r\n", *NO_REPLIES]
REPLY = st.sampled_from([*GOOD * 6, *BAD * 2, *ODD])
RIGHT = {b"EHLO": b"250-mx\r\n250 PIPELINING\r\n", b"LHLO": b"250-mx\r\n250 PIPELINING\r\n", b"DATA": b"354 go\r\n"}
TO = ["a@d.example", "b@d.example", "c@d.example"]
CONTENT = b"Subject: x\r\n\r\n.dot\r\n"


class Peer:
    """Answers the lines it is sent, one by one: the next of `replies`, or None for the right one. taken: recipients of
    the message whose dot it answered with 2yz."""

    def __init__(self, replies: Sequence[bytes | None], lmtp: bool, pipelining: bool) -> None:
        self.replies = replies
        self.lmtp = lmtp
        self.pipelining = pipelining
        self.taken: list[str] = []
        self._said = 0
        self._heard = b""
        self._content = False
        self._accepted: list[str] = []

    def reply(self, right: bytes) -> bytes:
        chosen = self.replies[self._said % len(self.replies)]
        self._said += 1
        return right if chosen is None else chosen

    def answer(self, octets: bytes) -> bytes:
        """Everything it says to `octets`."""
        self._heard += octets
        out = b""
        while True:
            if self._content:
                content, end, rest = (b"\r\n" + self._heard).partition(b"\r\n.\r\n")
                if not end:
                    return out
                self._heard, self._content = rest, False
                out += self._dots(content)
                continue
            line, end, rest = self._heard.partition(b"\r\n")
            if not end:
                return out
            self._heard = rest
            out += self._command(line)

    def _command(self, line: bytes) -> bytes:
        verb = line[:4]
        said = self.reply(RIGHT.get(verb, b"250 ok\r\n") if self.pipelining or verb == b"DATA" else b"250 ok\r\n")
        if verb == b"MAIL":
            self._accepted = []
        elif verb == b"RCPT" and said.startswith(b"2"):
            self._accepted.append(line[9:-1].decode())
        elif verb == b"DATA" and said.startswith(b"354"):
            self._content = True
        return said

    def _dots(self, content: bytes) -> bytes:
        out = b""
        for name in self._accepted if self.lmtp else [""]:
            said = self.reply(b"250 taken\r\n")
            out += said
            if content and said.startswith(b"2") and said not in NO_REPLIES:
                self.taken += [name] if name else self._accepted
        return out


def play(peer: Peer, cut: int) -> tuple[Client, str]:
    """One transaction, the octets of the peer in pieces of `cut`. The error that ended it, "" for none."""
    client = Client("relay.example", lmtp=peer.lmtp)

    def converse(said: bytes) -> None:
        while said:
            out = b"".join([client.receive(said[at : at + cut]) for at in range(0, len(said), cut)])
            said = peer.answer(out)

    try:
        converse(peer.reply(b"220 mx\r\n"))
        if client.state is State.READY:
            converse(peer.answer(client.begin("s@from.example", TO)))
        if client.state is State.CONTENT:
            out = b"".join(client.content([CONTENT]))
            client.sent()
            converse(peer.answer(out))
    except PeerError as error:
        return client, str(error)
    return client, ""


@effort(400)
@given(st.lists(st.none() | st.none() | REPLY, min_size=1, max_size=14), st.booleans(), st.booleans())
def test_what_it_believes_is_what_the_peer_did(replies: list[bytes | None], lmtp: bool, pipelining: bool) -> None:
    seen = []
    for cut in (100_000, 1, 7):
        peer = Peer(replies, lmtp, pipelining)
        client, error = play(peer, cut)
        assert error or not client.awaiting, "it waits for a reply that nobody owes it"
        for name, verdict in zip(TO, client.verdicts, strict=bool(client.verdicts)):
            delivered = verdict is not None and verdict[0].value == "dot" and verdict[1].code // 100 == 2
            if delivered:
                assert name in peer.taken
            elif name in peer.taken:
                assert verdict is None, f"taken, and told as {verdict}"
        assert all(code // 100 in (2, 3, 4, 5) for _, code in words(client))
        seen.append((client.state, words(client), bool(error)))
    assert seen[0] == seen[1] == seen[2]


def words(client: Client) -> list[tuple[str, int]]:
    return [(verdict[0].value, verdict[1].code) for verdict in client.verdicts if verdict is not None]
