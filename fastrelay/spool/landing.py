"""What a visit to the disk brought: new messages are open, segments opened and closed, space was used.

Runs on the loop after each visit, before anyone who waits for it is woken. New messages are registered here, not by
their waiting tasks: nothing that looks whether a segment is needed can come in between.
"""

from collections.abc import Callable

from fastrelay.metrics import Counts
from fastrelay.spool.held import held_from
from fastrelay.spool.records import Records
from fastrelay.spool.register import Register
from fastrelay.spool.room import Room
from fastrelay.spool.segment import Shelf
from fastrelay.spool.trip import Arrival, Trip


class Landing:
    """Of one store. closed(): called for each segment that will not be written again; set once freeing exists."""

    __slots__ = ("_counts", "_records", "_register", "_room", "_shelf", "closed")

    closed: Callable[[], None]

    def __init__(self, register: Register, records: Records, room: Room, shelf: Shelf, counts: Counts | None) -> None:
        self._register = register
        self._records = records
        self._room = room
        self._shelf = shelf
        self._counts = counts

    def settle(self, trip: Trip) -> None:
        """One visit, in the order they were made."""
        for news in trip.news:
            segment = news.segment
            self._register.segments[segment.mark] = segment
            segment.size = news.size
            if news.closed:
                segment.closed = True
                if segment.fd >= 0:
                    self._shelf.take(segment)  # its descriptor is from now on one of those that may be closed
                    self._shelf.give(segment)
                self.closed()
        if trip.error is None:
            arrivals = octets = 0
            for group in trip.groups:
                octets += group.octets
                if isinstance(group, Arrival):
                    arrivals += 1
                    frame = group.frames[0]
                    self._register.add(frame.ident, held_from(frame))
            self._room.spent(octets)
            if self._counts is not None and arrivals:
                self._counts.spool_commit_messages.observe(arrivals)
                self._counts.spool_commit_seconds.observe(trip.seconds)
        self._records.settle(trip)
