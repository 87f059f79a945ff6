"""The service extensions a server may offer, as one table: keyword, and the parameters each adds to MAIL and RCPT.

A parameter is valid only while its extension is offered (RFC 5321 4.1.1.11: 555 else). An extension that arrives later
is a row here, its parameters' meaning in commands.py, and an entry in what the listener offers.
"""

import enum
from collections.abc import Iterable

from fastrelay.smtp import sasl


class Extension(enum.Enum):
    """Keyword in the EHLO reply. The order here is the order there."""

    PIPELINING = "PIPELINING"  # RFC 2920
    SIZE = "SIZE"  # RFC 1870
    EIGHTBITMIME = "8BITMIME"  # RFC 6152
    ENHANCEDSTATUSCODES = "ENHANCEDSTATUSCODES"  # RFC 2034
    CHUNKING = "CHUNKING"  # RFC 3030, without BINARYMIME: what comes in goes on by DATA
    DSN = "DSN"  # RFC 3461
    SMTPUTF8 = "SMTPUTF8"  # RFC 6531
    LIMITS = "LIMITS"  # RFC 9422: RCPTMAX; we have no MAILMAX, a connection may bring as many messages as it likes
    HELP = "HELP"  # RFC 5321 4.1.1.1: commands that 4.5.1 does not require stand in the EHLO reply
    EXPN = "EXPN"  # RFC 5321 3.5.2: where it is supported, and nowhere else (4.2.4)
    STARTTLS = "STARTTLS"  # RFC 3207
    AUTH = "AUTH"  # RFC 4954
    XCLIENT = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"  # Postfix XCLIENT_README: to trusted peers


BASIC = frozenset(
    {
        Extension.PIPELINING,
        Extension.SIZE,
        Extension.EIGHTBITMIME,
        Extension.ENHANCEDSTATUSCODES,
        Extension.CHUNKING,
        Extension.DSN,
        Extension.SMTPUTF8,
        Extension.LIMITS,
        Extension.HELP,
    },
)

MAIL_PARAMETERS: dict[str, Extension] = {
    "SIZE": Extension.SIZE,
    "BODY": Extension.EIGHTBITMIME,
    "RET": Extension.DSN,
    "ENVID": Extension.DSN,
    "SMTPUTF8": Extension.SMTPUTF8,
    "AUTH": Extension.AUTH,
}
RCPT_PARAMETERS: dict[str, Extension] = {"NOTIFY": Extension.DSN, "ORCPT": Extension.DSN}


ALWAYS = "HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT"
VERBS: dict[Extension, str] = {  # what each adds to the commands
    Extension.EXPN: "EXPN",
    Extension.CHUNKING: "BDAT",
    Extension.STARTTLS: "STARTTLS",
    Extension.AUTH: "AUTH",
    Extension.XCLIENT: "XCLIENT",
}


def vocabulary(offered: Iterable[Extension]) -> str:
    """The commands there are, for HELP."""
    known = frozenset(offered)
    return " ".join((ALWAYS, *(verb for extension, verb in VERBS.items() if extension in known)))


def keywords(offered: Iterable[Extension], max_size: int, max_recipients: int) -> list[str]:
    """The lines of an EHLO reply below the greeting."""
    known = frozenset(offered)
    with_values = {
        Extension.SIZE: f"SIZE {max_size}",
        Extension.LIMITS: f"LIMITS RCPTMAX={max_recipients}",
        Extension.AUTH: " ".join(("AUTH", *sasl.OFFERED)),
    }
    return [with_values.get(extension, extension.value) for extension in Extension if extension in known]


def unknown(given: Iterable[str], table: dict[str, Extension], offered: frozenset[Extension]) -> str:
    """The first parameter that no offered extension brings; "" when all are known."""
    for name in given:
        if table.get(name) not in offered:
            return name
    return ""
