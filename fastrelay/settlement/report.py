"""The notices we write: what became of recipients, that they are late, or that a name stands for several. Pure.

A multipart/report (RFC 6522) of a text for people, message/delivery-status (status.py) for machines, and the header of
the original. From the null sender, `Auto-Submitted: auto-replied` (RFC 3834), so nothing answers it.

A notice is 7-bit, so that any next hop can take it: what is beyond ASCII in the text or in the original's header is
quoted-printable, in the status as RFC 6533 folds it. Only where the sender's own address is beyond ASCII, and its mail
needs SMTPUTF8 in any case, the notice is of that kind as well (message/global-delivery-status and -headers, RFC 6533).
How much of the original goes back is for its sender to say (RET, RFC 3461 4.3), and for `bounce.return` where it did
not; the whole only with a failure, and up to MAX_FULL.

Nobody outside can end a field, add one, or close a part: each value is one line (status.line), and the boundary is made
of our own fresh id. The octets of the whole are bounded by MAX_HEAD and, for each recipient, some 3 KB.
"""

import quopri
import re
from collections.abc import Sequence
from email.utils import formatdate

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.headers import header_end
from fastrelay.settlement.status import (
    MANY,
    TEXT,
    TEXT_MANY,
    Action,
    Ended,
    Notice,
    about_message,
    about_recipients,
    line,
)

MAX_HEAD = 64 * 1024  # octets of the original's header section sent back; Postfix bounce_size_limit is 50,000 for all
MAX_FULL = 64 * 1024  # the whole original is sent back (RET=FULL, `return = "full"`) when it is no larger
_LINE = 900  # octets of an original header line; RFC 5322 2.1.1 allows 998
_MESSAGE_ID = re.compile(rb"(?:\A|\r\n)message-id[ \t]*:[ \t]*(<[!-;=?-~]{1,250}>)[ \t]*(?=\r\n)", re.IGNORECASE)

_SUBJECTS = (  # of a notice that tells of several actions, the first of these
    (Action.FAILED, "Undelivered mail returned to sender"),
    (Action.DELAYED, "Delayed mail (still being tried)"),
    (Action.RELAYED, "Mail relayed"),
    (Action.DELIVERED, "Mail delivered"),
    (Action.EXPANDED, "Mail sent on to several recipients"),
)
_WORDS = {
    Action.FAILED: (
        "Your message could not be delivered to the recipients below. It will not be",
        "tried again. The last word on each stands beneath its address.",
    ),
    Action.DELAYED: (
        "Your message has not yet been delivered to the recipients below. You need not",
        "send it again: it will be tried until {until}.",
    ),
    Action.RELAYED: (
        "Your message was handed on for the recipients below, to a server that does not",
        "tell of deliveries. You may hear no more of it.",
    ),
    Action.DELIVERED: ("Your message was delivered to the recipients below.",),
    Action.EXPANDED: (
        "The names below stand for several recipients, and your message was sent on to",
        "each of them. No notice tells of whom it reaches.",
    ),
}


def ended(notice: Notice, rows: Sequence[Ended]) -> tuple[Envelope, bytes]:
    """What became of these recipients: they will not get the message, or have it."""
    return _report(notice, rows, 0.0)


def delayed(notice: Notice, rows: Sequence[Ended], until: float) -> tuple[Envelope, bytes]:
    """These recipients have not got it yet; it is tried until `until` (wall seconds)."""
    return _report(notice, [one._replace(action=Action.DELAYED) for one in rows], until)


def expanded(notice: Notice, rows: Sequence[Ended]) -> tuple[Envelope, bytes]:
    """These names were replaced by others when the message came in (RFC 3461 5.2.7.3)."""
    return _report(notice, [one._replace(action=Action.EXPANDED) for one in rows], 0.0)


def _report(notice: Notice, rows: Sequence[Ended], until: float) -> tuple[Envelope, bytes]:
    original = notice.envelope
    utf8 = not original.sender.isascii()
    host = line(notice.hostname)
    mark = f"={notice.fresh.hex()}="  # "=" stands in no quoted-printable or base64 body by chance; the id is ours alone
    actions = {one.action for one in rows}
    kind, eight = ("global-delivery-status", ["Content-Transfer-Encoding: 8bit"]) if utf8 else ("delivery-status", [])
    out = [
        f"From: Mail relay <MAILER-DAEMON@{host}>",
        f"To: <{line(original.sender, utf8=utf8)}>",
        f"Subject: {next(subject for action, subject in _SUBJECTS if action in actions)}",
        f"Date: {formatdate(notice.now)}",
        f"Message-ID: <{notice.fresh.hex()}@{host}>",
        *_references(notice.head),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind}; boundary="{mark}"',
        *eight,
        "",
        "This is a delivery status notice in MIME format.",
        "",
        f"--{mark}",
        *_for_people(notice, rows, until, utf8=utf8),
        f"--{mark}",
        f"Content-Type: message/{kind}",
        *eight,
        "",
        *about_message(notice),
        *about_recipients(rows, notice.now, until, utf8=utf8),
        "",
        *_original(notice, mark, failed=Action.FAILED in actions, utf8=utf8),
        f"--{mark}--",
        "",
    ]
    octets = "\r\n".join(out).encode("utf-8", "surrogateescape")
    letter = Envelope(
        "",
        (Recipient(original.sender, notify="NEVER"),),
        notice.now,
        size=len(octets),
        body="8BITMIME" if utf8 else "7BIT",
        smtputf8=utf8,
    )
    return letter, octets


def _references(head: bytes) -> list[str]:
    """The original by its Message-ID, so that the notice stands beside it (RFC 3834 3.1.6)."""
    found = _MESSAGE_ID.search(head, 0, header_end(head))
    if found is None:
        return []
    name = found[1].decode("ascii")
    return [f"In-Reply-To: {name}", f"References: {name}"]


# -- the text -----------------------------------------------------------------------------------------------------


def _for_people(notice: Notice, rows: Sequence[Ended], until: float, *, utf8: bool) -> list[str]:
    """The first part: its header, an empty line, its lines."""
    limit = TEXT if len(rows) <= MANY else TEXT_MANY
    text = [f"This is the mail relay at {line(notice.hostname)}.", ""]
    for action in Action:
        those = [one for one in rows if one.action is action]
        if not those:
            continue
        text += [*(words.format(until=formatdate(until)) for words in _WORDS[action]), ""]
        for one in those[:MANY]:
            said = _wrapped(_said(one, limit)) if action is not Action.EXPANDED else []
            text += [f"<{line(one.recipient.address, utf8=True)}>{':' if said else ''}", *said, ""]
        if len(those) > MANY:
            text += [f"and {len(those) - MANY} more, listed in the next part.", ""]
    if all(map(str.isascii, text)):
        return ["Content-Type: text/plain; charset=us-ascii", "", *text]
    kind = "Content-Type: text/plain; charset=utf-8"
    if utf8:
        return [kind, "Content-Transfer-Encoding: 8bit", "", *text]
    return [kind, "Content-Transfer-Encoding: quoted-printable", "", *_quoted(text)]


def _said(one: Ended, limit: int) -> str:
    who = f"{line(one.host)}{'' if one.ours else ' said'}: " if one.host else ""
    said = line(str(one.reply) if one.reply.code else one.reply.text, limit, utf8=True)
    if one.expired:
        return f"delivery time expired; last: {who}{said}"
    return f"{who}{said}"


def _wrapped(text: str, width: int = 76) -> list[str]:
    """`text` in lines of about `width`, indented, for people."""
    lines: list[str] = []
    head = ""
    for word in text.split(" "):
        if head and len(head) + len(word) >= width:
            lines.append(f"    {head}")
            head = word
        else:
            head = f"{head} {word}" if head else word
    return [*lines, f"    {head}"]


def _quoted(lines: Sequence[str]) -> list[str]:
    """The lines in quoted-printable (RFC 2045 6.7), by the library."""
    octets = quopri.encodestring("\n".join(lines).encode("utf-8"))
    return octets.decode("ascii").split("\n")


# -- the original -------------------------------------------------------------------------------------------------


def _original(notice: Notice, mark: str, *, failed: bool, utf8: bool) -> list[str]:
    """The last part: the original, or its header, or nothing."""
    wanted = {"FULL": "full", "HDRS": "headers"}.get(notice.envelope.ret.upper(), notice.content)
    octets = notice.head
    if wanted == "nothing" or not octets:
        return []
    if failed and wanted == "full" and _fits(octets, notice.envelope.size, utf8=utf8):
        whole = octets.decode("utf-8", "surrogateescape")
        if octets.isascii():
            return [f"--{mark}", "Content-Type: message/rfc822", "", whole]
        return [f"--{mark}", "Content-Type: message/global", "Content-Transfer-Encoding: 8bit", "", whole]
    head, beyond = _read(octets[: header_end(octets)][:MAX_HEAD])
    lines = [line(one, _LINE, tab=True, utf8=beyond) for one in head.split("\r\n")]
    lines = [one for one in lines if one.strip()]
    if not beyond:
        return [f"--{mark}", "Content-Type: text/rfc822-headers", "", *lines, ""]
    coding, lines = ("8bit", lines) if utf8 else ("quoted-printable", _quoted(lines))
    return [
        f"--{mark}",
        "Content-Type: message/global-headers",
        f"Content-Transfer-Encoding: {coding}",
        "",
        *lines,
        "",
    ]


def _read(head: bytes) -> tuple[str, bool]:
    """The header as text; does it go beyond ASCII in UTF-8? In what is no UTF-8 no octet beyond ASCII is kept."""
    if not head.isascii():
        try:
            return head.decode("utf-8"), True
        except UnicodeDecodeError:
            pass
    return head.decode("ascii", "replace"), False


def _fits(octets: bytes, size: int, *, utf8: bool) -> bool:
    """The whole message is at hand, small, of lines that any server takes, and 7-bit where the notice has to be."""
    return (
        size == len(octets) <= MAX_FULL
        and (utf8 or octets.isascii())
        and b"\0" not in octets
        and octets.endswith(b"\r\n")
        and max(map(len, octets.split(b"\r\n"))) <= 998
    )
