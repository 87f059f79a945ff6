"""The content of one message on its way in: one bytes object while it is small, a draft from HOLD octets on.

A draft has a place in the memory budget and may go to a file (spool/bodies.py); what is held here has none, and is HOLD
octets at most. The Received fields are counted on the way.
"""

from fastrelay.mail.headers import received_count
from fastrelay.mail.reply import Reply, reply
from fastrelay.reception.desk import Draft, Intake
from fastrelay.reception.trace import MAX_HOPS, HopCount

HOLD = 16 * 1024  # octets of an unfinished message kept here; what is larger goes to a draft, which has a budget
LOOP = reply(554, "5.4.6", "Too many hops, this message loops")


class Gathering:
    """Of one session, message after message."""

    __slots__ = ("_draft", "_held", "_hops", "_intake")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._held = b""
        self._draft: Draft | None = None
        self._hops: HopCount | None = None

    def take(self, octets: bytes, announced: int, *, last: bool) -> bytes | Draft | Reply | None:
        """The next piece. None: more is to come; octets or a draft: that was all of it; LOOP: nobody should have it.

        announced: octets of the whole, 0 = unknown. May wait for the disk; MachineShort where there is no room.
        """
        draft = self._draft
        if draft is None:
            if self._held:
                octets = self._held + octets
                self._held = b""
            if last:
                return LOOP if received_count(octets) >= MAX_HOPS else octets
            if len(octets) <= HOLD:
                self._held = octets
                return None
            self._draft = draft = self._intake.draft(max(announced, len(octets)))
            self._hops = HopCount()
        if octets:
            draft.write(octets)
        hops = self._hops
        if hops is not None and hops.feed(octets) >= MAX_HOPS:
            return LOOP
        return draft if last else None

    def handed_over(self) -> None:
        """The intake has it now: were this task ended, it may still be on its way to the disk."""
        self._draft = self._hops = None

    def forget(self) -> None:
        """It is nobody's. Harmless where there is nothing."""
        self._held = b""
        self._hops = None
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()
