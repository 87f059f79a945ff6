"""smtp/grammar.py: what is an address, a parameter, a name; and everything else is Malformed."""

import pytest

from fastrelay.smtp import grammar
from fastrelay.smtp.grammar import Malformed

GOOD_MAILBOXES = [
    "a@b",
    "user@example.org",
    "User.Name+tag@Sub.Example.ORG",
    "!#$%&'*+-/=?^_`{|}~@example.org",
    '"quoted local"@example.org',
    '"a@b"@example.org',
    '"a\\"b"@example.org',
    '">"@example.org',
    "user@[192.0.2.1]",
    "user@[IPv6:2001:db8::1]",
    "user@[ipv6:::1]",
    "x" * 64 + "@example.org",
    "u@" + ".".join(["a" * 62] * 3),
    "user%elsewhere.test@example.org",
    "elsewhere.test!user@example.org",
    "u@xn--bcher-kva.example",
    "u@1-2.3",
]

BAD_MAILBOXES = [
    "",
    "user",
    "@",
    "user@",
    "@example.org",
    ".user@example.org",
    "user.@example.org",
    "us..er@example.org",
    "us er@example.org",
    "us(er)@example.org",
    "us,er@example.org",
    "a@b@c",
    '"\0"@example.org',
    '"a\nb"@example.org',
    '"\u00e9"@example.org',
    'a"b@example.org',
    '"a"b@example.org',
    '"a@example.org',
    '"a\\"@example.org',
    "user@example..org",
    "user@.example.org",
    "user@example.org.",
    "user@-example.org",
    "user@example-.org",
    "user@example.-org",
    "user@exam_ple.org",
    "user@ex ample.org",
    "user@" + "a" * 64 + ".org",
    "user@" + ".".join(["a" * 60] * 5),
    "x" * 65 + "@example.org",
    "user@[192.0.2.1",
    "user@[192.0.2.256]",
    "user@[192.0.2.1]x",
    "user@[]",
    "user@[IPv6:]",
    "user@[IPv6:fe80::1%eth0]",
    "user@[2001:db8::1]",
    "user@[X-tag:1]",
    "user@192.0.2.1]",
]


@pytest.mark.parametrize("text", GOOD_MAILBOXES)
def test_a_mailbox_is_itself(text: str) -> None:
    octets = text.encode()
    between, rest = grammar.path(b"TO:<" + octets + b"> A=1", b"TO:")
    assert (between, rest) == (octets, b" A=1")
    assert grammar.mailbox(between) == text


@pytest.mark.parametrize("text", BAD_MAILBOXES)
def test_what_is_no_mailbox(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        grammar.mailbox(text.encode())
    assert caught.value.part == "path"


GOOD_BEYOND_ASCII = [
    "jösé@b.test", "ö@bücher.test", "用户@例子.test", '"ö \\" ö"@b.test', "ö.ö@b.test", "ö" * 32 + "@b.test",
    "x@" + "ö" * 40 + ".test", "ö@[192.0.2.1]", "plain@b.test", "e\u0301@b.test", "o\u200dk@b.test",
]  # fmt: skip
BAD_BEYOND_ASCII = [
    "ö", "ö@", "@ö", ".ö@b.test", "ö.@b.test", "ö..ö@b.test", "ö ö@b.test", "<ö@b.test", 'ö"@b.test', '"ö@b.test',
    "ö@-b.test", "ö@b_.test", "x@ö-.test", "x@ö..test", "x@ö.test.", "x@[ö]", "ö" * 33 + "@b.test", "x@ö。test",
    "x@" + "ö" * 60 + ".test", "ö\x00@b.test", "ö\r\n@b.test", "ö\x7f@b.test", "\x85@b.test", "ö\u2028@b.test",
    "ö\u2029@b.test", "ö\u202e@b.test", "ö\u2066@b.test", "\ufeffö@b.test", "@ö.test:x@b.test", '"ö\x1b"@b.test',
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_BEYOND_ASCII)
def test_a_mailbox_beyond_ascii_is_itself(text: str) -> None:
    assert grammar.mailbox_utf8(text.encode()) == text
    assert grammar.path(f"TO:<{text}>".encode(), b"TO:") == (text.encode(), b"")
    if not text.isascii():
        with pytest.raises(Malformed):
            grammar.mailbox(text.encode())


@pytest.mark.parametrize("text", BAD_BEYOND_ASCII)
def test_what_is_no_mailbox_beyond_ascii(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        grammar.mailbox_utf8(text.encode())
    assert caught.value.part == "path" and str(caught.value).isascii()


@pytest.mark.parametrize("octets", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
def test_what_is_no_utf8(octets: bytes) -> None:
    for address in (octets + b"@b.test", b"x@" + octets + b".test", b'"' + octets + b'"@b.test'):
        with pytest.raises(Malformed, match="not UTF-8"):
            grammar.mailbox_utf8(address)
    with pytest.raises(Malformed):
        grammar.parameters(b" A=" + octets)


def test_a_parameter_may_go_beyond_ascii_where_its_keyword_does_not() -> None:
    assert grammar.parameters(" ORCPT=utf-8;ж@b.test".encode()) == {"ORCPT": "utf-8;ж@b.test"}
    for bad in (" A=ö=", " A=ö\x85", " A=ö\u2028"):
        with pytest.raises(Malformed):
            grammar.parameters(bad.encode())


@pytest.mark.parametrize("octet", [*range(0x20), 0x7F, 0x80, 0xFF])
def test_no_control_and_no_eight_bit_octet_passes(octet: int) -> None:
    bad = bytes((octet,))
    for where in (b"us" + bad + b"er@example.org", b"user@exa" + bad + b"mple.org"):
        with pytest.raises(Malformed):
            grammar.mailbox(where)
    with pytest.raises(Malformed):
        grammar.client_name(b"a" + bad + b"b")
    with pytest.raises(Malformed):
        grammar.parameters(b" X=a" + bad + b"b")


@pytest.mark.parametrize(
    ("routed", "address"),
    [
        (b"@a.test:user@example.org", "user@example.org"),
        (b"@a.test,@b.test:user@example.org", "user@example.org"),
        (b'@a.test:"x:y"@example.org', '"x:y"@example.org'),
        (b"@[192.0.2.1]:user@example.org", "user@example.org"),
    ],
)
def test_source_routes_are_dropped(routed: bytes, address: str) -> None:
    assert grammar.mailbox(routed) == address


@pytest.mark.parametrize("bad", [b"@a.test", b"@a.test,b.test:u@c", b"@:u@c", b"@a_b:u@c", b"@a.test:", b"@a:@b:u@c"])
def test_source_routes_are_checked(bad: bytes) -> None:
    with pytest.raises(Malformed):
        grammar.mailbox(bad)


@pytest.mark.parametrize(
    ("argument", "between", "rest"),
    [
        (b"FROM:<>", b"", b""),
        (b"from:<a@b>", b"a@b", b""),
        (b"From: <a@b> SIZE=1", b"a@b", b" SIZE=1"),
        (b'FROM:<"> x"@b> SIZE=1', b'"> x"@b', b" SIZE=1"),
    ],
)
def test_paths(argument: bytes, between: bytes, rest: bytes) -> None:
    assert grammar.path(argument, b"FROM:") == (between, rest)


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"FROM",
        b"FROM:",
        b"FROM a@b",
        b"FROM:a@b",
        b"FROM:<a@b",
        b"FROM:a@b>",
        b"FROM :<a@b>",
        b"TO:<a@b>",
        b"FROM:<a@b>SIZE=1",
        b"FROM:<a@b>>",
        b'FROM:<"a@b>',
        b"FROM:<" + b"a" * 250 + b"@b.cd>",
    ],
)
def test_what_is_no_path(argument: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        grammar.path(argument, b"FROM:")
    assert caught.value.part == "path"


def test_parameters() -> None:
    assert grammar.parameters(b"") == {}
    assert grammar.parameters(b" SIZE=10 body=8BITMIME smtputf8") == {"SIZE": "10", "BODY": "8BITMIME", "SMTPUTF8": ""}
    assert grammar.parameters(b"  X-a=b ") == {"X-A": "b"}


@pytest.mark.parametrize("bad", [b" =x", b" A=", b" A=b=c", b" A_B=c", b" -A=c", b" A=1 a=2", b" \xc3\xa9=1"])
def test_bad_parameters(bad: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        grammar.parameters(bad)
    assert caught.value.part == "parameter"


def test_numbers_are_bounded() -> None:
    assert grammar.number("00000000000000000001", 20) == 1
    for bad in ("", "-1", "+1", "1_0", "x", "٣", "1" * 21, " 1"):
        with pytest.raises(Malformed):
            grammar.number(bad, 20)


def test_xtext_is_decoded_once_and_checked_again() -> None:
    assert grammar.xtext("rfc822+3Ba+40b.c") == "rfc822;a@b.c"
    assert grammar.xtext("+2B41") == "+41"
    for bad in ("+", "+4", "+4g", "+4a", "a=b", "a b", "a+0D+0Ab", "+00", "+FF", "é"):
        with pytest.raises(Malformed):
            grammar.xtext(bad)
    assert grammar.xtext("jos+C3+A9", utf8=True) == "josé"
    for bad in ("+E9", "+C3", "+ED+A0+80", "+C2+85", "+E2+80+A8", "a+0Ab", "é"):
        with pytest.raises(Malformed):
            grammar.xtext(bad, utf8=True)


def test_client_names() -> None:
    for good in (
        "localhost",
        "my_pc.example",
        "192.0.2.1",
        "mail.example.org.",
        "[192.0.2.1]",
        "[IPv6:::1]",
        "a" * 255,
    ):
        assert grammar.client_name(good.encode()) == good
    for bad in ("", "two words", "(comment)", "a;b", "<a>", "[x]", "a" * 256, "a,b", 'a"b', "a\\b"):
        with pytest.raises(Malformed) as caught:
            grammar.client_name(bad.encode())
        assert caught.value.part == "name"
