"""Asking every slot: one task per slot, two seconds per answer, and the list of those that did not answer.

Which slots there are: every slot-NNN directory of the spool with a journal in it (its mail exists, whether or not a
worker holds it) and every worker in the shared page. So mail of a slot whose worker is down shows up as `incomplete`,
never as absent; an empty directory that fewer workers than once have left behind is nothing.
"""

import os
import re
from pathlib import Path

from fastrelay.admin.merge import Answer
from fastrelay.admin.pages import Page
from fastrelay.errors import MachineShort, PeerClosed, PeerError
from fastrelay.process.heartbeat import State
from fastrelay.runtime import messages, stream, tasks

AT_ONCE = 8  # requests carried out together, the others wait their turn: a worker hangs up on the 17th asker
PATIENCE = 2.0  # seconds per answer: a worker works on one for at most 1 s
_SLOT = re.compile(r"slot-(\d{3})\Z")
_MAIL = ("segment-", "adopted-")  # what files and folders with mail are called in a slot (spool/format.py)


class Fanout:
    """Dials runtime_dir/slot-NNN.sock."""

    __slots__ = ("_page", "_runtime_dir", "_spool", "_turns")

    def __init__(self, runtime_dir: Path, spool: Path, page: Page) -> None:
        self._runtime_dir = runtime_dir
        self._spool = spool
        self._page = page
        self._turns = tasks.Permits(AT_ONCE)

    def slots(self) -> list[int]:
        """Every slot that has, or may have, mail."""
        found = {row.slot for row in self._page.rows()}
        try:
            for entry in self._spool.iterdir():
                match = _SLOT.match(entry.name)
                if match and int(match[1]) not in found and _holds_mail(entry):
                    found.add(int(match[1]))
        except OSError as error:
            raise MachineShort(f"cannot look into {self._spool}: {error.strerror}") from None
        return sorted(found)

    def whys(self, slots: list[int]) -> dict[int, str]:
        """Why those of `slots` did not answer where that is no fault: mail between two workers, or one that starts."""
        found = {}
        rows = {row.slot: row for row in self._page.rows()}
        for slot in slots:
            row = rows.get(slot)
            if row is None:
                found[slot] = "no worker has it this moment: another takes its mail over within seconds; try again"
            elif row.state is State.STARTING:
                found[slot] = "its worker is starting; try again"
        return found

    def ask_all(self, request: Answer, *, pages: bool = False) -> tuple[list[Answer], list[int]]:
        """The answers of all slots, in slot order, and the slots that gave none or broke off in between.

        pages: ask on until `next` is null; then a slot may have several answers.
        """
        slots = self.slots()
        got: dict[int, list[Answer]] = {slot: [] for slot in slots}
        missing = set(slots)
        left = len(slots)
        done = tasks.Parking()

        def one(slot: int) -> None:
            nonlocal left
            try:
                self._ask(slot, request, got[slot], pages=pages)
                missing.discard(slot)
            except (PeerError, MachineShort):
                pass  # it stays in `missing`; what it said before counts
            finally:
                left -= 1
                if not left:
                    done.wake()

        with self._turns:
            for slot in slots:
                tasks.spawn(one, slot)
            if slots:
                done.wait()
        return [answer for answers in got.values() for answer in answers], sorted(missing)

    def _ask(self, slot: int, request: Answer, answers: list[Answer], *, pages: bool) -> None:
        connection = stream.connect(f"unix:{self._runtime_dir}/slot-{slot:03d}.sock", 0, seconds=PATIENCE)
        try:
            reader = messages.Reader(connection)
            while True:
                answer = {**_exchange(connection, reader, request), "slot": slot}
                answers.append(answer)
                cursor = answer.get("next")
                if not pages or not cursor:
                    return
                if cursor <= request.get("after", ""):
                    raise PeerClosed("the worker does not get on")
                request = {**request, "after": cursor}
        finally:
            connection.close()


def _holds_mail(slot: Path) -> bool:
    """A journal, or a slot that was adopted, lies in it. OSError when it cannot be told."""
    try:
        return any(name.startswith(_MAIL) for name in os.listdir(slot))
    except (FileNotFoundError, NotADirectoryError):
        return False  # adopted by somebody this very moment, or no slot at all


def _exchange(connection: stream.Stream, reader: messages.Reader, request: Answer) -> Answer:
    """One answer, or PeerTimeout after exactly PATIENCE (the deadline wheel may take a second more)."""
    alarm = tasks.Alarm(PATIENCE, connection.perish)
    try:
        messages.send(connection, request)
        answer = reader.receive()
    finally:
        alarm.close()
    if not isinstance(answer, dict):
        raise PeerClosed("the worker hung up")
    return answer
