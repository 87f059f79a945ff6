"""What may be asked of a slot, and what it means for one message. Pure; `now` is wall seconds."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from fastrelay.mail.envelope import Envelope
from fastrelay.mail.state import State, Status, Waiting

PAGE = 1000  # rows per answer at most: 0.5 MB of JSON
SLICE = 0.005  # seconds of work on an answer before others get a turn
TURN = 0.001  # seconds they get where the asker cannot wait long; with none, sockets are not looked at in between

SiteOf = Callable[[str], str]
"""Recipient domain -> site as far as it is known now, "" else."""


class Select(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which mail; everything given must hold. older_than: seconds since receipt. all: no condition, on purpose.

    sender: None = any, "" = the null sender. reply: stands somewhere in a recipient's last reply, in either case.
    """

    id: str = ""
    domain: str = ""
    site: str = ""
    sender: str | None = None
    older_than: float = 0.0
    reply: str = ""
    held: bool | None = None
    all: bool = False

    @property
    def says_something(self) -> bool:
        """False when nothing was given, not even `all`."""
        return self != Select()


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request. after: 32 hex digits, "" = from the start. limit: rows at most. who: for the event log. silent: a
    bounce without a notice. client: an address or a network, watch: who asks, both for `trace`."""

    verb: str
    select: Select = Select()
    after: str = ""
    limit: int = PAGE
    reason: str = ""
    who: str = ""
    silent: bool = False
    client: str = ""
    watch: str = ""


class Found(NamedTuple):
    """A selected message, and which of its open recipients were selected."""

    ident: bytes
    envelope: Envelope
    state: State
    indices: tuple[int, ...]


def may_be_meant(select: Select, envelope: Envelope, now: float) -> bool:
    """As far as the envelope tells."""
    if select.sender is not None and envelope.sender.lower() != select.sender.lower():
        return False
    return not select.older_than or now - envelope.created >= select.older_than


def chosen(select: Select, envelope: Envelope, state: State, now: float, site_of: SiteOf) -> tuple[int, ...]:
    """The open recipients that `select` means; () when the message is not meant."""
    if not may_be_meant(select, envelope, now):
        return ()
    if select.held is not None and bool(state.held) != select.held:
        return ()
    found = []
    reply = select.reply.lower()
    for index, standing in enumerate(state.recipients):
        if not isinstance(standing, Waiting) or (reply and reply not in standing.reply.lower()):
            continue
        if select.domain or select.site:
            domain = envelope.recipients[index].domain
            if select.domain and domain != select.domain.lower():
                continue
            if select.site and site_of(domain) != select.site:
                continue
        found.append(index)
    return tuple(found)


def ended(one: Found, status: Status) -> State:
    """The state after an operator ended the selected recipients."""
    return _with(one.state, dict.fromkeys(one.indices, int(status)))


def hastened(one: Found, now: float) -> State:
    """The state after the next attempt of the selected recipients was moved to `now`."""
    changed: dict[int, int | Waiting] = {}
    for index in one.indices:
        standing = one.state.recipients[index]
        if isinstance(standing, Waiting):
            changed[index] = msgspec.structs.replace(standing, due=now)
    return _with(one.state, changed)


def held(one: Found, reason: str) -> State:
    """The state with a hold and its reason; "" ends the hold."""
    return State(one.state.version + 1, one.state.recipients, reason)


def _with(state: State, changed: Mapping[int, int | Waiting]) -> State:
    recipients = tuple(changed.get(index, standing) for index, standing in enumerate(state.recipients))
    return State(state.version + 1, recipients, state.held)
