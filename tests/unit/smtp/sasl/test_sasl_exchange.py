"""Both sides of each mechanism against one another, the vector of RFC 7677, and every message that is none."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.errors import MisuseError, PeerError
from fastrelay.smtp import sasl
from fastrelay.smtp.sasl import client, scram, server
from fastrelay.smtp.sasl.scram import Keys, Verifier
from fastrelay.smtp.sasl.server import Challenge, Claim, Lookup, Malformed, Proof

VERIFIER = scram.make_verifier(b"pencil", 4096, scram.unbase64("W22ZaJ0SNY7soEsUEjb6gQ=="))
OURS, BOTH = b"rOprNGfwEbeRWgbNEkqO", b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=" + OURS
SERVER_FIRST = b"r=" + BOTH + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = b"c=biws,r=" + BOTH + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram_server() -> server.Scram:
    return server.Scram(BOTH[len(OURS) :])


def at_final() -> server.Scram:
    exchange = scram_server()
    assert exchange.step(CLIENT_FIRST) == Lookup("user")
    assert exchange.know(VERIFIER) == Challenge(SERVER_FIRST)
    return exchange


def test_the_exchange_of_rfc_7677_as_server() -> None:
    exchange = at_final()
    assert exchange.step(CLIENT_FINAL) == Challenge(SERVER_FINAL)
    assert exchange.step(b"") == Proof("user", True)


def test_the_exchange_of_rfc_7677_as_client() -> None:
    exchange = client.Scram(client.Secret("user", "pencil"), OURS)
    assert exchange.first == CLIENT_FIRST
    assert exchange.answer(SERVER_FIRST) == CLIENT_FINAL
    assert not exchange.done
    assert exchange.answer(SERVER_FINAL) == b""
    assert exchange.done


def run(exchange: server.Exchange, peer: client.Exchange, verifier: Verifier) -> Claim | Proof:
    message = peer.first
    step = exchange.step(message) if message is not None else Challenge(b"Username:")
    while True:
        if isinstance(step, Lookup):
            step = exchange.know(verifier)
        if not isinstance(step, Challenge):
            return step
        step = exchange.step(peer.answer(step.octets))


@pytest.mark.parametrize("name", sasl.MECHANISMS)
@pytest.mark.parametrize(("user", "word"), [("a,b=c@example.com", "pencil"), ("Jürgen", "p\u00a0w\u2168,=")])
def test_both_sides_of_each_mechanism(name: str, user: str, word: str) -> None:
    peer = client.begin(client.Secret(user, word, mechanisms=[name]), sasl.OFFERED)
    assert peer is not None
    assert peer.name == name
    prepared = word.replace("\u00a0", " ").replace("\u2168", "IX").encode()
    end = run(server.begin(name)[0], peer, scram.make_verifier(prepared, 4096))
    assert end == (Proof(user, True) if name == sasl.SCRAM else Claim(user, prepared))
    assert peer.done


def test_a_wrong_password_proves_nothing() -> None:
    exchange = server.Scram()
    peer = client.Scram(client.Secret("user", "pencils"))
    assert run(exchange, peer, VERIFIER) == Proof("user", False)
    assert not peer.done


def test_the_strongest_that_both_know() -> None:
    secret = client.Secret("u", "p")
    offers = {("LOGIN", "PLAIN", "SCRAM-SHA-256"): sasl.SCRAM, ("LOGIN", "PLAIN", "CRAM-MD5"): sasl.PLAIN}
    for offered, name in offers.items():
        peer = client.begin(secret, offered)
        assert peer is not None
        assert peer.name == name
    assert client.begin(secret, ("CRAM-MD5", "GSSAPI", "SCRAM-SHA-256-PLUS")) is None
    assert client.begin(client.Secret("u", "p", mechanisms=["LOGIN"]), ("PLAIN",)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user",
        b"\0user",
        b"\0user\0",
        b"\0\0pencil",
        b"\0user\0pencil\0",
        b"other\0user\0pencil",
        b"\0us\ner\0pencil",
        b"\0us\xffer\0pencil",
        b"\0user\0pen\x07cil",
        b"\0" + b"u" * 256 + b"\0pencil",
        b"\0user\0" + b"p" * 1025,
    ],
)
def test_plain_refuses(message: bytes) -> None:
    with pytest.raises(Malformed):
        server.Plain().step(message)


def test_plain_takes_the_longest_that_rfc_4616_asks_for() -> None:
    name, word = b"u" * 255, b"p" * 255
    assert server.Plain().step(name + b"\0" + name + b"\0" + word) == Claim(name.decode(), word)


@pytest.mark.parametrize("messages", [[b""], [b"u" * 256], [b"\0"], [b"user", b""], [b"user", b"\xff"]])
def test_login_refuses(messages: list[bytes]) -> None:
    exchange = server.Login()
    with pytest.raises(Malformed):
        for message in messages:
            exchange.step(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,r=abc,n=user",
        b"n,,m=ext,n=user,r=abc",
        b"n,,n=user,r=",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=us\xffer,r=abc",
        b"n,,n=user,r=a\x00c",
        b"n,,n=user,r=a c",
        b"n,a=other,n=user,r=abc",
        b"n,user,n=user,r=abc",
        b"n,,n=user,r=" + b"a" * 513,
    ],
)
def test_scram_refuses_at_first(message: bytes) -> None:
    with pytest.raises(Malformed):
        scram_server().step(message)


def test_scram_lets_be_what_it_need_not_know() -> None:
    assert server.Scram().step(b"y,,n=user,r=abc,x=extension") == Lookup("user")
    assert server.Scram().step(b"n,a=user,n=user,r=abc") == Lookup("user")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b",",
        b"c=biws",
        CLIENT_FINAL.replace(b"biws", b"eSws"),
        CLIENT_FINAL.replace(b"biws", b"biw"),
        CLIENT_FINAL.replace(BOTH, BOTH + b"x"),
        CLIENT_FINAL.replace(BOTH, OURS),
        CLIENT_FINAL[:-1],
        CLIENT_FINAL.partition(b",p=")[0],
        CLIENT_FINAL.replace(b"p=", b"P="),
    ],
)
def test_scram_refuses_at_the_end(message: bytes) -> None:
    with pytest.raises(Malformed):
        at_final().step(message)


def test_scram_wants_an_empty_line_behind_its_own_proof() -> None:
    exchange = at_final()
    exchange.step(CLIENT_FINAL)
    with pytest.raises(Malformed, match="empty line"):
        exchange.step(b"x")


@pytest.mark.parametrize("short", [b"", b"QUJD", b64encode(bytes(33))])
def test_a_proof_of_another_length_proves_nothing(short: bytes) -> None:
    message = CLIENT_FINAL.partition(b"p=")[0] + b"p=" + short
    assert at_final().step(message) == Proof("user", False)


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"e=other-error",
        b"m=ext," + SERVER_FIRST,
        SERVER_FIRST.replace(BOTH, OURS),
        SERVER_FIRST.replace(BOTH, b"x" + BOTH),
        SERVER_FIRST.replace(b"s=W", b"s=*"),
        SERVER_FIRST.replace(b"W22ZaJ0SNY7soEsUEjb6gQ==", b""),
        SERVER_FIRST.replace(b"4096", b"4095"),
        SERVER_FIRST.replace(b"4096", b"5000001"),
        SERVER_FIRST.replace(b"4096", b"-1"),
        SERVER_FIRST.replace(b"i=", b"I="),
    ],
)
def test_the_client_refuses_a_bad_first_challenge(challenge: bytes) -> None:
    with pytest.raises(PeerError):
        client.Scram(client.Secret("user", "pencil"), OURS).answer(challenge)


@pytest.mark.parametrize("challenge", [b"", b"e=invalid-proof", b"v=", b"v=QUJD", SERVER_FINAL[:-2] + b"A="])
def test_a_server_that_does_not_know_the_password_is_not_ours(challenge: bytes) -> None:
    exchange = client.Scram(client.Secret("user", "pencil"), OURS)
    exchange.answer(SERVER_FIRST)
    with pytest.raises(PeerError):
        exchange.answer(challenge)
    assert not exchange.done


def test_more_challenges_than_there_are_answers() -> None:
    secret = client.Secret("user", "pencil")
    with pytest.raises(PeerError):
        client.Plain(secret).answer(b"")
    login = client.Login(secret)
    assert [login.answer(b"Username:"), login.answer(b"?")] == [b"user", b"pencil"]
    with pytest.raises(PeerError):
        login.answer(b"")


def test_what_was_derived_is_kept_for_the_next_connection() -> None:
    asked: list[tuple[bytes, int]] = []

    def derive(password: bytes, salt: bytes, iterations: int) -> Keys:
        asked.append((salt, iterations))
        return scram.derive(password, salt, iterations)

    secret = client.Secret("user", "pencil", derive=derive)
    for _ in range(3):
        client.Scram(secret, OURS).answer(SERVER_FIRST)
    assert len(asked) == 1
    client.Scram(secret, OURS).answer(SERVER_FIRST.replace(b"4096", b"4097"))
    assert len(asked) == 2


def test_secrets_do_not_show() -> None:
    assert "pencil" not in repr(client.Secret("user", "pencil")) + repr(Claim("user", b"pencil"))
    with pytest.raises(MisuseError) as caught:
        client.Secret("user", "pen\ncil")
    assert "pen" not in str(caught.value)


@given(st.lists(st.binary(max_size=80), max_size=4), st.sampled_from(sasl.MECHANISMS))
def test_garbage_is_malformed_or_a_claim_and_nothing_else(messages: list[bytes], name: str) -> None:
    exchange, _ = server.begin(name)
    for message in messages:
        try:
            step = exchange.step(message)
        except Malformed:
            return
        if isinstance(step, Lookup):
            step = exchange.know(VERIFIER)
        if isinstance(step, Proof):
            assert not step.proved
        if not isinstance(step, Challenge):
            return


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_garbage_ends_a_client_with_peer_error_alone(challenges: list[bytes]) -> None:
    for exchange in (client.Scram(client.Secret("user", "pencil"), OURS), client.Login(client.Secret("u", "p"))):
        try:
            for challenge in challenges:
                exchange.answer(challenge)
        except PeerError:
            pass
        assert exchange.name == sasl.LOGIN or not exchange.done
