"""Keys and verifiers: the vector of RFC 7677 3, the written form, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.smtp.sasl import scram

SALT = scram.unbase64("W22ZaJ0SNY7soEsUEjb6gQ==")
MESSAGES = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = scram.unbase64("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = scram.unbase64("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_the_vector_of_rfc_7677() -> None:
    keys = scram.derive(b"pencil", SALT, 4096)
    verifier = scram.make_verifier(b"pencil", 4096, SALT)
    assert scram.proof(keys, MESSAGES) == PROOF
    assert scram.digest(verifier.server, MESSAGES) == SIGNATURE
    assert scram.proves(verifier, MESSAGES, PROOF)
    assert scram.matches(verifier, keys)


def test_another_password_another_message_another_proof_do_not_do() -> None:
    verifier = scram.make_verifier(b"pencil", 4096, SALT)
    assert not scram.proves(verifier, MESSAGES + b" ", PROOF)
    assert not scram.proves(verifier, MESSAGES, PROOF[:-1])
    assert not scram.proves(verifier, MESSAGES, PROOF[:-1] + b"\0")
    assert not scram.proves(verifier, MESSAGES, b"")
    assert not scram.matches(verifier, scram.derive(b"Pencil", SALT, 4096))


def test_a_verifier_is_written_and_read() -> None:
    verifier = scram.make_verifier(b"pencil", 4096, SALT)
    text = str(verifier)
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert scram.parse_verifier(text) == verifier
    assert "W22" not in repr(verifier)


def test_each_verifier_has_a_salt_of_its_own() -> None:
    one, other = scram.make_verifier(b"pencil", 4096), scram.make_verifier(b"pencil", 4096)
    assert len(one.salt) == scram.SALT_OCTETS
    assert one.salt != other.salt
    assert one.stored != other.stored


KEY = "A" * 43 + "="


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "write a verifier as"),
        (f"SCRAM-SHA-1$4096:QUJD${KEY}:{KEY}", "write a verifier as"),
        (f"SCRAM-SHA-256$4096:QUJD${KEY}:{KEY}$", "write a verifier as"),
        (f"SCRAM-SHA-256$4096QUJD${KEY}:{KEY}", "parted by a colon"),
        (f"SCRAM-SHA-256$4095:QUJD${KEY}:{KEY}", "4096"),
        (f"SCRAM-SHA-256$99999999:QUJD${KEY}:{KEY}", "5000000"),
        (f"SCRAM-SHA-256$+4096:QUJD${KEY}:{KEY}", "iterations"),
        (f"SCRAM-SHA-256$4096:QUJ${KEY}:{KEY}", "not base64"),
        (f"SCRAM-SHA-256$4096:${KEY}:{KEY}", "salt"),
        (f"SCRAM-SHA-256$4096:QUJD$QUJD:{KEY}", "32 octets"),
        (f"SCRAM-SHA-256$4096:QUJD${KEY}:ä", "not base64"),
    ],
)
def test_a_bad_verifier_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        scram.parse_verifier(text)


@pytest.mark.parametrize("text", ["QUJD\n", "QUJD====", "QQ=", "QR==", "Q Q=", "=", "QUJ-", "QUJDQQ==QQ==", "\xe4"])
def test_base64_is_strict(text: str) -> None:
    for octets in (text, text.encode()):
        with pytest.raises(ValueError, match="not base64"):
            scram.unbase64(octets)


@given(st.binary(max_size=100))
def test_base64_both_ways(octets: bytes) -> None:
    assert scram.unbase64(scram.b64encode(octets)) == octets  # type: ignore[attr-defined]


@given(st.text(max_size=30))
def test_names_both_ways(name: str) -> None:
    try:
        octets = scram.escaped(name)
    except UnicodeEncodeError:
        return
    assert b"," not in octets
    assert scram.unescaped(octets) == name


def test_secrets_do_not_show() -> None:
    assert "***" in repr(scram.derive(b"pencil", SALT, 4096))
