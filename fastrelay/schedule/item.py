"""One item: the open recipients of one message at one domain, and the one place it stands in.

The table MOVES is the whole life of an item; scheduler.py is its only owner. An item is in exactly one place:

    OUT      not scheduled: before `add`, after `done`
    WAITING  in a bucket of the timers, until it is due or expires
    ROUTING  in the queue of its domain, until the router has answered
    READY    in the lane of its site, until a runner picks it
    RUNNING  with a runner or with settlement: it ends as `again` or `done`
    HELD     with an operator's hold; in a bucket of the timers for its expiry alone

Memory (measured, CPython 3.11): 104 octets and two floats, out of the cycle collector's sight. `at` and the bucket or
lane it names refer to each other, and the collector cannot see that: whoever empties a container must clear or
rewrite `at`.
"""

import enum
from typing import Any

import msgspec

from fastrelay.mail.route import Route


class Place(enum.IntEnum):
    """Where an item stands."""

    __hash__ = int.__hash__  # that of Enum is a Python function, called at every look into a table

    OUT = 0
    WAITING = 1
    ROUTING = 2
    READY = 3
    RUNNING = 4
    HELD = 5


# From each place, where an item may go next, and by which verb.
MOVES: dict[Place, frozenset[Place]] = {
    Place.OUT: frozenset({Place.WAITING, Place.ROUTING, Place.HELD}),  # add
    Place.WAITING: frozenset({Place.ROUTING, Place.RUNNING, Place.HELD, Place.OUT}),  # due, expired, hold, remove
    Place.ROUTING: frozenset(
        {Place.READY, Place.WAITING, Place.RUNNING, Place.HELD, Place.OUT}
    ),  # routed, suspended...
    Place.READY: frozenset({Place.RUNNING, Place.WAITING, Place.ROUTING, Place.HELD, Place.OUT}),  # next, suspended...
    Place.RUNNING: frozenset({Place.WAITING, Place.ROUTING, Place.HELD, Place.OUT}),  # again, reroute, hold, done
    Place.HELD: frozenset({Place.WAITING, Place.ROUTING, Place.RUNNING, Place.OUT}),  # release, expired, remove
}
ALLOWED = tuple(sum(1 << to for to in MOVES[place]) for place in Place)  # the same as bits: 40 ns a look, not 120


class Item(msgspec.Struct, gc=False, eq=False):
    """ident: the message. indices: its recipients at `domain` that are open, as positions in the envelope.

    attempts: made so far. expires: monotonic seconds. due: monotonic seconds of its next look by the timers. route:
    the decision by which it entered a lane; where it is WAITING, the one by which it met an operator's bar. at: the
    bucket, queue or lane it stands in. mark: the audit's. sibling: the next item of the same message.
    """

    ident: bytes
    domain: str
    indices: tuple[int, ...]
    attempts: int
    due: float
    expires: float
    place: Place = Place.OUT
    route: Route | None = None
    at: Any = None
    mark: int = 0
    sibling: "Item | None" = None


_SINGLES = tuple((n,) for n in range(64))


def shared_indices(indices: tuple[int, ...]) -> tuple[int, ...]:
    """The same indices, one object for all items that have one recipient (48 octets saved each)."""
    if len(indices) == 1 and indices[0] < 64:
        return _SINGLES[indices[0]]
    return indices
