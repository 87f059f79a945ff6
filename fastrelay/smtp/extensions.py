"""The service extensions a server may offer, as one table: keyword, and the parameters each adds to MAIL and RCPT.

A parameter is valid only while its extension is offered (RFC 5321 4.1.1.11: 555 else). An extension that arrives later
is a row here, its parameters' meaning in server.py, and an entry in what the listener offers.
"""

import enum
from collections.abc import Iterable


class Extension(enum.Enum):
    """Keyword in the EHLO reply. The order here is the order there."""

    PIPELINING = "PIPELINING"  # RFC 2920
    SIZE = "SIZE"  # RFC 1870
    EIGHTBITMIME = "8BITMIME"  # RFC 6152
    ENHANCEDSTATUSCODES = "ENHANCEDSTATUSCODES"  # RFC 2034
    CHUNKING = "CHUNKING"  # RFC 3030, without BINARYMIME: what comes in goes on by DATA
    DSN = "DSN"  # RFC 3461
    STARTTLS = "STARTTLS"  # RFC 3207


BASIC = frozenset(
    {
        Extension.PIPELINING,
        Extension.SIZE,
        Extension.EIGHTBITMIME,
        Extension.ENHANCEDSTATUSCODES,
        Extension.CHUNKING,
        Extension.DSN,
    },
)

MAIL_PARAMETERS: dict[str, Extension] = {
    "SIZE": Extension.SIZE,
    "BODY": Extension.EIGHTBITMIME,
    "RET": Extension.DSN,
    "ENVID": Extension.DSN,
}
RCPT_PARAMETERS: dict[str, Extension] = {"NOTIFY": Extension.DSN, "ORCPT": Extension.DSN}


ALWAYS = "HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"
VERBS: dict[Extension, str] = {Extension.STARTTLS: "STARTTLS"}  # what each adds to the commands


def vocabulary(offered: Iterable[Extension]) -> str:
    """The commands there are, for HELP."""
    known = frozenset(offered)
    return " ".join((ALWAYS, *(verb for extension, verb in VERBS.items() if extension in known)))


def keywords(offered: Iterable[Extension], max_size: int) -> list[str]:
    """The lines of an EHLO reply below the greeting."""
    known = frozenset(offered)
    return [
        f"SIZE {max_size}" if extension is Extension.SIZE else extension.value
        for extension in Extension
        if extension in known
    ]


def unknown(given: Iterable[str], table: dict[str, Extension], offered: frozenset[Extension]) -> str:
    """The first parameter that no offered extension brings; "" when all are known."""
    for name in given:
        if table.get(name) not in offered:
            return name
    return ""
