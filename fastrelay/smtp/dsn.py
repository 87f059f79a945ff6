r"""The parameters of delivery status notifications, on both sides of the relay (RFC 3461 4, RFC 6533 3). Pure.

What stands behind RET, ENVID, NOTIFY and ORCPT is checked to the letter as it comes in and kept as it was sent, for it
has to go on unchanged (RFC 3461 5.2.1: "identical", even in case); only a notice reads what it means. Values that pass
hold no space and no control character, encoded or not; beyond ASCII is only an ORCPT of type utf-8. One of type rfc822
may hide UTF-8 in its xtext: Postfix (3.7) writes so every recipient beyond ASCII (`rfc822;jos+C3+A9@b.example`).

    RET=FULL|HDRS  ENVID=xtext                               at most once each, behind MAIL
    NOTIFY=NEVER|SUCCESS,FAILURE,DELAY  ORCPT=type;xtext     behind RCPT; ORCPT=utf-8;jos\x{E9}@b.example (RFC 6533)

Limits are those of RFC 3461 5.4 and count what is on the wire. Errors: Malformed, in words for the 501.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from fastrelay.mail.address import UNFIT
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.smtp import grammar
from fastrelay.smtp.grammar import Malformed

MAX_ENVID = 100
MAX_ORCPT = 500

EVENTS = ("SUCCESS", "FAILURE", "DELAY")
NEVER = "NEVER"
UNSAID = frozenset({"FAILURE", "DELAY"})  # what a client that gives no NOTIFY is told of (RFC 3461 4.1)

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~-]+")  # a parameter holds no "="
_HEXPOINT = (
    r"(?:0[1-9]|1[0-9]|20|2B|3D|5C|7F|[89A-F][0-9A-F]|[1-9A-F][0-9A-F]{2}"
    r"|[1-9A-CEF][0-9A-F]{3}|D[0-7][0-9A-F]{2}|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})"
)
_EMBEDDED = re.compile(rf"\\x\{{({_HEXPOINT})\}}")
_UTF8_ADDRESS = re.compile(rf"(?:[^\x00-\x20+=\\\x7f]|\\x\{{{_HEXPOINT}\}})+")


# -- what comes in ------------------------------------------------------------------------------------------------


def ret(text: str) -> str:
    """RET in capitals."""
    word = text.upper()
    if word not in ("FULL", "HDRS"):
        raise Malformed("parameter", "RET is FULL or HDRS")
    return word


def envid(text: str) -> str:
    """ENVID as it was sent."""
    if len(text) > MAX_ENVID:
        raise Malformed("parameter", f"ENVID has at most {MAX_ENVID} characters")
    grammar.xtext(text)
    return text


def notify(text: str) -> str:
    """NOTIFY in capitals, its words in the order they were sent."""
    value = text.upper()
    words = value.split(",")
    if value != NEVER and (len(set(words)) < len(words) or not set(words).issubset(EVENTS)):
        raise Malformed("parameter", "NOTIFY is NEVER, or of SUCCESS, FAILURE, DELAY each once, with commas")
    return value


def orcpt(text: str) -> str:
    """ORCPT as it was sent."""
    if len(_folded(text)) > MAX_ORCPT:  # so that it can go on to a peer without SMTPUTF8
        raise Malformed("parameter", f"ORCPT has at most {MAX_ORCPT} characters")
    kind, _, address = text.partition(";")
    if not address or not _ATOM.fullmatch(kind):
        raise Malformed("parameter", "ORCPT is type;address")
    if kind.lower() != "utf-8":
        grammar.xtext(address, utf8=True)
    elif not _UTF8_ADDRESS.fullmatch(address):
        raise Malformed("parameter", "bad utf-8 address")
    elif UNFIT.search(_unfolded(address)):
        raise Malformed("parameter", "the utf-8 address hides characters that are not printable")
    return text


def joined(one: Recipient, other: Recipient) -> Recipient:
    """The same recipient named twice: told of whatever either asked for; the first ORCPT stays.

    RFC 3461 does not say; so nobody who asked to be told is left without word, and nobody gets the message twice.
    """
    notices = one.notify
    if one.notify != other.notify:
        both = _wishes(one.notify) | _wishes(other.notify)
        notices = ",".join(event for event in EVENTS if event in both)
    return Recipient(one.address, notices, one.orcpt or other.orcpt)


def expand(alias: Recipient, addresses: Iterable[str]) -> tuple[Recipient, ...]:
    """The recipients a name that stands for several is replaced by (RFC 3461 5.2.7.3).

    Who wants to hear of a success hears that the name was expanded, and of no further one; of failures and delays of
    each. All of them bear the name the sender wrote, as ORCPT.
    """
    wishes = alias.notify
    if "SUCCESS" in wishes:
        wishes = ",".join(word for word in wishes.split(",") if word != "SUCCESS") or NEVER
    original = alias.orcpt or typed(alias.address)
    if len(original) > MAX_ORCPT:
        original = ""
    return tuple(Recipient(address, wishes, original) for address in addresses)


# -- what it means ------------------------------------------------------------------------------------------------


def wants(recipient: Recipient, event: Literal["SUCCESS", "FAILURE", "DELAY"]) -> bool:
    """Whether the sender asked to be told (RFC 3461 4.1): not saying anything means failures and delays."""
    return event in _wishes(recipient.notify)


def _wishes(notify: str) -> frozenset[str]:
    if not notify:
        return UNSAID
    return frozenset(notify.upper().split(",")) - {NEVER}


def original(orcpt: str) -> tuple[str, str]:
    """(type, address) behind an ORCPT; the address as the sender knows it, of type utf-8 where it goes beyond ASCII."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":
        return kind, _unfolded(address)
    address = plain(address)
    return kind if address.isascii() or kind.lower() != "rfc822" else "utf-8", address


def plain(text: str) -> str:
    """What xtext stands for. A notice must not fail for it: what is no xtext stands for itself."""
    try:
        return grammar.xtext(text, utf8=True)
    except Malformed:
        return text


def _unfolded(address: str) -> str:
    return _EMBEDDED.sub(lambda found: chr(int(found[1], 16)), address)


# -- what goes out ------------------------------------------------------------------------------------------------


def xtext(text: str) -> str:
    """Printable ASCII as xtext (RFC 3461 4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def utf8_xtext(address: str) -> str:
    """An address as utf-8-addr-xtext, the form that is ASCII (RFC 6533 3)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):02X}}}" for c in address)


def typed(address: str) -> str:
    """A mail address as an ORCPT, in ASCII."""
    return f"rfc822;{xtext(address)}" if address.isascii() else f"utf-8;{utf8_xtext(address)}"


class Asked:
    """What a peer that offers DSN is told of one transaction: `mail` behind MAIL, `rcpt` behind each RCPT; words with
    the space before them. What the sender did not give is not added (RFC 3461 5.2.1)."""

    __slots__ = ("mail", "rcpt")

    def __init__(self, envelope: Envelope, recipients: Sequence[Recipient], *, smtputf8: bool) -> None:
        """smtputf8: the transaction goes by RFC 6531, so ORCPT may go beyond ASCII as it came."""
        self.mail = (f" RET={envelope.ret}" if envelope.ret else "") + (
            f" ENVID={envelope.envid}" if envelope.envid else ""
        )
        self.rcpt = [_behind_rcpt(one, smtputf8) for one in recipients]


def _behind_rcpt(one: Recipient, smtputf8: bool) -> str:
    words = f" NOTIFY={one.notify}" if one.notify else ""
    if one.orcpt:
        words += f" ORCPT={one.orcpt if smtputf8 or one.orcpt.isascii() else _folded(one.orcpt)}"
    return words


def _folded(orcpt: str) -> str:
    """The same address in ASCII; escapes it has already stay."""
    return "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in orcpt)
