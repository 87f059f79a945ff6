"""grammar.py and commands.py under octets nobody meant: a value that keeps its promises, or the error of the grammar.

The grammar is checked twice: near-valid text against regular expressions written from RFC 5321 alone, and any octets
for the promises to whoever uses the result.
"""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.mail.address import domain_of
from fastrelay.smtp import commands, grammar
from fastrelay.smtp.commands import Unacceptable
from fastrelay.smtp.events import Mail
from fastrelay.smtp.extensions import BASIC
from fastrelay.smtp.grammar import Malformed
from tests.fuzz.effort import effort

_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rb"(?=.{1,255}\Z)" + _LABEL + rb"(?:\." + _LABEL + rb")*\Z", re.DOTALL)
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LOCAL = re.compile(
    rb"(?=.{1,64}\Z)(?:" + _ATOM + rb"(?:\." + _ATOM + rb")*|\"(?:[ !#-\[\]-~]|\\[ -~])*\")\Z", re.DOTALL
)
PRINTABLE_TEXT = re.compile(r"[ -~]*\Z")
ONE_REPLY = re.compile(rb"[45]\d\d [45]\.\d{1,3}\.\d{1,3} [ -~]*\r\n\Z")

ANY = st.binary(max_size=80)
DOMAIN_BITS = st.sampled_from(
    [b"a", b"b-c", b"-", b".", b"..", b"9", b"x" * 62, b"x" * 63, b"x" * 64, b"_", b"\xff", b" "]
)
NEAR_DOMAIN = st.lists(DOMAIN_BITS, max_size=12).map(b"".join) | st.lists(DOMAIN_BITS, max_size=6).map(b".".join)
LOCAL_BITS = st.sampled_from(
    [b"a", b".", b'"', b"\\", b" ", b"@", b">", b"<", b"%", b"!", b",", b":", b"x" * 30, b"\0", b"\r\n", b"\n", b"\x7f"]
) | st.binary(min_size=1, max_size=1)
NEAR_LOCAL = st.lists(LOCAL_BITS, max_size=8).map(b"".join)
QUOTED = NEAR_LOCAL.map(lambda inner: b'"' + inner + b'"')
LITERALS = st.sampled_from(
    [b"[192.0.2.1]", b"[IPv6:2001:db8::1]", b"[IPv6:fe80::1%e]", b"[1.2.3]", b"[x:y]", b"[", b"[]"]
)
ROUTES = st.sampled_from([b"", b"", b"@a:", b"@a,@b.c:", b"@a", b"@[192.0.2.1]:", b"@:", b",:"])
NEAR_MAILBOX = st.tuples(ROUTES, NEAR_LOCAL | QUOTED, st.sampled_from([b"@", b"@", b"@", b"", b"@@"]),
                         NEAR_DOMAIN | LITERALS).map(b"".join)  # fmt: skip
VALUES = st.sampled_from([b"", b"=", b"=1", b"=8BITMIME", b"=12345678901234567890", b"=a=b", b"=+2B", b"=\xff", b"=\n"])
KEYWORDS = st.sampled_from([b"SIZE", b"size", b"BODY", b"X-Y", b"-X", b"", b"RET", b"\0", b"ENVID"])
NEAR_PARAMETERS = st.lists(st.tuples(KEYWORDS, VALUES).map(b"".join), max_size=5).map(
    lambda some: b" " + b" ".join(some)
)

MAIL_ARGUMENT = st.tuples(
    st.sampled_from([b"FROM:<", b"FROM:<", b"from: <", b"TO:<", b"FROM:", b"<"]),
    NEAR_MAILBOX | st.just(b"") | ANY,
    st.sampled_from([b">", b">", b"", b"> ", b">>"]),
    NEAR_PARAMETERS | ANY,
).map(b"".join)
RCPT_ARGUMENT = st.tuples(
    st.sampled_from([b"TO:<", b"to:  <"]),
    NEAR_MAILBOX | st.just(b"PostMaster") | ANY,
    st.sampled_from([b">", b"> ", b""]),
    NEAR_PARAMETERS | ANY,
).map(b"".join)


@effort(200)
@given(NEAR_DOMAIN | ANY)
def test_a_domain_is_what_the_rfc_says(octets: bytes) -> None:
    if DOMAIN.match(octets):
        assert grammar.domain(octets) == octets.decode()
    else:
        with pytest.raises(Malformed):
            grammar.domain(octets)


@effort(300)
@given(NEAR_MAILBOX | ANY)
def test_a_mailbox_is_what_the_rfc_says_and_means_one_thing(octets: bytes) -> None:
    try:
        address = grammar.mailbox(octets)
    except Malformed as error:
        assert error.part == "path" and PRINTABLE_TEXT.match(str(error))
        if not octets.startswith(b"@") and octets.rpartition(b"@")[2][:1] != b"[":
            local, _, domain = octets.rpartition(b"@")
            assert not (LOCAL.match(local) and DOMAIN.match(domain)), "valid, and refused"
        return
    local, at, domain = address.encode("ascii").rpartition(b"@")
    assert at and LOCAL.match(local) and (DOMAIN.match(domain) or (domain[:1], domain[-1:]) == (b"[", b"]"))
    assert octets.endswith(address.encode("ascii")), "nothing is rewritten but the route"
    assert grammar.mailbox(address.encode("ascii")) == address
    if len(address) <= grammar.MAX_PATH - 2:
        assert grammar.path(f"TO:<{address}>".encode(), b"TO:") == (address.encode(), b""), "and in a command line too"


NO_ADDRESS_HAS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
CHARACTERS = st.characters(exclude_categories=["Cs"], min_codepoint=0x80) | st.sampled_from(
    "éжß例\x85\u2028\u202e\u200d。"
)
BEYOND_BITS = CHARACTERS.map(lambda one: one.encode()) | LOCAL_BITS
NEAR_BEYOND = st.tuples(
    st.lists(BEYOND_BITS, max_size=6).map(b"".join),
    st.sampled_from([b"@", b"@", b""]),
    st.lists(BEYOND_BITS | DOMAIN_BITS, max_size=6).map(b"".join),
).map(b"".join)


@effort(400)
@given(NEAR_BEYOND | NEAR_MAILBOX | ANY)
def test_a_mailbox_beyond_ascii_means_one_thing_and_opens_nothing(octets: bytes) -> None:
    try:
        address = grammar.mailbox_utf8(octets)
    except Malformed as error:
        assert error.part == "path" and PRINTABLE_TEXT.match(str(error))
        return
    assert octets.endswith(address.encode()) and not NO_ADDRESS_HAS.search(address)
    assert len(address.splitlines()) == 1 and grammar.mailbox_utf8(address.encode()) == address
    local, at, domain = address.rpartition("@")
    plain = "".join(one if one.isascii() else "x" for one in local)
    assert at and len(local.encode()) <= 64 and re.match(LOCAL.pattern.decode(), plain)
    assert DOMAIN.match(domain_of(address).encode("ascii")) or domain.startswith("[")
    if address.isascii():
        assert grammar.mailbox(octets) == address


@effort(200)
@given(MAIL_ARGUMENT | NEAR_BEYOND.map(lambda address: b"FROM:<" + address + b"> SMTPUTF8") | ANY)
def test_mail_is_a_value_or_one_reply(argument: bytes) -> None:
    try:
        event = commands.mail(argument, BASIC)
    except Unacceptable as error:
        assert ONE_REPLY.match(error.answer.to_wire())
        return
    assert isinstance(event, Mail)
    assert not NO_ADDRESS_HAS.search(event.sender) and (event.smtputf8 or PRINTABLE_TEXT.match(event.sender))
    assert event.body in ("7BIT", "8BITMIME") and 0 <= event.size < 10**20
    for keyword, value in grammar.parameters(grammar.path(argument, b"FROM:")[1]).items():
        assert re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", keyword) and not NO_ADDRESS_HAS.search(value)
        assert re.fullmatch(r"[!-<>-~]*", value) or (event.smtputf8 and re.fullmatch(r"[^ =\x00-\x1f]*", value))


@effort(200)
@given(RCPT_ARGUMENT | ANY)
def test_rcpt_is_a_value_or_one_reply(argument: bytes) -> None:
    try:
        event = commands.rcpt(argument, BASIC)
    except Unacceptable as error:
        assert ONE_REPLY.match(error.answer.to_wire())
        return
    assert event.address == "postmaster" or "@" in event.address
    assert PRINTABLE_TEXT.match(event.address)


@effort(200)
@given(NEAR_DOMAIN | LITERALS | NEAR_LOCAL | ANY)
def test_a_clients_name_opens_nothing(octets: bytes) -> None:
    try:
        name = commands.hello(octets)
    except Unacceptable as error:
        assert ONE_REPLY.match(error.answer.to_wire())
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]+|\[[A-Fa-f0-9.:IPpVv]+\]", name) and len(name) <= 255


@effort(200)
@given(st.text(st.sampled_from("aZ+0123456789ABCDEF=é \r\n\0"), max_size=20))
def test_xtext_decodes_to_printable_text_once(text: str) -> None:
    try:
        plain = grammar.xtext(text)
    except Malformed as error:
        assert error.part == "parameter"
        return
    assert PRINTABLE_TEXT.match(plain)
    assert re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text) == plain


@effort(100)
@pytest.mark.parametrize(
    "read", [grammar.literal, grammar.client_name, grammar.parameters, grammar.mailbox, grammar.domain]
)
@given(octets=ANY)
def test_any_octets_are_a_value_or_malformed(read: Callable[[bytes], object], octets: bytes) -> None:
    try:
        value = read(octets)
    except Malformed:
        return
    words = list(value) if isinstance(value, dict) else [value]
    assert all(isinstance(word, str) and PRINTABLE_TEXT.match(word) for word in words)
    if isinstance(value, dict):  # beyond ASCII is for the transaction to know
        assert not any(NO_ADDRESS_HAS.search(word) for word in value.values())
