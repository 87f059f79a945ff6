"""What is read from certificates, against what the cryptography package put into them."""

import contextlib
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.runtime.x509 import first_of, read
from tests.peers.certificates import Authority

KEY = ec.generate_private_key(ec.SECP256R1())


def made(
    common_name: str = "", alternatives: list[x509.GeneralName] | None = None, year: int = 2031
) -> x509.Certificate:
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]))
        .public_key(KEY.public_key())
        .serial_number(2**159 - 1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(year, 2, 3, 4, 5, 6, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if alternatives is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
    return builder.sign(KEY, hashes.SHA256())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def test_names_of_each_kind() -> None:
    one = made(
        "Mail häuschen", [x509.DNSName("MX.Example"), x509.RFC822Name("a@b.example"), x509.DNSName("*.c.example")]
    )
    found = read(der(one))
    assert found.names == ("mx.example", "*.c.example") and found.emails == ("a@b.example",)
    assert found.common_name == "Mail häuschen"
    assert found.sha256 == one.fingerprint(hashes.SHA256()).hex()


def test_without_names() -> None:
    found = read(der(made()))
    assert (found.names, found.emails, found.common_name) == ((), (), "")


@pytest.mark.parametrize("year", [2031, 2049, 2050, 9999])  # from 2050 on GeneralizedTime
def test_its_end(year: int) -> None:
    one = made("x", year=year)
    found = read(der(one))
    assert found.not_after == one.not_valid_after_utc.timestamp()
    assert found.not_before == one.not_valid_before_utc.timestamp()


def test_the_leaf_of_a_chain_is_its_first(authority: Authority) -> None:
    leaf = authority.issue("one.example", "two.example")
    found = first_of("Bag Attributes\n" + leaf.certificate.read_text())
    assert found.names == ("one.example", "two.example")
    assert (
        found.sha256 == x509.load_pem_x509_certificate(leaf.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()
    )


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", ssl.DER_cert_to_PEM_cert(b"\x30\x03\x02\x01\x05")])
def test_what_is_no_certificate(text: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        first_of(text)


WHOLE = der(made("x", [x509.DNSName("mx.example")]))


@given(st.data())
def test_damage_is_a_value_error_or_goes_unnoticed(data: st.DataObject) -> None:
    octets = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    for damaged in (bytes(octets), bytes(octets[:cut])):
        with contextlib.suppress(ValueError):
            read(damaged)
