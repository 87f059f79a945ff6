"""Mail addresses after the grammar: `str`, local part as sent, "" for the null sender.

The wire grammar (smtp/grammar.py) is the only door: whatever carries one of these strings may trust that it holds no
CR, LF, NUL or control character, nothing that ends a line or turns its direction (UNFIT), and has at most 64 octets
before the last "@" and 255 after it (RFC 5321 4.5.3.1). Beyond ASCII is only what came by SMTPUTF8 (RFC 6531).
"""

import re
import unicodedata

# Controls (C0, DEL, C1), line and paragraph separators, which str.splitlines and others take for the end of a line,
# what turns the direction of a text (no address needs it, and a terminal or a page shows another one), and what is no
# character. RFC 6531 3.3 allows all of them beyond ASCII; RFC 5198 2 and RFC 8264 say why nobody should.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff]")

_KEPT_BY_2008 = frozenset("\u00df\u03c2\u200c\u200d")  # sharp s, final sigma, the joiners: RFC 5894 7.2
_MAX_LABEL = 63


def domain_of(address: str) -> str:
    """The recipient domain as mail is grouped by it: case-folded, A-labels, no trailing dot; literals keep brackets.

    A name beyond ASCII becomes A-labels for DNS; what cannot be encoded is returned lower-cased and fails in routing
    with 5.1.2 rather than here.
    """
    domain = address.rpartition("@")[2]
    if domain.isascii():
        return domain.lower().rstrip(".")
    try:
        return a_labels(domain.rstrip("."))
    except ValueError:
        return domain.lower()


def a_labels(domain: str) -> str:
    """A domain name beyond ASCII as DNS knows it (RFC 5890), lower-cased. ValueError for what is none.

    The library's codec is IDNA2003, which replaces more than IDNA2008 does: a sharp s by ss, a wide letter by a narrow
    one, a joiner by nothing. That is another name, which may belong to somebody else. So a label the codec changes by
    more than its case and normal form is refused, and the four characters that IDNA2008 keeps are encoded here.
    """
    return ".".join(_a_label(label) for label in domain.split("."))


def _a_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    wanted = unicodedata.normalize("NFC", "".join(one.lower() for one in label))
    others = "".join("x" if one in _KEPT_BY_2008 else one for one in wanted)
    if others.encode("idna").decode("idna") != others:
        raise ValueError("not a label of IDNA2008")
    encoded = "xn--" + wanted.encode("punycode").decode("ascii")
    if len(encoded) > _MAX_LABEL:
        raise ValueError("label too long")
    return encoded


def is_literal(domain: str) -> bool:
    """True for `[192.0.2.1]` and `[IPv6:2001:db8::1]` (RFC 5321 4.1.3)."""
    return domain.startswith("[")
