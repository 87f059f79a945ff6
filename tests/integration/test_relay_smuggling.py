"""Smuggling through the whole program: whatever stands between two letters of a message, one message comes and one
goes on.

Every sequence of four out of CR, LF, dot, a letter and CRLF, that does not hold the true end, with a whole transaction
behind it in the content. What we send on is judged as octets, by the strictest and by the most lenient
receiver there is.
"""

import itertools
import random
import re
import socket
from collections.abc import Callable

import pytest

from tests.peers import debian
from tests.peers.relay_process import RelayProcess
from tests.peers.rude_peer import RudePeer

TOGETHER = 9  # in a session: from the tenth error on each costs a second
PIECES = (b"\r", b"\n", b".", b"x", b"\r\n")
END = b"\r\n.\r\n"
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
LENIENT_END = re.compile(rb"(?:\r|\n)\.(?:\r|\n)")  # where the most lenient receivers of 2023 saw an end
SECOND = b"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<victim@to.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n"


def contents() -> list[bytes]:
    """Each once, with its number in front and the second transaction behind."""
    found = dict.fromkeys(b"".join(four) for four in itertools.product(PIECES, repeat=4))
    whole = [b"\r\nbody A" + middle + SECOND for middle in found]
    return [one for one in whole if END not in b"DATA\r\n" + one]


def conversation(relay: RelayProcess, messages: list[bytes], chance: random.Random) -> list[int]:
    """Each in a transaction of one session, cut anywhere. The codes to the dots."""
    codes = []
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as sock, sock.makefile("rb") as file:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def reply() -> int:
            while (line := file.readline())[3:4] == b"-":
                pass
            return int(line[:3])

        assert reply() == 220
        sock.sendall(b"EHLO c.test\r\n")
        assert reply() == 250
        for n, content in enumerate(messages):
            sock.sendall(b"MAIL FROM:<a@from.test>\r\nRCPT TO:<%d@to.test>\r\nDATA\r\n" % n)
            assert [reply(), reply(), reply()] == [250, 250, 354]
            octets = b"Subject: %d\r\n" % n + content + b".\r\n"
            middle = octets.index(b"A")
            cut = middle + chance.randrange(1, 7)
            for piece in (octets[:cut], octets[cut : cut + 1], octets[cut + 1 :]):
                sock.sendall(piece)
            codes.append(reply())
    return codes


@pytest.mark.parametrize("rule", ["normalise", "refuse"])
def test_one_message_in_is_one_message_out(
    relay: Callable[..., RelayProcess], rule: str, chance: random.Random
) -> None:
    messages = contents()
    assert len(messages) > 300
    with RudePeer() as peer:
        one = relay(
            next_hop=f"127.0.0.1:{peer.port}",
            workers=1,
            listener=[f"bare_newlines = '{rule}'"],
        ).start()
        codes: list[int] = []
        for start in range(0, len(messages), TOGETHER):
            codes += conversation(one, messages[start : start + TOGETHER], chance)
        one.wait_empty()
        good = [message for message, code in zip(messages, codes, strict=True) if code == 250]
        clean = [message for message in messages if not BARE.search(message)]
        if rule == "refuse":
            assert good == clean and set(codes) == {250, 550}
        else:
            assert good == messages
        debian.wait_until(lambda: len(peer.messages) >= len(good), 20, "all of them")
        assert len(peer.messages) == len(good)
        assert {x.sender for x in peer.messages} == {"a@from.test"}
        assert "victim@to.test" not in {name for x in peer.messages for name in x.recipients}
        raw = [bytes(octets) for octets in peer.raw]
        assert sum(octets.count(END) for octets in raw) == len(peer.messages)
        assert not any(BARE.search(octets) for octets in raw)
        for octets in raw:
            assert len(LENIENT_END.findall(octets)) == octets.count(END), "somebody may see an end that is none"
        assert one.stop() == 0
