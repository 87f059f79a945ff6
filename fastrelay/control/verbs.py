"""Control: the verbs on one slot. What each promises stands in the package's docstring.

Errors are answers: {"error", "code"}: 64 for a request that makes no sense, 75 when the records cannot be written.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fastrelay.control import search, views
from fastrelay.control.bounce import AT_ONCE, SHORT, NoticeDesk, Returns
from fastrelay.control.explain import Explainer
from fastrelay.control.faces import Schedule, Strongbox
from fastrelay.control.pulse import Pulse
from fastrelay.control.request import PAGE, Found, Request, SiteOf, ended, hastened, held
from fastrelay.control.standing import put_back, taken_off
from fastrelay.control.traces import Traces
from fastrelay.errors import FastrelayError, MachineShort, MisuseError
from fastrelay.eventlog import EventLog
from fastrelay.mail import ident as idents
from fastrelay.mail.state import Status, Waiting
from fastrelay.runtime import clock, tasks
from fastrelay.schedule.item import Place

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
        "_schedule",
        "_search",
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
        self._search = search.Search(store, schedule, site_of, rest)
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
        one = self._search.look(ident, request)
        if one is None:
            return {"found": False}
        try:
            headers = views.header_text([self._store.head(ident, views.HEADERS)])
        except FastrelayError as error:
            headers = f"(unreadable: {error})"
        again = self._search.look(ident, request)  # reading may have waited
        if again is None:
            return {"found": False}
        items = self._search.items(ident)
        places = {item.domain: views.place_of(item) for item in items}
        return {"found": True, **views.detail(again, places, self._site_of, headers, self._search.dues(items))}

    def _list(self, request: Request) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []

        def take(one: Found) -> None:
            items = self._search.items(one.ident)
            rows.append(views.row(one, {views.place_of(item) for item in items}, self._search.dues(items)))

        cursor = self._search.scan(request, take, _within(request.limit))
        return {"rows": rows, "next": cursor}

    def _summary(self, request: Request) -> dict[str, Any]:
        return self._search.summary(request)

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

    # -- changing -------------------------------------------------------------------------------------------------

    def _retry(self, request: Request) -> dict[str, Any]:
        def change(found: list[Found]) -> int:
            now = clock.wall()
            self._store.record_synced([(one.ident, hastened(one, now)) for one in found])
            if self._schedule is not None:
                for one in found:
                    self._schedule.retry(one.ident, one.indices)
            self._log("AdminRetry", found, request)
            return len(found)

        return self._change(request, change, self._may_go)

    def _may_go(self, one: Found) -> bool:
        """Neither on hold nor suspended: a retry would do nothing to it."""
        if one.state.held:
            return False
        items = self._search.items(one.ident)
        stopped = [item for item in items if views.place_of(item) == "suspended"]
        return not {*one.indices} <= {index for item in stopped for index in item.indices}

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
            raise MisuseError("say which mail: an ID, --domain, --site, --sender, --older-than, --reply or --all")
        most = most or _BATCH
        until = clock.now() + search.BUDGET
        found: list[bytes] = []
        cursor = self._search.scan(request, lambda one: found.append(one.ident), _within(request.limit))
        changed = busy = 0
        for start in range(0, len(found), most):
            if start and clock.now() >= until:
                cursor = idents.to_text(found[start - 1])
                break
            batch = []
            for ident in found[start : start + most]:
                one = self._search.look(ident, request)
                if one is None or not one.indices or not wanted(one):
                    continue
                if any(item.place is Place.RUNNING for item in self._search.items(ident)):
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
