"""The notices we write: a bounce when recipients have failed or expired, one notice when they are late. Pure.

A multipart/report (RFC 6522) of a text for people, message/delivery-status (RFC 3464) for machines, and the header of
the original. From the null sender, `Auto-Submitted: auto-replied` (RFC 3834), so nothing answers it.

Whatever a peer or a client said stands in it: reply texts, host names, addresses, header lines. Each value is one
line of visible ASCII, cut to a length, before it is written; nobody outside can end a field, add one, or close a part
(the boundary is made of our own fresh id). The octets of the whole are bounded by MAX_HEAD and, for each recipient,
some 1.5 KB; the notice is 7-bit, so any next hop can take it.
"""

from collections.abc import Sequence
from email.utils import formatdate
from typing import Literal, NamedTuple

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.headers import header_end
from fastrelay.mail.reply import Reply

MAX_HEAD = 64 * 1024  # octets of the original's header section sent back; Postfix bounce_size_limit is 50,000 for all
MAX_FULL = 64 * 1024  # the whole original is sent back (`return = "full"`) when it is no larger
_TEXT = 512  # characters of a reply: mail.state.LAST_REPLY_LIMIT, and RFC 5321 4.5.3.1.5 allows 512 a line
_TEXT_MANY = 128  # the same in a notice about more than MANY recipients
_MANY = 50
_LINE = 900  # octets of an original header line; RFC 5322 2.1.1 allows 998


class Ended(NamedTuple):
    """One recipient of a notice. reply: the last word, the peer's or ours; host: who said it, "" = we.

    expired: it failed because time ran out, and `reply` is only the last of many.
    """

    recipient: Recipient
    reply: Reply
    host: str = ""
    expired: bool = False


class Notice(NamedTuple):
    """What all notices about one message share.

    ident, envelope: of the original. hostname: ours. fresh: the id of the notice itself. now: wall seconds.
    content: "headers" | "full" | "nothing" of the original to send back; head: its octets, as many as are at hand.
    """

    ident: bytes
    envelope: Envelope
    hostname: str
    fresh: bytes
    now: float
    head: bytes = b""
    content: Literal["headers", "full", "nothing"] = "headers"


def wants(recipient: Recipient, event: Literal["FAILURE", "DELAY"]) -> bool:
    """Whether the sender asked to be told (RFC 3461 4.1): not saying anything means both."""
    return not recipient.notify or event in recipient.notify.upper().split(",")


def bounce(notice: Notice, ended: Sequence[Ended]) -> tuple[Envelope, bytes]:
    """The notice that these recipients will not get the message."""
    words = [
        f"This is the mail relay at {_line(notice.hostname)}.",
        "",
        "Your message could not be delivered to the recipients below. It will not be",
        "tried again. What the last server said stands beneath each address.",
    ]
    return _report(notice, ended, "Undelivered mail returned to sender", words, "failed", 0.0)


def delayed(notice: Notice, late: Sequence[Ended], until: float) -> tuple[Envelope, bytes]:
    """The notice that these recipients have not got it yet; it is tried until `until` (wall seconds)."""
    words = [
        f"This is the mail relay at {_line(notice.hostname)}.",
        "",
        "Your message has not yet been delivered to the recipients below. You need not",
        f"send it again: it will be tried until {formatdate(until)}.",
    ]
    return _report(notice, late, "Delayed mail (still being tried)", words, "delayed", until)


def _report(
    notice: Notice, ended: Sequence[Ended], subject: str, words: list[str], action: str, until: float
) -> tuple[Envelope, bytes]:
    original = notice.envelope
    host = _line(notice.hostname)
    mark = f"={notice.fresh.hex()}="  # "=" stands in no quoted-printable or base64 body by chance; the id is ours alone
    limit = _TEXT if len(ended) <= _MANY else _TEXT_MANY
    out = [
        f"From: Mail relay <MAILER-DAEMON@{host}>",
        f"To: <{_line(original.sender)}>",
        f"Subject: {subject}",
        f"Date: {formatdate(notice.now)}",
        f"Message-ID: <{notice.fresh.hex()}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{mark}"',
        "",
        "This is a delivery status notice in MIME format.",
        "",
        f"--{mark}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *words,
        "",
    ]
    for one in ended[:_MANY]:
        out += [f"<{_line(one.recipient.address)}>:", *_wrapped(_said(one, limit)), ""]
    if len(ended) > _MANY:
        out += [f"and {len(ended) - _MANY} more, listed in the next part.", ""]
    out += [f"--{mark}", "Content-Type: message/delivery-status", "", f"Reporting-MTA: dns; {host}"]
    if original.envid:
        out.append(f"Original-Envelope-Id: {_line(original.envid)}")
    out += [f"X-Fastrelay-Queue-ID: {notice.ident.hex()}", f"Arrival-Date: {formatdate(original.created)}"]
    for one in ended:
        out += _fields(one, action, limit, notice.now, until)
    out += ["", *_original(notice, mark), f"--{mark}--", ""]
    octets = "\r\n".join(out).encode("ascii", "replace")
    return Envelope("", (Recipient(original.sender, notify="NEVER"),), notice.now, size=len(octets)), octets


def _fields(one: Ended, action: str, limit: int, now: float, until: float) -> list[str]:
    """The fields of one recipient (RFC 3464 2.3), with the empty line before them."""
    out = [""]
    if one.recipient.orcpt:
        kind, semicolon, address = one.recipient.orcpt.partition(";")
        out.append(f"Original-Recipient: {_line(kind if semicolon else 'rfc822')}; {_line(address or kind)}")
    out += [
        f"Final-Recipient: rfc822; {_line(one.recipient.address)}",
        f"Action: {action}",
        f"Status: {status_of(one, action)}",
    ]
    if one.host:
        out.append(f"Remote-MTA: dns; {_line(one.host)}")
    if one.reply.code:
        out.append(f"Diagnostic-Code: smtp; {_line(str(one.reply), limit)}")
    out.append(f"Last-Attempt-Date: {formatdate(now)}")
    if until:
        out.append(f"Will-Retry-Until: {formatdate(until)}")
    return out


def status_of(one: Ended, action: str) -> str:
    """The enhanced code (RFC 3463) a machine reads: its class always agrees with `action`."""
    wanted = "5" if action == "failed" else "4"
    if one.expired:
        return f"{wanted}.4.7"  # delivery time expired
    parts = one.reply.enhanced.split(".")
    if len(parts) == 3 and all(part.isdecimal() and part.isascii() and len(part) <= 3 for part in parts):
        return f"{wanted}.{int(parts[1])}.{int(parts[2])}"
    return f"{wanted}.0.0"


def _said(one: Ended, limit: int) -> str:
    who = f"{_line(one.host)} said: " if one.host else ""
    said = _line(str(one.reply) if one.reply.code else one.reply.text, limit)
    if one.expired:
        return f"delivery time expired; last: {who}{said}"
    return f"{who}{said}"


def _original(notice: Notice, mark: str) -> list[str]:
    """The last part: the original, or its header, or nothing."""
    if notice.content == "nothing" or not notice.head:
        return []
    octets = notice.head
    asked = notice.envelope.ret.upper()
    if notice.content == "full" and asked != "HDRS" and _fits(octets, notice.envelope.size):
        return [f"--{mark}", "Content-Type: message/rfc822", "", octets.decode("ascii").removesuffix("\r\n")]
    head = octets[: header_end(octets)][:MAX_HEAD]
    lines = [_line(line.decode("ascii", "replace"), _LINE, tab=True) for line in head.split(b"\r\n")]
    return [f"--{mark}", "Content-Type: text/rfc822-headers", "", *[line for line in lines if line.strip()], ""]


def _fits(octets: bytes, size: int) -> bool:
    """The whole message is at hand, small, 7-bit, and of lines that any server takes."""
    return (
        size == len(octets) <= MAX_FULL
        and octets.isascii()
        and b"\0" not in octets
        and octets.endswith(b"\r\n")
        and max(map(len, octets.split(b"\r\n"))) <= 998
    )


_PLAIN = {**dict.fromkeys(range(32), "?"), 127: "?"}
_PLAIN_BUT_TAB = {n: c for n, c in _PLAIN.items() if n != 9}


def _line(text: str, limit: int = _TEXT, *, tab: bool = False) -> str:
    """`text` as one line of visible ASCII, at most `limit` characters: it can stand in any field."""
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return text.translate(_PLAIN_BUT_TAB if tab else _PLAIN).encode("ascii", "replace").decode("ascii")


def _wrapped(text: str, width: int = 76) -> list[str]:
    """`text` in lines of about `width`, indented, for people."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and len(line) + len(word) >= width:
            lines.append(f"    {line}")
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, f"    {line}"]
