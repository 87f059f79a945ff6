"""Control: the verbs on one slot. What each promises stands in the package's docstring.

Errors are answers: {"error", "code"}: 64 for a request that makes no sense, 75 when the records cannot be written.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fastrelay.control import views
from fastrelay.control.bounce import AT_ONCE, SHORT, NoticeDesk, Returns
from fastrelay.control.explain import Explainer
from fastrelay.control.faces import Schedule, Strongbox
from fastrelay.control.pulse import Pulse
from fastrelay.control.request import PAGE, SLICE, Found, Request, SiteOf, chosen, ended, hastened, held
from fastrelay.control.standing import put_back, taken_off
from fastrelay.control.traces import Traces
from fastrelay.errors import FastrelayError, MachineShort, MisuseError
from fastrelay.eventlog import EventLog
from fastrelay.mail import ident as idents
from fastrelay.mail.state import Status, Waiting
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Place
from fastrelay.schedule.table import SHARDS

BUDGET = 1.0  # seconds per answer: half of what the admin process waits for a worker
_LOOKS = 32  # messages between two looks at the clock
_MANY = 128  # the same where nothing is decoded
_BATCH = 256  # messages whose records are synced together


class Control:
    """The verbs of one slot.

    site_of: recipient domain -> site as far as it is known now. parts: name -> statistics(), for `status`. rest: lets
    others work between two slices (offline there is nobody to let). loading: some mail of the slot is not known yet.
    notices: writes to senders, for `bounce`. look_again: reads what is suspended.
    """

    __slots__ = (
        "_eventlog",
        "_explainer",
        "_loading",
        "_look_again",
        "_notices",
        "_parts",
        "_pulse",
        "_rest",
        "_schedule",
        "_site_of",
        "_store",
        "_traces",
        "slot",
    )

    def __init__(
        self,
        slot: int,
        store: Strongbox,
        schedule: Schedule | None,
        *,
        eventlog: EventLog | None = None,
        site_of: SiteOf = lambda domain: "",
        parts: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None,
        rest: Callable[[float], None] = tasks.sleep,
        loading: Callable[[], bool] = lambda: False,
        notices: NoticeDesk | None = None,
        look_again: Callable[[], None] = lambda: None,
        explainer: Explainer | None = None,
        traces: Traces | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse
        self._traces = traces
        self._explainer = explainer
        self._look_again = look_again
        self.slot = slot
        self._notices = notices
        self._loading = loading
        self._store = store
        self._schedule = schedule
        self._eventlog = eventlog
        self._site_of = site_of
        self._parts = dict(parts or {})
        self._rest = rest

    def answer(self, request: object) -> dict[str, Any]:
        """The answer to a decoded request. Waits; errors are answers."""
        try:
            wanted = msgspec.convert(request, Request)
            verb = _VERBS.get(wanted.verb)
            if verb is None:
                raise MisuseError(f"no verb {wanted.verb!r}; there are {', '.join(sorted(_VERBS))}")
            unsure = {"loading": True} if self._loading() else {}
            return {"slot": self.slot, **verb(self, wanted), **unsure}
        except msgspec.ValidationError as error:
            return {"slot": self.slot, "error": f"bad request: {error}", "code": 64}
        except MachineShort as error:
            return {"slot": self.slot, "error": str(error), "code": 75}
        except FastrelayError as error:
            return {"slot": self.slot, "error": str(error), "code": 64 if isinstance(error, MisuseError) else 70}

    # -- looking on -----------------------------------------------------------------------------------------------

    def _status(self, request: Request) -> dict[str, Any]:
        parts = {name: dict(read()) for name, read in self._parts.items()}
        return {"pid": os.getpid(), "messages": len(self._store), **parts}

    def _show(self, request: Request) -> dict[str, Any]:
        ident = idents.from_text(request.select.id)
        one = self._look(ident, request)
        if one is None:
            return {"found": False}
        try:
            headers = views.header_text([self._store.head(ident, views.HEADERS)])
        except FastrelayError as error:
            headers = f"(unreadable: {error})"
        again = self._look(ident, request)  # reading may have waited
        if again is None:
            return {"found": False}
        items = self._items(ident)
        places = {item.domain: views.place_of(item) for item in items}
        return {"found": True, **views.detail(again, places, self._site_of, headers, self._dues(items))}

    def _list(self, request: Request) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []

        def take(one: Found) -> None:
            items = self._items(one.ident)
            rows.append(views.row(one, {views.place_of(item) for item in items}, self._dues(items)))

        cursor = self._scan(request, take, _within(request.limit))
        return {"rows": rows, "next": cursor}

    def _summary(self, request: Request) -> dict[str, Any]:
        tally = views.Tally()
        select = request.select
        if self._schedule is not None and not select.id and select.sender is None and not select.older_than:
            return self._summary_of_schedule(self._schedule, request, tally)
        cursor = self._scan(request, lambda one: tally.add(one, self._dues(self._items(one.ident))), 0)
        return {**tally.result(self._site_of), "next": cursor}

    def _explain(self, request: Request) -> dict[str, Any]:
        if self._explainer is None:
            raise MisuseError("only a running relay can explain")
        select = request.select
        if bool(select.id) is bool(select.domain):
            raise MisuseError("explain a message or a domain")
        if select.domain:
            return {"explained": [self._explainer.domain(select.domain.lower())]}
        return {"explained": self._explainer.message(idents.from_text(select.id))}

    def _trace(self, request: Request) -> dict[str, Any]:
        if self._traces is None:
            raise MisuseError("only a running relay can be traced")
        return self._traces.poll(request.select.domain, request.client, request.watch)

    def _top(self, request: Request) -> dict[str, Any]:
        if self._pulse is None:
            raise MisuseError("only a running relay has a pulse")
        return self._pulse.report(clock.now())

    def _suspensions(self, request: Request) -> dict[str, Any]:
        """They have changed: they hold here when this is answered."""
        self._look_again()
        return {}

    def _summary_of_schedule(self, schedule: Schedule, request: Request, tally: views.Tally) -> dict[str, Any]:
        """The same of what the schedule knows, an eighth of the work: no envelope or state is decoded for it. The
        cursor is a shard's number."""
        start = int(request.after) if request.after.isdigit() else 0
        started = resumed = clock.now()
        sites: dict[str, str] = {}
        select = request.select
        for number in range(start, SHARDS):
            if number > start and clock.now() - started >= BUDGET:
                return {**tally.result(self._site_of), "next": f"{number:03d}"}
            wall = clock.wall()
            for count, first in enumerate(schedule.shard(number)):
                items = views.meant(first, select, sites, self._site_of)
                if items:
                    tally.add_items(items, self._store.size(first.ident), schedule.due_wall, wall)
                if count % _MANY == _MANY - 1 and clock.now() - resumed >= SLICE:
                    self._rest(SLICE)
                    resumed = clock.now()
        return {**tally.result(self._site_of), "next": None}

    # -- changing -------------------------------------------------------------------------------------------------

    def _retry(self, request: Request) -> dict[str, Any]:
        def change(found: list[Found]) -> int:
            now = clock.wall()
            self._store.record_synced([(one.ident, hastened(one, now)) for one in found])
            if self._schedule is not None:
                for one in found:
                    self._schedule.retry(one.ident)
            self._log("AdminRetry", found, request)
            return len(found)

        return self._change(request, change)

    def _hold(self, request: Request) -> dict[str, Any]:
        if not request.reason:
            raise MisuseError("a hold needs a reason: whoever finds it later will want to know")

        def change(found: list[Found]) -> int:
            if self._schedule is not None:
                for one in found:
                    self._schedule.hold(one.ident)
            try:
                self._store.record_synced([(one.ident, held(one, request.reason)) for one in found])
            except BaseException:
                self._unhold(found)
                raise
            self._log("AdminHold", found, request)
            return len(found)

        return self._change(request, change)

    def _release(self, request: Request) -> dict[str, Any]:
        def change(found: list[Found]) -> int:
            self._store.record_synced([(one.ident, held(one, "")) for one in found])
            if self._schedule is not None:
                for one in found:
                    self._schedule.release(one.ident)
            self._log("AdminRelease", found, request)
            return len(found)

        return self._change(request, change, lambda one: bool(one.state.held))

    def _remove(self, request: Request) -> dict[str, Any]:
        def change(found: list[Found]) -> int:
            off = [(one, taken_off(self._schedule, one.ident)) for one in found]
            try:
                self._store.record_synced([(one.ident, ended(one, Status.REMOVED)) for one in found])
            except BaseException:
                for one, standing in off:
                    put_back(self._schedule, one.ident, standing, ())
                raise
            for one, standing in off:
                put_back(self._schedule, one.ident, standing, one.indices)
            self._log("AdminRemove", found, request)
            return len(found)

        return self._change(request, change)

    def _bounce(self, request: Request) -> dict[str, Any]:
        notices = self._notices
        if notices is None:
            raise MisuseError("this slot writes no notices")
        if not request.reason:
            raise MisuseError("a bounce needs a reason: the sender reads it")
        desk = Returns(self._store, notices, request, self._log)

        def change(found: list[Found]) -> int:
            off = [(one, taken_off(self._schedule, one.ident)) for one in found]
            try:
                return desk.close(found)
            finally:
                for one, standing in off:
                    put_back(self._schedule, one.ident, standing, self._closed(one))

        return self._change(request, change, most=AT_ONCE if self._schedule is not None else 1)

    def _change(
        self,
        request: Request,
        change: Callable[[list[Found]], int],
        wanted: Callable[[Found], bool] = lambda one: True,
        most: int = 0,
    ) -> dict[str, Any]:
        """Find, then change batch by batch. Each batch is looked at anew: between two of them, mail went on.

        change: how many it changed; fewer than it was given, or MachineShort, when the machine takes no more now. What
        was changed before is told all the same.
        """
        if not request.select.says_something:
            raise MisuseError("say which mail: an ID, --domain, --site, --sender, --older-than or --all")
        most = most or _BATCH
        until = clock.now() + BUDGET
        found: list[bytes] = []
        cursor = self._scan(request, lambda one: found.append(one.ident), _within(request.limit))
        changed = busy = 0
        for start in range(0, len(found), most):
            if start and clock.now() >= until:
                cursor = idents.to_text(found[start - 1])
                break
            batch = []
            for ident in found[start : start + most]:
                one = self._look(ident, request)
                if one is None or not one.indices or not wanted(one):
                    continue
                if any(item.place is Place.RUNNING for item in self._items(ident)):
                    busy += 1
                else:
                    batch.append(one)
            if not batch:
                continue
            try:
                count = change(batch)
            except MachineShort as short:
                return {"changed": changed, "busy": busy, "next": None, "error": str(short), "code": 75}
            changed += count
            if count < len(batch):
                return {"changed": changed, "busy": busy, "next": None, "error": SHORT, "code": 75}
        return {"changed": changed, "busy": busy, "next": cursor}

    def _closed(self, one: Found) -> tuple[int, ...]:
        """Those of its recipients that are open no more."""
        if self._store.envelope(one.ident) is None:
            return one.indices
        recipients = self._store.state(one.ident).recipients
        return tuple(index for index in one.indices if not isinstance(recipients[index], Waiting))

    def _unhold(self, found: list[Found]) -> None:
        """These were held on the schedule, but it could not be written down: who was not held before is tried again, at
        the earliest of its times."""
        if self._schedule is None:
            return
        for one in found:
            if not one.state.held:
                due = min(
                    (standing.due for standing in one.state.recipients if isinstance(standing, Waiting)), default=0
                )
                self._schedule.release(one.ident, due)

    def _log(self, kind: str, found: Sequence[Found], request: Request, **more: Any) -> None:
        if self._eventlog is None:
            return
        for one in found:
            for index in one.indices:
                self._eventlog.write(
                    kind,
                    id=one.ident,
                    sender=one.envelope.sender,
                    recipient=one.envelope.recipients[index].address,
                    reason=request.reason,
                    who=request.who,
                    **more,
                )

    # -- looking through the queue --------------------------------------------------------------------------------

    def _scan(self, request: Request, take: Callable[[Found], object], most: int) -> str | None:
        """Hand up to `most` selected messages (0 = all) to `take`, in id order; the cursor, None at the end."""
        if request.select.id:
            one = self._look(idents.from_text(request.select.id), request)
            if one is not None and one.indices:
                take(one)
            return None
        after = idents.from_text(request.after) if request.after else None
        started = resumed = clock.now()
        looked = taken = 0
        while page := self._store.page(after, PAGE):
            for ident in page:
                after = ident
                one = self._look(ident, request)
                if one is not None and one.indices:
                    take(one)
                    taken += 1
                    if taken == most:
                        return idents.to_text(after)
                looked += 1
                if looked % _LOOKS == 0 and clock.now() - resumed >= SLICE:
                    if clock.now() - started >= BUDGET:
                        return idents.to_text(after)
                    self._rest(SLICE)
                    resumed = clock.now()
            if len(page) < PAGE:
                break
        return None

    def _look(self, ident: bytes, request: Request) -> Found | None:
        """The message as it stands now; None when it is not here. indices () when it is not selected."""
        envelope = self._store.envelope(ident)
        if envelope is None:
            return None
        state = self._store.state(ident)
        return Found(ident, envelope, state, chosen(request.select, envelope, state, clock.wall(), self._site_of))

    def _dues(self, items: list[Any]) -> dict[str, float]:
        """When the schedule looks at what waits, by domain."""
        if self._schedule is None:
            return {}
        due_wall = self._schedule.due_wall
        return {item.domain: due_wall(item) for item in items if item.place is Place.WAITING}

    def _items(self, ident: bytes) -> list[Any]:
        return self._schedule.items(ident) if self._schedule is not None else []


def _within(limit: int) -> int:
    return min(max(limit, 1), PAGE)


_VERBS: dict[str, Callable[[Control, Request], dict[str, Any]]] = {
    "status": Control._status,
    "summary": Control._summary,
    "list": Control._list,
    "show": Control._show,
    "retry": Control._retry,
    "hold": Control._hold,
    "release": Control._release,
    "remove": Control._remove,
    "bounce": Control._bounce,
    "suspensions": Control._suspensions,
    "explain": Control._explain,
    "trace": Control._trace,
    "top": Control._top,
}
