"""The client machine speaking LMTP (RFC 2033): LHLO, and a reply to the final dot for each recipient accepted."""

import pytest

from fastrelay.errors import PeerError
from fastrelay.mail.outcome import Phase
from fastrelay.smtp.client import Client, State

LHLO = b"250-store.example\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n"
TO = ["a@d.example", "b@d.example", "c@d.example"]


def ready() -> Client:
    client = Client("relay.example", lmtp=True)
    assert client.receive(b"220 store.example LMTP\r\n") == b"LHLO relay.example\r\n"
    assert client.receive(LHLO) == b"" and client.state is State.READY and client.offer.pipelining
    return client


def at_the_dot(rcpt: bytes = b"250 ok\r\n" * 3) -> Client:
    client = ready()
    client.begin("a@b.example", TO)
    assert client.receive(b"250 ok\r\n" + rcpt + b"354 go\r\n") == b""
    client.sent()
    return client


def feed(client: Client, octets: bytes, cut: int) -> None:
    for at in range(0, len(octets), cut):
        assert client.receive(octets[at : at + cut]) == b""


def words(client: Client) -> list[tuple[str, int] | None]:
    return [verdict and (verdict[0].value, verdict[1].code) for verdict in client.verdicts]


@pytest.mark.parametrize("cut", [1, 3, 10_000])
def test_each_recipient_has_a_reply_of_its_own_however_the_octets_come(cut: int) -> None:
    client = at_the_dot()
    feed(client, b"250 2.0.0 kept\r\n452-4.2.2 over\r\n452 4.2.2 quota\r\n550 5.7.1 no\r\n", cut)
    assert words(client) == [("dot", 250), ("dot", 452), ("dot", 550)] and client.state is State.READY
    assert client.verdicts[1] is not None and client.verdicts[1][1].lines == ("over", "quota")
    assert client.begin("a@b.example", TO).startswith(b"MAIL")


def test_replies_are_for_those_accepted_in_their_order() -> None:
    client = at_the_dot(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
    assert client.receive(b"250 kept\r\n") == b"" and client.awaiting and client.phase is Phase.DOT
    assert words(client) == [("dot", 250), ("rcpt", 550), None]
    client.receive(b"451 4.3.0 later\r\n")
    assert words(client) == [("dot", 250), ("rcpt", 550), ("dot", 451)] and client.state is State.READY


def test_421_in_between_leaves_the_others_without_a_word() -> None:
    """What became of them nobody has said: not a 421, which would say it was not taken."""
    client = at_the_dot()
    with pytest.raises(PeerError, match="bye before every recipient"):
        client.receive(b"250 kept\r\n421 4.3.2 bye\r\n")
    assert words(client) == [("dot", 250), ("dot", 421), None] and client.state is State.DOT


def test_421_as_the_last_word_ends_the_session() -> None:
    client = at_the_dot()
    client.receive(b"250 kept\r\n250 kept\r\n421 4.3.2 bye\r\n")
    assert words(client) == [("dot", 250), ("dot", 250), ("dot", 421)] and client.state is State.CLOSED


def test_one_reply_too_many_ends_the_session_and_changes_nothing() -> None:
    client = at_the_dot()
    client.receive(b"250 kept\r\n" * 4)
    assert words(client) == [("dot", 250)] * 3 and client.state is State.CLOSED


def test_3yz_to_the_dot_is_no_answer() -> None:
    client = at_the_dot()
    with pytest.raises(PeerError, match="final dot answered with 354"):
        client.receive(b"250 kept\r\n354 go\r\n")
    assert words(client) == [("dot", 250), None, None]


def test_no_recipient_and_503_to_data() -> None:
    client = ready()
    client.begin("a@b.example", TO)
    client.receive(b"250 ok\r\n" + b"550 5.1.1 no\r\n" * 3 + b"503 5.5.1 no valid recipients\r\n")
    assert words(client) == [("rcpt", 550)] * 3 and client.state is State.READY


def test_no_recipient_and_354_ends_the_session_without_a_dot() -> None:
    """RFC 2033 4.2 forbids 354 here; how many replies a dot would get nobody knows."""
    client = ready()
    client.begin("a@b.example", TO)
    assert client.receive(b"250 ok\r\n" + b"550 5.1.1 no\r\n" * 3 + b"354 go\r\n") == b""
    assert words(client) == [("rcpt", 550)] * 3 and client.state is State.CLOSED


@pytest.mark.parametrize("said", [b"500 5.5.1 what\r\n", b"550 no\r\n", b"450 later\r\n", b"421 busy\r\n"])
def test_lhlo_refused_is_no_reason_for_helo(said: bytes) -> None:
    client = Client("relay.example", lmtp=True)
    client.receive(b"220 hi\r\n")
    assert client.receive(said) == b"" and client.state is State.CLOSED
    assert client.refusal is not None and client.refusal[0] is Phase.EHLO


def test_lhlo_again_behind_a_handshake() -> None:
    client = ready()
    client.start_tls()
    client.receive(b"220 go\r\n")
    assert client.secured() == b"LHLO relay.example\r\n"
