"""What a judge found at a hop: the check, how much it weighs, and why in words. All weights stand in one table.

A weight is what the check found in genuine chains against forged ones (bench/trail.py measures both): 1 alone makes a
chain suspicious, less needs company. Weights of one hop and check do not add up.
"""

import enum
from typing import Final, NamedTuple


class Check(enum.Enum):
    """The checks, in the words of the table and of --json."""

    BROKEN = "broken joint"  # `by` of the hop before and `from` of this one are of strangers
    FAINT = "unproven joint"  # the same, but the client is known by its address alone
    CLAIM = "claimed joint"  # only HELO agrees
    INSERTED = "inserted hop"  # its neighbours agree with one another, it agrees with neither
    MISPLACED = "misplaced hop"  # it agrees with another hop than its neighbour
    BACKWARDS = "time runs backwards"
    ZONE = "time off by whole hours"
    LATE = "long delay"
    FUTURE = "future date"
    DATE = "impossible date"
    NO_DATE = "no date"
    STAMP = "id of another time"  # programs that write the time into their ids
    SHAPE = "foreign id"  # the named program never writes such an id
    PLACE = "foreign software"  # that host does not run it, or that software runs on no other host
    HELO_SELF = "HELO is the receiver"
    BORROWED = "borrowed name"  # HELO says a large provider, the address has somebody else's name
    ADDRESS = "impossible address"
    NAME_ADDRESS = "name of another address"  # the name spells an address that is not the hop's
    INWARD = "private after public"
    UNFORMED = "not a trace field"  # neither from nor by, and no program's own form
    TWICE = "written twice"  # the same line again
    NO_NAME = "name without address"  # DNS has no such name, or it has other addresses
    SPOKEN = "may be forged"  # the server's own words


WEIGHTS: Final = {
    Check.BROKEN: 1.0,
    Check.FAINT: 0.7,
    Check.CLAIM: 0.1,
    Check.INSERTED: 1.0,
    Check.MISPLACED: 0.5,
    Check.BACKWARDS: 1.0,
    Check.ZONE: 0.3,
    Check.LATE: 0.3,
    Check.FUTURE: 1.0,
    Check.DATE: 1.0,
    Check.NO_DATE: 0.2,
    Check.STAMP: 1.0,
    Check.SHAPE: 1.0,
    Check.PLACE: 1.0,
    Check.HELO_SELF: 1.0,
    Check.BORROWED: 1.0,
    Check.ADDRESS: 1.0,
    Check.NAME_ADDRESS: 0.5,
    Check.INWARD: 0.6,
    Check.UNFORMED: 0.2,
    Check.TWICE: 1.0,
    Check.NO_NAME: 0.4,
    Check.SPOKEN: 0.1,
}


class Finding(NamedTuple):
    """hop: its number, 1 the oldest. weight: at least WEIGHTS of the check times what its degree says."""

    hop: int
    check: Check
    weight: float
    why: str


def finding(hop: int, check: Check, why: str, degree: float = 1.0) -> Finding:
    """With the weight of the table. degree: of the check's weight."""
    return Finding(hop, check, round(WEIGHTS[check] * degree, 3), why)
