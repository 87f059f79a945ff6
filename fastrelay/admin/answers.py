"""The answers of the API as shapes, for its OpenAPI document. Nothing here is executed on the way of an answer.

An answer may have keys beyond these: a client passes over what it does not know. Times are wall seconds.
"""

from typing import Any

import msgspec


class SlotError(msgspec.Struct, frozen=True):
    """Why a slot's part of an answer is not there: its own word, or that it is between two workers, or starting."""

    slot: int
    error: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """incomplete: slots whose mail the answer does not cover, or not wholly. errors: why, where that is known."""

    incomplete: list[int] = []
    errors: list[SlotError] = []


class Error(msgspec.Struct, frozen=True):
    """What went wrong, for a person; code: of sysexits.h (64 senseless, 65 not there, 75 try again)."""

    error: str
    code: int = 0


class Worker(msgspec.Struct, frozen=True):
    """One worker: what the shared page says of it, and what it says of its rooms, an object for each: spool, schedule,
    routing, delivery, relay, log, jury, ledger; room.refused: why new mail is refused, "" where it is taken. loading:
    there, and true, while it does not know all its mail yet."""

    slot: int
    state: str
    pid: int = 0
    fresh: bool = True
    beat_age: float = 0.0
    sessions: int = 0
    load: int = 0
    messages: int = 0


class Status(Answer, frozen=True, kw_only=True):
    """The whole relay. admin: the TCP address of metrics and health. suspended: how many suspensions are in force."""

    version: str
    hostname: str
    master: int
    messages: int
    workers: list[Worker]
    admin: str = ""
    config: str = ""
    suspended: int = 0


class Row(msgspec.Struct, frozen=True):
    """A message in a list. recipient: the first that was selected. last: the last reply. places: on the schedule."""

    id: str
    slot: int
    created: float
    size: int
    sender: str
    recipient: str
    selected: int
    open: int
    total: int
    attempts: int
    next: float
    last: str
    held: str
    places: list[str]


class Page(Answer, frozen=True, kw_only=True):
    """A page in order of arrival. next: hand it back as `after` for the next page; null when this was the last."""

    rows: list[Row]
    next: str | None


class Domain(msgspec.Struct, frozen=True):
    """Sums over the mail to one recipient domain. tried: recipients tried at least once; stopped: those on hold or
    suspended. oldest: when it came. next: the next attempt of the others, 0.0 where there are none."""

    messages: int
    recipients: int
    tried: int
    stopped: int
    oldest: float
    next: float
    site: str


class Summary(Answer, frozen=True, kw_only=True):
    """Sums over the queue."""

    messages: int
    recipients: int
    octets: int
    held: int
    domains: dict[str, Domain]


class Recipient(msgspec.Struct, frozen=True):
    """One recipient of a message; what follows `status` is there while it is open or held."""

    address: str
    domain: str
    status: str
    place: str = ""
    site: str = ""
    attempts: int = 0
    next: float = 0.0
    last: str = ""


class Message(Answer, frozen=True, kw_only=True):
    """Everything about one message. headers: the first 16 KiB of its header section."""

    found: bool
    id: str = ""
    slot: int = 0
    sender: str = ""
    created: float = 0.0
    size: int = 0
    held: str = ""
    recipients: list[Recipient] = []
    headers: str = ""


class Changed(Answer, frozen=True, kw_only=True):
    """How many messages were changed, and how many left alone because they were being delivered."""

    changed: int
    busy: int


class Suspension(msgspec.Struct, frozen=True):
    """What an operator has stopped. until: 0 = until it is resumed."""

    kind: str
    name: str
    since: float
    until: float
    reason: str
    who: str


class Suspensions(Answer, frozen=True, kw_only=True):
    """All that is suspended. changed: whether the request changed anything."""

    suspensions: list[Suspension]
    changed: bool = False


class Rate(msgspec.Struct, frozen=True):
    """Per second: over the last three seconds, the last minute, and the best second of it."""

    now: float
    minute: float
    peak: float


class Top(Answer, frozen=True, kw_only=True):
    """rates: by what is counted; totals: since the start. commit: count, median and p99 of the last minute, seconds."""

    rates: dict[str, Rate]
    totals: dict[str, int]
    queued: int
    oldest_seconds: float
    connections: dict[str, int]
    commit: dict[str, float | None]
    workers: list[dict[str, Any]]
    sites: list[dict[str, Any]]


class Said(msgspec.Struct, frozen=True):
    """A line of a session. side: "in" or "out". from: client, server, or "" for what is no line. took: seconds since
    the line before it."""

    at: float
    took: float
    side: str
    session: str
    address: str
    from_: str = msgspec.field(name="from")
    text: str = ""
    slot: int = 0


class Dialogue(Answer, frozen=True, kw_only=True):
    """lost: lines that were dropped since nobody asked for them in time."""

    lines: list[Said]
    lost: int


class Explained(Answer, frozen=True, kw_only=True):
    """why: one sentence. explained: for each worker and domain what it rests on: site; login, the name of the
    credentials there; route, with addresses that are resting; outcome, where there is none; dns; limits and where each
    comes from; ledger, what is used of them on this machine; lane; suspensions; held, why; ending, whether the worker
    delivers no more; queued, and how many of these have no connection yet; why."""

    why: str
    explained: list[dict[str, Any]]
