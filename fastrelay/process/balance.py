"""Should this worker accept? Pure: sessions of this worker against those of the least loaded ready one.

Persistent sessions stay with the worker that accepted them, and the kernel hands a shared socket's connections to
whichever worker wakes first (measured: 12 over 4 workers landed 0/10/0/2, whatever the accepts per wake-up). So a
worker leaves the listener alone while one session more would put it more than SLACK sessions and 20 % above the least
loaded ready worker. The least loaded one always accepts, so never do all of them pause. 12 sessions over 4 workers end
with 2 to 4 each, in whatever order they come: with a least of 1 nobody has more than 3, and 3 + 3 + 3 + 1 are not 12.
"""

from typing import Final

SLACK: Final = 2  # sessions above the least loaded that nobody minds
SHARE: Final = 1.2
LOOK_AGAIN: Final = 0.05  # seconds between two looks of a worker that pauses


def may_accept(own: int, least: int) -> bool:
    """own: sessions of this worker; least: those of the least loaded ready worker, this one included."""
    return own + 1 <= least * SHARE + SLACK
