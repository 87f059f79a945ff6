"""XCLIENT: a trusted proxy or filter says who its client is (Postfix XCLIENT_README).

    XCLIENT NAME=mail.example ADDR=IPV6:2001:db8::1 PORT=4711 HELO=mail.example PROTO=ESMTP LOGIN=someone

Values are xtext; [UNAVAILABLE] and [TEMPUNAVAIL] stand for what the proxy does not know. The answer is a new greeting:
the dialogue begins again, in the TLS it is in, and the client that is named says its own EHLO. So HELO and PROTO are
checked and passed over, as that EHLO replaces them; DESTADDR and DESTPORT name our own end, which nothing asks for.
"""

from ipaddress import IPv4Address, IPv6Address

from fastrelay.mail.reply import reply
from fastrelay.smtp import grammar, words
from fastrelay.smtp.dialogue import Dialogue
from fastrelay.smtp.events import Event, XClient
from fastrelay.smtp.extensions import Extension
from fastrelay.smtp.grammar import Malformed
from fastrelay.smtp.phases import TRANSITIONS, Step

_ON_XCLIENT = TRANSITIONS[Step.XCLIENT]
_UNKNOWN = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_MAX_LOGIN = 255  # octets; it stands in event lines


def command(dialogue: Dialogue, argument: bytes) -> Event | None:
    """The verb. Answered here; the event is for the owner, whose client is another from now on."""
    if dialogue.lines.pending:
        return dialogue.out_of_step()
    terms = dialogue.terms
    if Extension.XCLIENT not in terms.offered:
        return dialogue.error(words.NOT_HERE)
    if dialogue.state not in _ON_XCLIENT:
        return dialogue.out_of_order(Step.XCLIENT)
    try:
        event = attributes(argument)
    except Malformed as error:
        return dialogue.error(reply(501, "5.5.4", f"Syntax: {error}"))
    dialogue.forget()
    dialogue.state = _ON_XCLIENT[dialogue.state]
    dialogue.helo = ""
    dialogue.extended = False
    dialogue.user = event.login
    dialogue.out.append(terms.greeting)
    return event


def attributes(argument: bytes) -> XClient:
    """What is said of the client. Malformed names the attribute that is wrong."""
    given = grammar.parameters(b" " + argument.strip(b" "))
    if not argument.strip(b" "):
        raise Malformed("parameter", "an attribute is due")
    event = XClient()
    for name, value in given.items():
        reader = _READERS.get(name)
        if reader is None:
            raise Malformed("parameter", f"no attribute {name[:32]}")
        known = "" if value.upper() in _UNKNOWN else reader(grammar.xtext(value))
        if name in _KEPT:
            setattr(event, _KEPT[name], known)
    return event


def _name(text: str) -> str:
    return grammar.client_name(text.encode("ascii"))


def _address(text: str) -> str:
    try:
        if text[:5].upper() == "IPV6:":
            address = IPv6Address(text[5:])
            if address.scope_id is not None:
                raise ValueError
            return str(address.ipv4_mapped or address)
        return str(IPv4Address(text))
    except ValueError:
        raise Malformed("parameter", "ADDR is an IPv4 address, or an IPv6 address behind IPV6:") from None


def _port(text: str) -> str:
    if int(grammar.number(text, 5)) > 65535:
        raise Malformed("parameter", "a port is at most 65535")
    return text


def _protocol(text: str) -> str:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise Malformed("parameter", "PROTO is SMTP or ESMTP")
    return text


def _login(text: str) -> str:
    if not 0 < len(text) <= _MAX_LOGIN:
        raise Malformed("parameter", f"LOGIN has 1 to {_MAX_LOGIN} characters")
    return text


def _anything(text: str) -> str:
    return text


_READERS = {
    "NAME": _name,
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _protocol,
    "HELO": _anything,
    "LOGIN": _login,
    "DESTADDR": _address,
    "DESTPORT": _port,
}
_KEPT = {"NAME": "name", "ADDR": "address", "LOGIN": "login"}
