"""How a message stands on the schedule: taken off while its record is being synced, and put back as far as it is open.

So no attempt begins meanwhile. Without a schedule (offline) there is nothing to take off.
"""

from typing import NamedTuple

from fastrelay.control.faces import Schedule
from fastrelay.runtime import clock
from fastrelay.schedule.item import Place


class Standing(NamedTuple):
    """How one item of a message stood. due, expires: wall seconds; due 0 = now."""

    domain: str
    indices: tuple[int, ...]
    attempts: int
    due: float
    expires: float
    held: bool


def taken_off(schedule: Schedule | None, ident: bytes) -> list[Standing]:
    """Take a message off the schedule: how it stood there."""
    if schedule is None:
        return []
    lag = clock.wall() - clock.now()
    standing = [
        Standing(
            item.domain,
            item.indices,
            item.attempts,
            schedule.due_wall(item) if item.place is Place.WAITING else 0.0,
            item.expires + lag,
            item.place is Place.HELD,
        )
        for item in schedule.items(ident)
    ]
    schedule.remove(ident)
    return standing


def put_back(schedule: Schedule | None, ident: bytes, standing: list[Standing], gone: tuple[int, ...]) -> None:
    """Schedule it again, without the recipients that are gone."""
    if schedule is None:
        return
    for one in standing:
        indices = tuple(index for index in one.indices if index not in gone)
        if indices:
            schedule.add(
                ident, one.domain, indices, expires=one.expires, due=one.due, attempts=one.attempts, held=one.held
            )
