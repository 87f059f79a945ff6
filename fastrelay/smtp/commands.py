"""The arguments of commands as values. Pure: octets in; Mail, Rcpt, ..., or Unacceptable with the reply.

Parameters of extensions get their meaning here (RFC 5321 4.1.1.11: unknown ones are 555, bad ones 501).
"""

from fastrelay.mail.reply import Reply, reply
from fastrelay.smtp import dsn, grammar, words
from fastrelay.smtp.events import Expand, Mail, Rcpt
from fastrelay.smtp.extensions import MAIL_PARAMETERS, RCPT_PARAMETERS, Extension, unknown
from fastrelay.smtp.grammar import Malformed

POSTMASTER = "postmaster"  # the one recipient without a domain (RFC 5321 4.1.1.3), in any case
_SIZE_DIGITS = 20  # RFC 1870 3
_BODIES = ("7BIT", "8BITMIME")  # RFC 6152


class Unacceptable(ValueError):
    """The command cannot be taken as written; `answer` says so to the client."""

    def __init__(self, answer: Reply) -> None:
        super().__init__(str(answer))
        self.answer = answer


def mail(argument: bytes, offered: frozenset[Extension]) -> Mail:
    """`FROM:<path> parameters`."""
    size = 0
    body = "7BIT"
    ret = envid = ""
    try:
        between, rest = grammar.path(argument, b"FROM:")
        if not rest and argument.isascii():
            return Mail(grammar.mailbox(between) if between else "", 0, body)
        parameters = grammar.parameters(rest)
        smtputf8 = "SMTPUTF8" in parameters
        sender = (grammar.mailbox(between) if between.isascii() else grammar.mailbox_utf8(between)) if between else ""
        _only_known(parameters, MAIL_PARAMETERS, offered)
        if smtputf8 and parameters["SMTPUTF8"]:
            raise Malformed("parameter", "SMTPUTF8 has no value")
        if not (smtputf8 or argument.isascii()):
            raise Unacceptable(words.NEEDS_SMTPUTF8)
        if "SIZE" in parameters:
            size = grammar.number(parameters["SIZE"], _SIZE_DIGITS)
        if "BODY" in parameters:
            body = parameters["BODY"].upper()
            if body not in _BODIES:
                raise Malformed("parameter", "BODY is 7BIT or 8BITMIME")
        if "AUTH" in parameters:
            _submitter(parameters["AUTH"])
        if "RET" in parameters:
            ret = dsn.ret(parameters["RET"])
        if "ENVID" in parameters:
            envid = dsn.envid(parameters["ENVID"])
    except Malformed as error:
        raise Unacceptable(_said(error, "5.1.7")) from None
    return Mail(sender, size, body, ret, envid, smtputf8)


def _submitter(value: str) -> None:
    """AUTH= (RFC 4954 5): who sent it first, as the client says. It is looked at and goes no further: we trust no
    client to know, and then it counts as AUTH=<>."""
    name = grammar.xtext(value)
    if name != "<>":
        try:
            grammar.mailbox(name.encode("ascii"))
        except Malformed:
            raise Malformed("parameter", "AUTH is a mailbox in xtext, or <>") from None


def rcpt(argument: bytes, offered: frozenset[Extension], smtputf8: bool = False) -> Rcpt:
    """`TO:<path> parameters`. smtputf8: MAIL asked for it."""
    try:
        between, rest = grammar.path(argument, b"TO:")
        if between.lower() == b"postmaster":
            address = POSTMASTER
        else:
            address = grammar.mailbox(between) if between.isascii() else grammar.mailbox_utf8(between)
        if not (smtputf8 or argument.isascii()):
            raise Unacceptable(words.NEEDS_SMTPUTF8)
        if not rest:
            return Rcpt(address)
        parameters = grammar.parameters(rest)
        _only_known(parameters, RCPT_PARAMETERS, offered)
        notify = dsn.notify(parameters["NOTIFY"]) if "NOTIFY" in parameters else ""
        orcpt = dsn.orcpt(parameters["ORCPT"]) if "ORCPT" in parameters else ""
    except Malformed as error:
        raise Unacceptable(_said(error, "5.1.3")) from None
    return Rcpt(address, notify, orcpt)


def expand(argument: bytes, *, verify: bool) -> Expand:
    """The name behind EXPN or VRFY, which is any text (RFC 5321 4.1.1.6); SMTPUTF8 may follow (RFC 6531 3.7.4.2)."""
    name, space, last = argument.strip(b" ").rpartition(b" ")
    if not space or last.upper() != b"SMTPUTF8":
        if not argument.isascii():
            raise Unacceptable(words.NEEDS_SMTPUTF8)
        name = argument.strip(b" ")
    if name.startswith(b"<") and name.endswith(b">"):
        name = name[1:-1]
    return Expand(name.decode("utf-8"), verify)


def hello(argument: bytes) -> str:
    """The name behind HELO or EHLO."""
    try:
        return grammar.client_name(argument.rstrip(b" "))
    except Malformed as error:
        raise Unacceptable(_said(error, "5.5.4")) from None


def chunk(argument: bytes) -> tuple[int, bool]:
    """`size` or `size LAST` behind BDAT (RFC 3030 2): how many octets follow; does the message end with them?"""
    size, space, last = argument.rstrip(b" ").partition(b" ")
    try:
        if space and last.upper() != b"LAST":
            raise Malformed("parameter", "BDAT size or BDAT size LAST")
        return grammar.number(size.decode("ascii"), _SIZE_DIGITS), bool(space)
    except Malformed as error:
        raise Unacceptable(_said(error, "5.5.4")) from None


def _only_known(given: dict[str, str], table: dict[str, Extension], offered: frozenset[Extension]) -> None:
    strange = unknown(given, table, offered)
    if strange:
        raise Unacceptable(reply(555, "5.5.4", f"Parameter {strange[:32]} not recognised"))


def _said(error: Malformed, path_code: str) -> Reply:
    return reply(501, path_code if error.part == "path" else "5.5.4", f"Syntax: {error}")
