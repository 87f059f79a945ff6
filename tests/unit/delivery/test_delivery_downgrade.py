"""downgrade.py: 8-bit content as 7-bit MIME that reads the same; what is signed or reads two ways stays."""

import email
import email.policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.delivery.downgrade import MAX_DEPTH, MAX_PARTS, MAX_SIZE, Unconvertible, to_seven_bits

UMLAUT = "ä".encode()
HEAD = b"Subject: x\r\nMIME-Version: 1.0\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"


def mime(*fields: bytes, body: bytes = UMLAUT) -> bytes:
    return HEAD + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def multi(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"=_b", rest: bytes = b"") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n" + rest
    fields = b'Content-Type: multipart/%s; boundary="%s"' % (kind, boundary), b"Content-Transfer-Encoding: 8bit"
    return mime(*fields, body=body)


def read(octets: bytes) -> Message:
    return email.message_from_bytes(octets, policy=email.policy.compat32)


def payloads(octets: bytes) -> list[tuple[str, bytes]]:
    """Of every leaf: its type and what it means."""
    found = []
    for part in read(octets).walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            found.append((part.get_content_type(), content.replace(b"\r\n", b"\n")))
    return found


def is_sound(octets: bytes) -> None:
    assert octets.isascii()
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


def test_ascii_is_left_alone() -> None:
    for octets in (
        b"",
        b"\r\n",
        b"Subject: x\r\n",
        b"Subject: x\r\n\r\n",
        b"Subject: x\r\n\r\nhello\r\n.\r\n",
        multi(b"x"),
    ):
        assert to_seven_bits(octets) == octets


def test_a_text_becomes_quoted_printable_and_nothing_else_changes() -> None:
    octets = (
        b"Received: here\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        + TEXT
        + "Grüße,\r\n.\r\n ende \r\n".encode()
        + b"x" * 90
    )
    made = to_seven_bits(octets)
    is_sound(made)
    assert made.startswith(
        b"Received: here\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe,\r\n"
    )
    assert payloads(made) == payloads(octets)


def test_mostly_8bit_becomes_base64() -> None:
    octets = mime(b"Content-Type: text/plain; charset=utf-8", body=("Здравствуйте\r\n" * 50).encode())
    made = to_seven_bits(octets)
    is_sound(made)
    assert b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" in made and payloads(made) == payloads(octets)


def test_one_line_without_an_end() -> None:
    """The library guesses line ends by the first one: without any its soft breaks would be bare LF."""
    made = to_seven_bits(mime(b"Content-Type: text/plain", body=UMLAUT + b"x" * 500))
    is_sound(made)
    assert payloads(made)[0][1] == UMLAUT + b"x" * 500


def test_a_text_without_mime_is_declared() -> None:
    made = to_seven_bits(b"Subject: x\r\n\r\nGr\xfc\xdfe und noch etwas mehr Text\r\n")
    is_sound(made)
    assert made.startswith(
        b"Subject: x\r\nContent-Type: text/plain; charset=unknown-8bit\r\nMIME-Version: 1.0\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe"
    )


def test_without_a_header() -> None:
    made = to_seven_bits(b"\r\n" + UMLAUT + b" and more text that is ascii\r\n")
    is_sound(made)
    assert made.startswith(b"Content-Type: text/plain")


def test_parts_each_for_itself() -> None:
    first = TEXT + "Grüße und so weiter, das ist Text\r\n".encode()
    second = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    third = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(128, 256)) * 3
    octets = multi(
        first, second, b"", b"\r\n" + UMLAUT + b" a text without a header of its own", third, rest=b"the end\r\n"
    )
    made = to_seven_bits(octets)
    is_sound(made)
    assert payloads(made) == payloads(octets)
    assert b'Content-Type: multipart/mixed; boundary="=_b"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n--=_b\r\n' in made
    assert b"--=_b\r\n" + second + b"\r\n--=_b\r\n" in made and made.endswith(b"\r\n--=_b--\r\nthe end\r\n")


def test_parts_within_parts_and_messages_within_messages() -> None:
    inner = EmailMessage(policy=email.policy.SMTP)
    inner["Subject"] = "inner"
    inner.set_content("Grüße\n", cte="8bit")
    inner.add_alternative("<p>Grüße</p>\n", subtype="html", cte="8bit")
    outer = EmailMessage(policy=email.policy.SMTP)
    outer["Subject"] = "outer"
    outer.set_content("Grüße\n", cte="8bit")
    outer.add_attachment(inner)
    octets = outer.as_bytes()
    assert not octets.isascii()
    made = to_seven_bits(octets)
    is_sound(made)
    assert payloads(made) == payloads(octets) and len(payloads(made)) == 3


def test_a_boundary_that_begins_like_another() -> None:
    octets = multi(b"\r\n--=_bc\r\n" + UMLAUT + b"\r\n x--=_b\r\n-- =_b", b"\r\nx")
    made = to_seven_bits(octets)
    is_sound(made)
    assert payloads(made) == payloads(octets) and len(payloads(made)) == 2


def test_a_boundary_that_never_closes_and_one_with_spaces_behind() -> None:
    fields = (b"Content-Type: multipart/mixed; boundary=b",)
    for body in (b"--b\r\n\r\n" + UMLAUT + b"x" * 20, b"--b \t\r\n\r\n" + UMLAUT + b" text\r\n--b--  \r\n"):
        made = to_seven_bits(mime(*fields, body=body))
        is_sound(made)
        assert payloads(made) == payloads(mime(*fields, body=body))


SIGNED = "a signature covers it"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (mime(b"DKIM-Signature: v=1; b=x"), SIGNED),
        (mime(b"dkim-signature : v=1;\r\n b=x"), SIGNED),
        (mime(b"ARC-Message-Signature: i=1"), SIGNED),
        (mime(b"DKIM-Signature: v=1", b"DKIM-Signature: v=1"), SIGNED),
        (multi(TEXT + UMLAUT, b"x", kind=b"signed"), SIGNED),
        (multi(multi(TEXT + UMLAUT, kind=b"signed", boundary=b"inner")), SIGNED),
        (multi(TEXT + UMLAUT, b"x", kind=b"encrypted"), "it is encrypted"),
        (multi(TEXT + UMLAUT, b"x", kind=b"digest"), "a part is multipart/digest"),
        (mime(b"Content-Transfer-Encoding: quoted-printable"), "a part says it is quoted-printable"),
        (mime(b"Content-Transfer-Encoding: base64"), "a part says it is base64"),
        (mime(b"Content-Type: message/partial"), "a part is message/partial"),
        (mime(b"Content-Type: message/delivery-status"), "a part is message/delivery-status"),
        (mime(b"Content-Type: multipart/mixed"), "a multipart has no boundary"),
        (mime(b"Content-Type: multipart/mixed; boundary=b"), "outside its parts"),
        (
            mime(b"Content-Type: multipart/mixed; boundary=b", body=b"--b\r\n\r\nx\r\n--b--\r\n" + UMLAUT),
            "outside its parts",
        ),
        (mime(b"Content-Type: text/plain", b"content-type: text/html"), "content-type stands there twice"),
        (b"Subject: " + UMLAUT + b"\r\n\r\n" + UMLAUT, "a header has octets beyond ASCII"),
        (b"Subject: " + UMLAUT + b"\r\n\r\nx", "a header has octets beyond ASCII"),
        (UMLAUT, "a header has octets beyond ASCII"),
        (multi(b"Content-Description: " + UMLAUT + b"\r\n\r\nx"), "a header has octets beyond ASCII"),
        (mime(body=UMLAUT * MAX_SIZE), "it has more than 2 MiB"),
        (multi(*[b"\r\n"] * MAX_PARTS, b"\r\n" + UMLAUT), "too many parts"),
    ],
)
def test_what_stays_as_it_is(octets: bytes, reason: str) -> None:
    with pytest.raises(Unconvertible, match=reason):
        to_seven_bits(octets)


def test_depth_is_bounded() -> None:
    octets = TEXT + UMLAUT
    for n in range(MAX_DEPTH):
        octets = multi(octets, boundary=b"b%d" % n)
    assert to_seven_bits(octets).isascii()
    for n in range(MAX_DEPTH, MAX_DEPTH + 400):
        octets = multi(octets, boundary=b"b%d" % n)
    with pytest.raises(Unconvertible, match="too many parts"):
        to_seven_bits(octets)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"text/plain", b"text/html", b"application/pdf"]))
def test_any_body_reads_the_same(content: bytes, kind: bytes) -> None:
    body = b"\r\n".join(line for line in content.replace(b"\r", b"\n").split(b"\n"))
    octets = mime(b"Content-Type: " + kind, body=body)
    made = to_seven_bits(octets)
    is_sound(made)
    assert payloads(made) == payloads(octets)
