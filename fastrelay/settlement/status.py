r"""The part of a notice that machines read: a message/delivery-status, field by field (RFC 3464 2, RFC 6533 3). Pure.

Whatever a peer or a client said stands in it: reply texts, host names, addresses. Each value is one line of visible
characters, cut to a length, before it is written; nobody outside can end a field or add one. In ASCII an address beyond
it stands as utf-8-addr-xtext (`utf-8; jos\x{E9}@b.example`), other text has "?" in its place; in a notice that may go
beyond ASCII (message/global-delivery-status) both stand as they are.

Left out: Final-Log-ID, for the log of the last hop is not ours to name, DSN-Gateway, and Localized-Diagnostic.
"""

import enum
from collections.abc import Sequence
from email.utils import formatdate
from typing import Literal, NamedTuple

from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.reply import Reply
from fastrelay.smtp import dsn

TEXT = 512  # characters of a reply: mail.state.LAST_REPLY_LIMIT, and RFC 5321 4.5.3.1.5 allows 512 a line
TEXT_MANY = 128  # the same in a notice about more than MANY recipients
MANY = 50
_ADDRESS = 900  # 319 octets of UTF-8 as utf-8-addr-xtext are at most 720; a line may have 998 (RFC 5322 2.1.1)


class Action(enum.Enum):
    """What became of a recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_CLASS = {Action.FAILED: "5", Action.DELAYED: "4"}  # the others: 2 (RFC 3463 3.1)


class Ended(NamedTuple):
    """One recipient of a notice. reply: the last word, the peer's or ours; host: who said it, "" = we, and of no host.

    ours: we said it, about `host` (it did not answer, or takes no such mail). expired: it failed because time ran out,
    and `reply` is only the last of many. tried: the last attempt is now.
    """

    recipient: Recipient
    reply: Reply
    host: str = ""
    expired: bool = False
    action: Action = Action.FAILED
    tried: bool = True
    ours: bool = False


class Notice(NamedTuple):
    """What all notices about one message share.

    ident, envelope: of the original. hostname: ours. fresh: the id of the notice itself. now: wall seconds.
    content: "headers" | "full" | "nothing" of the original to send back where its sender did not say (RET); head: its
    octets, as many as are at hand.
    """

    ident: bytes
    envelope: Envelope
    hostname: str
    fresh: bytes
    now: float
    head: bytes = b""
    content: Literal["headers", "full", "nothing"] = "headers"


def about_message(notice: Notice) -> list[str]:
    """The fields of the message (RFC 3464 2.2)."""
    original = notice.envelope
    out = []
    if original.envid:
        out.append(f"Original-Envelope-Id: {line(dsn.plain(original.envid))}")
    out.append(f"Reporting-MTA: dns; {line(notice.hostname)}")
    if original.helo:
        client = original.client.partition("%")[0]  # without the zone of a link-local address
        address = f" ([{'IPv6:' if ':' in client else ''}{line(client)}])" if client not in ("", "unix") else ""
        out.append(f"Received-From-MTA: dns; {line(original.helo)}{address}")
    out += [f"Arrival-Date: {formatdate(original.created)}", f"X-Fastrelay-Queue-ID: {notice.ident.hex()}"]
    return out


def about_recipients(rows: Sequence[Ended], now: float, until: float, *, utf8: bool) -> list[str]:
    """The fields of each recipient (RFC 3464 2.3), an empty line before them. until: 0.0 = it is not tried again."""
    limit = TEXT if len(rows) <= MANY else TEXT_MANY
    out: list[str] = []
    for one in rows:
        out.append("")
        if one.recipient.orcpt:
            kind, address = dsn.original(one.recipient.orcpt)
            out.append(f"Original-Recipient: {typed(kind, address, utf8=utf8)}")
        address = one.recipient.address
        out += [
            f"Final-Recipient: {typed('rfc822' if address.isascii() else 'utf-8', address, utf8=utf8)}",
            f"Action: {one.action.value}",
            f"Status: {status_of(one)}",
        ]
        theirs = one.host and not one.ours
        if theirs:
            out.append(f"Remote-MTA: {_mta(one.host)}")
        if one.reply.code:
            out.append(
                f"Diagnostic-Code: {'smtp' if theirs else 'x-fastrelay'}; {line(str(one.reply), limit, utf8=utf8)}"
            )
        if one.tried:
            out.append(f"Last-Attempt-Date: {formatdate(now)}")
        if until:
            out.append(f"Will-Retry-Until: {formatdate(until)}")
    return out


def _mta(host: str) -> str:
    """`type; name` of a next hop: a host name, an address as a domain literal, or a local socket."""
    if host.startswith("unix:"):
        return f"x-local; {line(host.removeprefix('unix:'))}"
    if ":" in host:
        return f"dns; [IPv6:{line(host)}]"
    return f"dns; [{line(host)}]" if host.replace(".", "").isdecimal() else f"dns; {line(host)}"


def typed(kind: str, address: str, *, utf8: bool) -> str:
    """`type; address`. An address of type utf-8 is written so that nothing of it is lost."""
    if kind.lower() == "utf-8" and not utf8:
        return f"{line(kind)}; {line(dsn.utf8_xtext(address), _ADDRESS)}"
    return f"{line(kind)}; {line(address, _ADDRESS, utf8=utf8)}"


def status_of(one: Ended) -> str:
    """The enhanced code (RFC 3463): its class always agrees with the action, whatever the peer said."""
    wanted = _CLASS.get(one.action, "2")
    if one.expired:
        return f"{wanted}.4.7"  # delivery time expired
    parts = one.reply.enhanced.split(".")
    if len(parts) == 3 and all(part.isdecimal() and part.isascii() and len(part) <= 3 for part in parts):
        return f"{wanted}.{int(parts[1])}.{int(parts[2])}"
    return f"{wanted}.0.0"


_PLAIN = {**dict.fromkeys(range(32), "?"), 127: "?"}
_PLAIN_BUT_TAB = {n: c for n, c in _PLAIN.items() if n != 9}


def line(text: str, limit: int = TEXT, *, tab: bool = False, utf8: bool = False) -> str:
    """`text` as one line of visible characters, at most `limit` octets: it can stand in any field.

    utf8: beyond ASCII too, without what is invisible or turns the direction of writing.
    """
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    text = text.translate(_PLAIN_BUT_TAB if tab else _PLAIN)
    if text.isascii():
        return text
    if utf8:
        text = "".join(c if c.isprintable() or c == "\t" else "?" for c in text)
        octets = text.encode("utf-8")
        return text if len(octets) <= limit else octets[: limit - 3].decode("utf-8", "ignore") + "..."
    return text.encode("ascii", "replace").decode("ascii")
