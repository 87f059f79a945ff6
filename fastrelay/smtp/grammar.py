"""The grammar of paths, parameters and names (RFC 5321 4.1.2 and 4.1.3, RFC 3461 4 for xtext, RFC 6531 3.3 beyond
ASCII). Octets in, `str` out.

The only door by which text of a peer becomes a mail address. What passes holds printable ASCII alone, or, by the
functions named so and only for a transaction that asked for SMTPUTF8, well-formed UTF-8 without anything that ends a
line or steers a terminal (UNFIT); so no address can open a line in a header, a log or an outbound command. Whatever is
not the grammar raises Malformed, which says in words for the reply which rule was broken. Text is passed on as it came,
in whatever normal form (RFC 6531 3.3: who receives decides what is the same mailbox).

Strict, with one tolerance: spaces after the colon of "FROM:" and "TO:", which applications that hand in mail often
send and which can hide nothing. Source routes are read and dropped (RFC 5321 appendix C). Limits (RFC 5321 4.5.3.1):
local part 64 octets, domain 255, path 256; labels 63 (RFC 1035 2.3.4).
"""

import ipaddress
import re
import string

from fastrelay.mail.address import UNFIT, a_labels

MAX_LOCAL = 64
MAX_DOMAIN = 255
MAX_PATH = 256
MAX_LABEL = 63

PRINTABLE = bytes(range(0x20, 0x7F))
_ATEXT_DOT = (string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~.").encode()
_LDH_DOT = (string.ascii_letters + string.digits + "-.").encode()
_KEYWORD = (string.ascii_letters + string.digits + "-").encode()
_CLIENT_NAME = (string.ascii_letters + string.digits + "-._").encode()
_HIGH = bytes(range(0x80, 0x100))
_HIGH_AS_X = bytes(octet if octet < 0x80 else 0x78 for octet in range(0x100))
_VALUE = bytes(set(PRINTABLE) - {0x20, 0x3D})
_VALUE_UTF8 = _VALUE + _HIGH
_XCHAR = bytes(set(PRINTABLE) - {0x20, 0x2B, 0x3D})
_UPPER_HEX = b"0123456789ABCDEF"

_BEYOND = re.compile(r"[^\x00-\x7f]")


class Malformed(ValueError):
    """Not the grammar. `part`: "path", "parameter" or "name"; the message is fit for a reply."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(why)
        self.part = part


def path(argument: bytes, keyword: bytes) -> tuple[bytes, bytes]:
    """Split `FROM:<path> parameters` into the octets between the angle brackets and the octets behind them.

    `keyword` is b"FROM:" or b"TO:", in capitals. Quotes are honoured: a ">" inside a quoted local part ends nothing.
    """
    size = len(keyword)
    if argument[:size].upper() != keyword:
        raise Malformed("path", f"say {keyword.decode()}<address>")
    start = size
    while argument.startswith(b" ", start):
        start += 1
    if not argument.startswith(b"<", start):
        raise Malformed("path", "an address stands between < and >")
    end = argument.find(b">", start)
    quote = argument.find(b'"', start, end)
    if quote >= 0:
        end = argument.find(b">", _quoted_end(argument, quote))
    if end < 0:
        raise Malformed("path", "an address stands between < and >")
    rest = argument[end + 1 :]
    if rest and not rest.startswith(b" "):
        raise Malformed("path", "nothing may follow the > directly")
    if end - start - 1 > MAX_PATH - 2:
        raise Malformed("path", f"a path has at most {MAX_PATH} octets")
    return argument[start + 1 : end], rest


def mailbox(octets: bytes) -> str:
    """`local@domain` as a `str`; a source route before it is checked and dropped."""
    if octets.startswith(b"@"):
        octets = _without_route(octets)
    at = octets.rfind(b"@")
    if at <= 0:
        raise Malformed("path", "an address is local-part@domain")
    local, host = octets[:at], octets[at + 1 :]
    if at > MAX_LOCAL:
        raise Malformed("path", f"a local part has at most {MAX_LOCAL} octets")
    if local[0] == 0x22:
        if _quoted_end(local, 0) != at or local.translate(None, PRINTABLE):
            raise Malformed("path", "a quoted local part is one string in quotes")
    elif local.translate(None, _ATEXT_DOT) or local[0] == 0x2E or local[-1] == 0x2E or b".." in local:
        raise Malformed("path", "bad local part")
    if host.startswith(b"["):
        literal(host)
    else:
        domain(host)
    return octets.decode("ascii")


def mailbox_utf8(octets: bytes) -> str:
    """`mailbox` for a transaction that asked for SMTPUTF8: local part and labels may go beyond ASCII."""
    if octets.isascii():
        return mailbox(octets)
    if octets.startswith(b"@"):
        octets = _without_route(octets)
    address = text(octets)
    local, at, host = octets.rpartition(b"@")
    if at and not host.isascii():
        domain_utf8(host)
        host = b"x"
    mailbox(local.translate(_HIGH_AS_X) + at + host)  # the rules of RFC 5321, all of which are about ASCII
    return address


def domain_utf8(octets: bytes) -> str:
    """A domain name with U-labels (RFC 5890 2.3.2.1): it is one for its ASCII, and its A-labels are one."""
    name = text(octets)
    domain(_BEYOND.sub("x", name).encode("ascii"))
    try:
        ascii_form = a_labels(name).encode("ascii")
    except ValueError:
        raise Malformed("path", "bad domain name") from None
    domain(ascii_form)
    return name


def text(octets: bytes) -> str:
    """Well-formed UTF-8 without controls and the like."""
    try:
        found = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("path", "not UTF-8") from None
    if UNFIT.search(found):
        raise Malformed("path", "characters that no address has")
    return found


def domain(octets: bytes) -> str:
    """A domain name: letters, digits and inner hyphens between single dots."""
    if (
        not octets
        or len(octets) > MAX_DOMAIN
        or octets.translate(None, _LDH_DOT)
        or octets[0] in b".-"
        or octets[-1] in b".-"
        or b".." in octets
        or b".-" in octets
        or b"-." in octets
        or (len(octets) > MAX_LABEL and max(map(len, octets.split(b"."))) > MAX_LABEL)
    ):
        raise Malformed("path", "bad domain name")
    return octets.decode("ascii")


def literal(octets: bytes) -> str:
    """An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`, as sent; tags other than IPv6 are unknown to us."""
    if not octets.endswith(b"]"):
        raise Malformed("path", "an address literal ends with ]")
    try:
        inner = octets[1:-1].decode("ascii")
        if inner[:5].upper() == "IPV6:":
            if "%" in inner:
                raise Malformed("path", "bad address literal")
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        raise Malformed("path", "bad address literal") from None
    return octets.decode("ascii")


def client_name(octets: bytes) -> str:
    """What a client may call itself in HELO and EHLO: a name or an address literal.

    Wider than the domain grammar where machines are named by their owners (underscores, a bare IPv4 address, a final
    dot): a false name is no reason to refuse mail (RFC 5321 4.1.4), but one that could end a comment, open a header
    line or carry a second word is.
    """
    if octets.startswith(b"["):
        try:
            return literal(octets)
        except Malformed:
            raise Malformed("name", "bad address literal") from None
    if not octets or len(octets) > MAX_DOMAIN or octets.translate(None, _CLIENT_NAME):
        raise Malformed("name", "give the name of your machine")
    return octets.decode("ascii")


def parameters(octets: bytes) -> dict[str, str]:
    """` KEYWORD=value KEYWORD` behind a path -> {"KEYWORD": "value", ...}; no value is ""; keywords in capitals.

    A value may go beyond ASCII (RFC 6531 3.3); whether it may here is for the caller, who knows the transaction.
    """
    if not octets:
        return {}
    found: dict[str, str] = {}
    for token in octets.split(b" "):
        if not token:
            continue
        keyword, equals, value = token.partition(b"=")
        if not keyword or keyword.translate(None, _KEYWORD) or keyword[0] == 0x2D:
            raise Malformed("parameter", "a parameter is KEYWORD or KEYWORD=value")
        if equals and (not value or value.translate(None, _VALUE)):
            if not value or value.translate(None, _VALUE_UTF8):
                raise Malformed("parameter", "bad parameter value")
            text(value)
        name = keyword.upper().decode("ascii")
        if name in found:
            raise Malformed("parameter", f"{name} was given twice")
        found[name] = value.decode("utf-8")
    return found


def number(text: str, digits: int) -> int:
    """A decimal number of at most `digits` digits, so that none can be made large enough to cost anything."""
    if not 1 <= len(text) <= digits or not text.isascii() or not text.isdigit():
        raise Malformed("parameter", f"a number of 1 to {digits} digits is due")
    return int(text)


def xtext(text: str, *, utf8: bool = False) -> str:
    """Decode xtext once (RFC 3461 4): "+41" is "A". What comes out is checked again: printable ASCII alone, or, with
    `utf8`, what is visible of Unicode too."""
    if not text.isascii():
        raise Malformed("parameter", "bad xtext")
    pieces = text.encode("ascii").split(b"+")
    out = [pieces[0]]
    for piece in pieces[1:]:
        if len(piece) < 2 or piece[:2].translate(None, _UPPER_HEX):
            raise Malformed("parameter", "bad xtext")
        out += (bytes((int(piece[:2], 16),)), piece[2:])
    if any(piece.translate(None, _XCHAR) for piece in (pieces[0], *(piece[2:] for piece in pieces[1:]))):
        raise Malformed("parameter", "bad xtext")
    plain = b"".join(out)
    try:
        told = plain.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        told = "\0"
    if UNFIT.search(told):
        raise Malformed("parameter", "xtext hides octets that are not printable")
    return told


def _quoted_end(octets: bytes, quote: int) -> int:
    """The offset behind the closing quote of the string that opens at `quote` (RFC 5321 4.1.2 Quoted-string)."""
    at = quote + 1
    size = len(octets)
    while at < size:
        octet = octets[at]
        if octet == 0x22:
            return at + 1
        if octet == 0x5C:
            at += 1
        at += 1
    raise Malformed("path", "a quote is never closed")


def _without_route(octets: bytes) -> bytes:
    """`@one,@two:local@domain` -> `local@domain`."""
    route, colon, rest = octets.partition(b":")
    if not colon:
        raise Malformed("path", "a source route ends with a colon")
    for hop in route.split(b","):
        if not hop.startswith(b"@"):
            raise Malformed("path", "a source route is @domain,@domain:")
        if hop.startswith(b"@["):
            literal(hop[1:])
        else:
            domain(hop[1:])
    return rest
