"""What the verbs answer with: a row of the queue, everything about one message, the sums over many. Pure."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fastrelay.control.request import Found, Select, SiteOf
from fastrelay.mail import ident as idents
from fastrelay.mail.ident import born
from fastrelay.mail.state import Status, Waiting
from fastrelay.schedule.item import Item, Place

DOMAINS = 5000  # domains of one summary answer, 1 MB of JSON; then it ends, and the next page goes on
_MOST = 2 * DOMAINS  # what a last message, or shard, may make of them; what comes after that counts as OTHERS
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


def meant(first: Item, select: Select, sites: dict[str, str], site_of: SiteOf) -> list[Item]:
    """The items of a message that `select` means by domain, site and hold. sites: what is known of domains so far."""
    items = []
    item: Item | None = first
    domain, site, held = select.domain.lower(), select.site, select.held
    while item is not None:
        name = item.domain
        if (
            item.place is not Place.OUT
            and (not domain or name == domain)
            and (held is None or (item.place is Place.HELD) is held)
        ):
            if site and name not in sites:
                sites[name] = site_of(name)
            if not site or sites[name] == site:
                items.append(item)
        item = item.sibling
    return items


_NAMES = tuple(place.name.lower() for place in Place)


def place_of(item: Item) -> str:
    """Where an item stands, in a word; "suspended" where it waits before an operator's bar (schedule/places.py)."""
    return "suspended" if item.place is Place.WAITING and item.route is not None else _NAMES[item.place]


class _Sums:
    """Of one domain. first: the id of its oldest message, where `oldest` is 0.0, not known better. next: 0.0: none."""

    __slots__ = ("first", "messages", "next", "oldest", "recipients", "stopped", "tried")

    def __init__(self, first: bytes = b"", oldest: float = 0.0) -> None:
        self.first = first
        self.oldest = oldest
        self.messages = 0
        self.recipients = 0
        self.tried = 0
        self.stopped = 0
        self.next = 0.0


class Tally:
    """The sums of a summary. `add` each message, or `add_items`, then `result`."""

    __slots__ = ("_domains", "_held", "_messages", "_octets", "_recipients")

    def __init__(self) -> None:
        self._domains: dict[str, _Sums] = {}
        self._messages = 0
        self._recipients = 0
        self._octets = 0
        self._held = 0

    @property
    def full(self) -> bool:
        """Time for an answer: sums of further domains belong into the next."""
        return len(self._domains) >= DOMAINS

    def add(self, one: Found, dues: Dues = _RECORDED, stopped: Container[str] = ()) -> None:
        """Count one message with its selected recipients. stopped: its domains that stand before a suspension."""
        created = one.envelope.created
        self._messages += 1
        self._recipients += len(one.indices)
        self._octets += one.envelope.size
        self._held += bool(one.state.held)
        seen = set()
        for index in one.indices:
            standing = one.state.recipients[index]
            if not isinstance(standing, Waiting):
                continue
            name = one.envelope.recipients[index].domain
            due = dues.get(name, standing.due) or created
            sums = self._domains.get(name) or self._fresh(name, b"", created)
            sums.messages += name not in seen
            sums.recipients += 1
            sums.tried += standing.attempts > 0
            sums.oldest = min(sums.oldest, created)
            if one.state.held or name in stopped:
                sums.stopped += 1
            elif not sums.next or due < sums.next:
                sums.next = due
            seen.add(name)

    def add_items(self, items: Sequence[Item], octets: int, wall: float, now: float) -> None:
        """Count one message by its items on the schedule. wall, now: the present second by both clocks."""
        ident = items[0].ident
        domains = self._domains
        self._messages += 1
        self._octets += octets
        for item in items:
            recipients = len(item.indices)
            self._recipients += recipients
            name = item.domain
            sums = domains.get(name) or self._fresh(name, ident, 0.0)
            sums.messages += 1
            sums.recipients += recipients
            if item.attempts:
                sums.tried += recipients
            if ident < sums.first:
                sums.first = ident
            place = item.place
            if place is Place.WAITING:
                if item.route is not None:
                    sums.stopped += recipients
                    continue
                due = item.due - now + wall
            elif place is Place.HELD:
                sums.stopped += recipients
                continue
            else:
                due = wall
            if due < sums.next or not sums.next:
                sums.next = due
        if items[0].place is Place.HELD:
            self._held += 1

    def _fresh(self, name: str, first: bytes, oldest: float) -> _Sums:
        """The sums of a domain that has none; those of OTHERS when there are too many."""
        if len(self._domains) >= _MOST:
            name = OTHERS
        sums = self._domains.get(name)
        if sums is None:
            sums = self._domains[name] = _Sums(first, oldest)
        return sums

    def result(self, site_of: SiteOf) -> dict[str, Any]:
        """Totals, and by domain: messages, recipients, how many of them were tried, how many are on hold or suspended,
        oldest, next attempt of the others (0.0 = there are none), site."""
        domains = {
            name: {
                "messages": sums.messages,
                "recipients": sums.recipients,
                "tried": sums.tried,
                "stopped": sums.stopped,
                "oldest": sums.oldest or born(sums.first),
                "next": sums.next,
                "site": site_of(name) if name != OTHERS else "",
            }
            for name, sums in self._domains.items()
        }
        return {
            "messages": self._messages,
            "recipients": self._recipients,
            "octets": self._octets,
            "held": self._held,
            "domains": domains,
        }
