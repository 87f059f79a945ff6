"""Mail addresses after the grammar: `str`, local part as sent, "" for the null sender.

The wire grammar (smtp/grammar.py) is the only door: whatever carries one of these strings may trust that it holds no
CR, LF, NUL or control character, has at most 64 octets before the last "@" and 255 after it (RFC 5321 4.5.3.1).
"""


def domain_of(address: str) -> str:
    """The recipient domain as mail is grouped by it: case-folded, A-labels, no trailing dot; literals keep brackets.

    A name beyond ASCII becomes A-labels (RFC 5890) for DNS; what cannot be encoded is returned lower-cased and fails in
    routing with 5.1.2 rather than here.
    """
    domain = address.rpartition("@")[2]
    if domain.isascii():
        return domain.lower().rstrip(".")
    try:
        return domain.encode("idna").decode("ascii").lower().rstrip(".")
    except UnicodeError:
        return domain.lower()


def is_literal(domain: str) -> bool:
    """True for `[192.0.2.1]` and `[IPv6:2001:db8::1]` (RFC 5321 4.1.3)."""
    return domain.startswith("[")
