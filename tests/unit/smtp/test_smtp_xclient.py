"""What XCLIENT says of a client, attribute by attribute (Postfix XCLIENT_README)."""

import pytest

from fastrelay.smtp.events import XClient
from fastrelay.smtp.grammar import Malformed
from fastrelay.smtp.xclient import attributes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"ADDR=203.0.113.9", XClient(address="203.0.113.9")),
        (b"addr=ipv6:2001:DB8:0:0::9", XClient(address="2001:db8::9")),
        (b"ADDR=IPV6:::ffff:203.0.113.9", XClient(address="203.0.113.9")),
        (b"ADDR=[UNAVAILABLE]", XClient(address="")),
        (b"NAME=mail.example", XClient(name="mail.example")),
        (b"NAME=[tempunavail] ADDR=203.0.113.9", XClient(name="", address="203.0.113.9")),
        (b"LOGIN=anna+40example.com", XClient(login="anna@example.com")),
        (b"LOGIN=[UNAVAILABLE]", XClient()),
        (b" PORT=4711  PROTO=esmtp HELO=what+20ever DESTADDR=IPV6:::1 DESTPORT=[UNAVAILABLE] ", XClient()),
    ],
)
def test_said(text: bytes, said: XClient) -> None:
    assert attributes(text) == said


@pytest.mark.parametrize(
    "text",
    [
        b"", b"  ", b"ADDR", b"ADDR=", b"ADDR=2001:db8::9", b"ADDR=IPV6:203.0.113.9", b"ADDR=203.0.113.09",
        b"ADDR=unix", b"NAME=", b"NAME=a+20b", b"NAME=a)b", b"NAME=a+zzb", b"NAME=+E4", b"PORT=", b"PORT=-1",
        b"PORT=66666", b"LOGIN=+0A", b"LOGIN=" + b"x" * 256, b"PROTO=HTTP", b"HELO=+00", b"DESTADDR=here",
        b"DESTPORT=x", b"X=1", b"=1", b"ADDR=203.0.113.9 ADDR=203.0.113.9",
    ],
)  # fmt: skip
def test_wrong(text: bytes) -> None:
    with pytest.raises(Malformed):
        attributes(text)
