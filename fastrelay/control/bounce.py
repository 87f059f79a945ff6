"""An operator's bounce: mail goes back to its sender instead of waiting for its last attempt.

Whoever is to be told (settlement/notices.py decides: not the null sender, not where NOTIFY says never) is told in one
batch with the end of the recipients; the others, and all of a silent bounce, are closed by a record alone. The messages
of one call are worked on side by side: each notice waits for a sync, and a sync takes many.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from fastrelay.control.request import Found, Request, ended
from fastrelay.eventlog import response
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.headers import clean
from fastrelay.mail.outcome import Failed, Phase, Scope
from fastrelay.mail.reply import Reply
from fastrelay.mail.state import State, Status
from fastrelay.runtime import clock, tasks
from fastrelay.settlement.plan import End

AT_ONCE = 32  # messages worked on side by side; their notices share syncs
SHORT = "the machine is short: no notice can be stored now; what is told as changed is done"
_REASON = 200  # characters of the reason that stand in the notice


class NoticeDesk(Protocol):
    """What a bounce needs of settlement/notices.py. end: the notice's id, None when it cannot be stored now; waits."""

    def why_silent(self, envelope: Envelope, position: int) -> str: ...
    def end(self, ident: bytes, envelope: Envelope, ends: Sequence[End], wall: float) -> bytes | None: ...


class Records(Protocol):
    """The spool, as far as a bounce without a notice goes."""

    def record_synced(self, records: Sequence[tuple[bytes, State]]) -> None: ...
    def envelope(self, ident: bytes) -> Envelope | None: ...
    def state(self, ident: bytes) -> State: ...


class Returns:
    """One request's bounces. log(kind, found, request, **more): a line for each selected recipient."""

    __slots__ = ("_log", "_notices", "_outcome", "_request", "_store")

    def __init__(self, store: Records, notices: NoticeDesk, request: Request, log: Callable[..., None]) -> None:
        self._store = store
        self._notices = notices
        self._request = request
        self._log = log
        text = f"Returned by an operator of this relay: {clean(request.reason)[:_REASON]}"
        self._outcome = Failed(Reply(550, "5.7.1", (text,)), Phase.QUEUE, Scope.MESSAGE)

    def close(self, found: Sequence[Found]) -> int:
        """Close the selected recipients of these messages, which are off the schedule. Waits.

        How many of the messages; an error is raised once all have been gone through.
        """
        closed = 0
        errors: list[BaseException] = []
        left = len(found)
        over = tasks.Parking()

        def one(message: Found) -> None:
            nonlocal left, closed
            try:
                if self._close(message):
                    closed += 1
            except BaseException as error:
                errors.append(error)
            finally:
                left -= 1
                if not left:
                    over.wake()

        if len(found) == 1:
            one(found[0])
        else:
            for message in found:
                tasks.spawn(one, message)
            over.wait()
        if errors:
            raise errors[0]
        return closed

    def _close(self, one: Found) -> bool:
        told: list[int] = []
        untold: dict[int, str] = {}
        for index in one.indices:
            why = "silent" if self._request.silent else self._notices.why_silent(one.envelope, index)
            if why:
                untold[index] = why
            else:
                told.append(index)
        if told:
            ends = [End(index, self._outcome, Status.FAILED) for index in told]
            notice = self._notices.end(one.ident, one.envelope, ends, clock.wall())
            if notice is None:
                return False
            self._tell(one._replace(indices=tuple(told)), notice.hex())
        if untold:
            rest = one._replace(indices=tuple(untold))
            if self._store.envelope(one.ident) is not None:  # the notice's batch has not ended it
                now = rest._replace(state=self._store.state(one.ident))
                self._store.record_synced([(one.ident, ended(now, Status.FAILED))])
            for index, why in untold.items():
                self._tell(rest._replace(indices=(index,)), why)
        return True

    def _tell(self, one: Found, notice: str) -> None:
        self._log("AdminBounce", [one], self._request, response=response(self._outcome.reply), notice=notice)
