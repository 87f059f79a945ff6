"""What the verbs answer with: a row of the queue, everything about one message, the sums over many. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fastrelay.control.request import Found, SiteOf
from fastrelay.mail import ident as idents
from fastrelay.mail.state import Status, Waiting

DOMAINS = 1000  # domains told apart in one summary answer; the rest counts as OTHERS
OTHERS = "(others)"
HEADERS = 16 * 1024  # octets of the header section that `show` prints


Dues = Mapping[str, float]
"""Recipient domain -> wall second of its next look, for what waits on the schedule; the recorded one holds else. Where
a site is suspended its mail waits longer than its records say."""


_RECORDED: Dues = {}


def row(one: Found, places: Iterable[str], dues: Dues = _RECORDED) -> dict[str, Any]:
    """A message in a list: who, to whom, how often tried, when next, why. Times are wall seconds."""
    envelope, state = one.envelope, one.state
    waiting = [
        (dues.get(recipient.domain, standing.due), standing)
        for recipient, standing in zip(envelope.recipients, state.recipients, strict=True)
        if isinstance(standing, Waiting)
    ]
    due, soonest = min(waiting, key=lambda one: one[0], default=(0.0, Waiting()))
    return {
        "id": idents.to_text(one.ident),
        "created": envelope.created,
        "size": envelope.size,
        "sender": envelope.sender,
        "recipient": envelope.recipients[one.indices[0]].address if one.indices else "",
        "selected": len(one.indices),
        "open": len(waiting),
        "total": len(envelope.recipients),
        "attempts": max((standing.attempts for _, standing in waiting), default=0),
        "next": due,
        "last": soonest.reply,
        "held": state.held,
        "places": sorted(places),
    }


def detail(
    one: Found, places: Mapping[str, str], site_of: SiteOf, headers: str, dues: Dues = _RECORDED
) -> dict[str, Any]:
    """Everything about one message. places: recipient domain -> place on the schedule."""
    recipients = []
    for recipient, standing in zip(one.envelope.recipients, one.state.recipients, strict=True):
        shown: dict[str, Any] = {"address": recipient.address, "domain": recipient.domain}
        if isinstance(standing, Waiting):
            shown |= {
                "status": "held" if one.state.held else "open",
                "place": places.get(recipient.domain, ""),
                "site": site_of(recipient.domain),
                "attempts": standing.attempts,
                "next": dues.get(recipient.domain, standing.due),
                "last": standing.reply,
            }
        else:
            shown["status"] = Status(standing).name.lower()
        recipients.append(shown)
    known = msgspec.to_builtins(one.envelope)
    return {**known, **row(one, set(places.values()), dues), "recipients": recipients, "headers": headers}


def header_text(parts: Iterable[bytes | memoryview]) -> str:
    """The header section at the start of a message, at most HEADERS octets of it."""
    head = b""
    for part in parts:
        head += bytes(part[: HEADERS - len(head)])
        end = head.find(b"\r\n\r\n")
        if end >= 0:
            return head[: end + 2].decode("utf-8", "replace")
        if len(head) >= HEADERS:
            break
    return head.decode("utf-8", "replace")


class Tally:
    """The sums of a summary. `add` each message, then `result`."""

    __slots__ = ("_domains", "_totals")

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, Any]] = {}
        self._totals = {"messages": 0, "recipients": 0, "octets": 0, "held": 0}

    def add(self, one: Found, dues: Dues = _RECORDED) -> None:
        """Count one message with its selected recipients."""
        totals = self._totals
        totals["messages"] += 1
        totals["recipients"] += len(one.indices)
        totals["octets"] += one.envelope.size
        totals["held"] += bool(one.state.held)
        seen = set()
        for index in one.indices:
            standing = one.state.recipients[index]
            if not isinstance(standing, Waiting):
                continue
            name = one.envelope.recipients[index].domain
            due = dues.get(name, standing.due)
            counted = self._domains.get(name)
            if counted is None:
                if len(self._domains) >= DOMAINS:
                    name = OTHERS
                counted = self._domains.setdefault(
                    name,
                    {"messages": 0, "recipients": 0, "tried": 0, "oldest": one.envelope.created, "next": due},
                )
            counted["messages"] += name not in seen
            counted["recipients"] += 1
            counted["tried"] += standing.attempts > 0
            counted["oldest"] = min(counted["oldest"], one.envelope.created)
            counted["next"] = min(counted["next"], due)
            seen.add(name)

    def result(self, site_of: SiteOf) -> dict[str, Any]:
        """Totals, and by domain: messages, recipients, how many of them were tried, oldest, next attempt, site."""
        for name, counted in self._domains.items():
            counted["site"] = site_of(name) if name != OTHERS else ""
        return {**self._totals, "domains": self._domains}
