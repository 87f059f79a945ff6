"""/api/v1: the queue and the state of the relay, over all workers, as JSON.

What there is to ask stands in OPERATIONS, at the end: the table that routes a request also makes the OpenAPI document
at /api/v1/openapi.json. Every answer has `incomplete`: the slots it does not cover, or not wholly, as one that is still
loading its mail; `errors` says why, where that is known. An error is {"error": text, "code": sysexits code}, with
status 400 for what makes no sense, 404 for no such thing, 503 when nothing could be done now.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from fastrelay import __version__
from fastrelay.admin import answers as shapes
from fastrelay.admin import merge, openapi
from fastrelay.admin.http import HttpError, Request, Response, json_response
from fastrelay.admin.merge import Answer
from fastrelay.admin.openapi import Operation, Parameter
from fastrelay.admin.pulse import pulse
from fastrelay.errors import MachineShort, MisuseError
from fastrelay.process.suspensions import Suspension, checked

ROOT = "/api/v1/"
LIMIT = 1000
FEWEST = 20  # rows a slot is asked for; mail spreads evenly, so a page is made of a share from each: none for nothing
VERBS = ("retry", "hold", "release", "bounce", "remove")
_STATUS = {64: 400, 75: 503}  # sysexits -> HTTP; everything else is 500


class Slots(Protocol):
    """Asks every slot (fanout.py)."""

    def slots(self) -> list[int]: ...
    def ask_all(self, request: Answer, *, pages: bool = False) -> tuple[list[Answer], list[int]]: ...
    def whys(self, slots: list[int]) -> dict[int, str]: ...


class Stops(Protocol):
    """What is suspended (process/suspensions.py). MisuseError, MachineShort."""

    def now(self, wall: float) -> tuple[Suspension, ...]: ...
    def add(self, new: Suspension, wall: float) -> tuple[Suspension, ...]: ...
    def end(self, kind: str, name: str, wall: float) -> tuple[bool, tuple[Suspension, ...]]: ...


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a changing request; `select` is checked by the slots. silent: a bounce that tells nobody."""

    select: dict[str, Any]
    reason: str = ""
    who: str = ""
    silent: bool = False


class Suspend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to stop: kind is site, domain, sender, sender-domain or client. seconds: 0 = until it is resumed."""

    kind: str
    name: str
    reason: str
    seconds: float = 0.0
    who: str = ""


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to let go again."""

    kind: str
    name: str
    reason: str = ""
    who: str = ""


class Ask(NamedTuple):
    """A request that was understood. word: what stood for the {word} of the path. body: decoded, where there is one."""

    query: dict[str, str]
    word: str
    body: Any


class Api:
    """workers: what the shared page says, for `status`. about: fixed facts for `status` (hostname, started, master).

    stops: the suspensions; note: writes an event line.
    """

    __slots__ = ("_about", "_note", "_slots", "_stops", "_workers")

    def __init__(
        self,
        slots: Slots,
        workers: Callable[[], list[dict[str, object]]],
        about: dict[str, object] | None = None,
        *,
        stops: Stops | None = None,
        note: Callable[..., None] = lambda kind, /, **fields: None,
    ) -> None:
        self._slots = slots
        self._workers = workers
        self._about = about or {}
        self._stops = stops
        self._note = note

    def handle(self, request: Request, body: bytes) -> Response:
        """The answer to a request under ROOT. Waits for the slots."""
        path = request.path.removeprefix(ROOT)
        word = ""
        methods = _ROUTES.get(path)
        if methods is None:
            head, slash, word = path.rpartition("/")
            methods = _ROUTES.get(f"{head}/{{}}") if slash and word else None
        if methods is None:
            raise HttpError(404, f"nothing at {request.path}; see {ROOT}openapi.json")
        found = methods.get("GET" if request.method == "HEAD" else request.method)
        if found is None:
            allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
            raise HttpError(405, f"{' or '.join(allowed)} here, not {request.method}", f"Allow: {', '.join(allowed)}")
        operation, serve = found
        names = {parameter.name for parameter in operation.query}
        for key, value in request.query.items():
            if key not in names:
                raise HttpError(400, f"{key}={value}: not known here")
        decoded = None
        if operation.body is not None:
            try:
                decoded = msgspec.json.decode(body, type=operation.body)
            except msgspec.MsgspecError as error:
                return json_response({"error": f"bad request: {error}", "code": 64}, 400)
        try:
            return serve(self, Ask(request.query, word, decoded))
        except MisuseError as error:
            return json_response({"error": str(error), "code": 64}, 400)

    # -- looking on -----------------------------------------------------------------------------------------------

    def _document(self, ask: Ask) -> Response:
        return json_response(openapi.document((one for one, _ in OPERATIONS), ROOT, __version__))

    def _status(self, ask: Ask) -> Response:
        answers, missing = self._slots.ask_all({"verb": "status"})
        failed = {answer["slot"] for answer in merge.errors(answers)}
        rooms = {answer["slot"]: answer for answer in answers if answer["slot"] not in failed}
        workers: list[dict[str, Any]] = [{**worker, **rooms.pop(worker["slot"], {})} for worker in self._workers()]
        workers += [{"state": "unknown", **rooms[slot]} for slot in sorted(rooms)]
        messages = sum(worker.get("messages", 0) for worker in workers)
        known: Answer = {"version": __version__, **self._about, "workers": workers, "messages": messages}
        if self._stops is not None:
            with contextlib.suppress(MachineShort):  # the workers say so on their stderr
                known["suspended"] = len(self._stops.now(time.time()))
        return json_response({**known, **self._short(answers, missing)})

    def _list(self, ask: Ask) -> Response:
        query = dict(ask.query)
        limit = _number(query.pop("limit", str(LIMIT)), "limit")
        limit = int(min(max(limit, 1), LIMIT))
        share = max(-(-limit // max(len(self._slots.slots()), 1)), min(limit, FEWEST))
        wanted = {"verb": "list", "after": query.pop("after", ""), "limit": share, "select": selector(query)}
        answers, missing = self._slots.ask_all(wanted)
        return self._merged(answers, missing, merge.lists(answers, limit))

    def _summary(self, ask: Ask) -> Response:
        wanted = {"verb": "summary", "select": selector(ask.query)}
        answers, missing = self._slots.ask_all(wanted, pages=True)
        return self._merged(answers, missing, merge.summaries(answers))

    def _show(self, ask: Ask) -> Response:
        answers, missing = self._slots.ask_all({"verb": "show", "select": {"id": ask.word}})
        found = merge.shown(answers)
        if found is not None:
            return json_response({**found, "incomplete": []})  # a message is in one slot only
        if merge.errors(answers) or missing or merge.unfinished(answers):
            return self._merged(answers, missing, {"found": False})
        return json_response({"error": f"no message {ask.word} in the queue", "code": 65, "incomplete": []}, 404)

    def _explain(self, ask: Ask) -> Response:
        if len(ask.query) != 1:
            raise HttpError(400, "explain one domain, or one id")
        answers, missing = self._slots.ask_all({"verb": "explain", "select": dict(ask.query)})
        sure = not missing and not merge.errors(answers) and not merge.unfinished(answers)
        merged = merge.explanations(answers, ask.query.get("domain", ""), sure=sure)
        if not merged["explained"] and sure:
            return json_response({"error": f"no message {ask.query['id']} in the queue", "code": 65}, 404)
        return self._merged(answers, missing, merged)

    def _trace(self, ask: Ask) -> Response:
        wanted = {
            "verb": "trace",
            "select": {"domain": ask.query.get("domain", "")},
            "client": ask.query.get("client", ""),
            "watch": ask.query.get("watch", ""),
        }
        answers, missing = self._slots.ask_all(wanted)
        lines = [line | {"slot": answer["slot"]} for answer in answers for line in answer.get("lines", ())]
        lines.sort(key=lambda line: line["at"])
        lost = sum(answer.get("lost", 0) for answer in answers)
        return self._merged(answers, missing, {"lines": lines, "lost": lost})

    def _top(self, ask: Ask) -> Response:
        answers, missing = self._slots.ask_all({"verb": "top"})
        return self._merged(answers, missing, pulse(answers, time.time()))

    # -- changing -------------------------------------------------------------------------------------------------

    def _change(self, verb: str, ask: Ask) -> Response:
        wanted = {"verb": verb, **msgspec.to_builtins(ask.body)}
        answers, missing = self._slots.ask_all(wanted, pages=True)
        return self._merged(answers, missing, merge.changes(answers))

    def _suspensions(self, ask: Ask) -> Response:
        return json_response({"suspensions": self._stopped().now(time.time()), "incomplete": []})

    def _suspend(self, ask: Ask) -> Response:
        order: Suspend = ask.body
        now = time.time()
        if not 0.0 <= order.seconds < 1e10:
            raise HttpError(400, "seconds: 0 = until it is resumed, or how long")
        until = now + order.seconds if order.seconds else 0.0
        kept = self._stopped().add(Suspension(order.kind, order.name, now, until, order.reason, order.who), now)
        new = kept[-1]
        self._note("AdminSuspend", kind=new.kind, name=new.name, seconds=order.seconds, reason=new.reason, who=new.who)
        return self._tell_workers(kept, changed=True)

    def _resume(self, ask: Ask) -> Response:
        order: Resume = ask.body
        changed, kept = self._stopped().end(order.kind, order.name, time.time())
        if changed:
            name = checked(Suspension(order.kind, order.name, 0.0, reason="-")).name
            self._note("AdminResume", kind=order.kind, name=name, reason=order.reason, who=order.who)
        return self._tell_workers(kept, changed=changed)

    def _stopped(self) -> Stops:
        if self._stops is None:
            raise HttpError(404, "no suspensions here")
        return self._stops

    def _tell_workers(self, kept: tuple[Suspension, ...], *, changed: bool) -> Response:
        """It is in the file: a worker that does not answer now reads it within a second, or when it starts."""
        answers, missing = self._slots.ask_all({"verb": "suspensions"})
        return self._merged(answers, missing, {"suspensions": kept, "changed": changed})

    def _merged(self, answers: list[Answer], missing: list[int], merged: Answer) -> Response:
        """What could be done, and where it could not; an error when no slot could."""
        failed = merge.errors(answers)
        senseless = next((answer for answer in failed if answer["code"] == 64), None)
        nothing_done = not merged.get("changed")
        if senseless is not None or (failed and len(failed) == len(answers) and not missing and nothing_done):
            first = senseless or failed[0]
            error = {"error": first["error"], "code": first["code"], "incomplete": missing}
            return json_response(error, _STATUS.get(first["code"], 500))
        return json_response({**merged, **self._short(answers, missing)})

    def _short(self, answers: list[Answer], missing: list[int]) -> Answer:
        """`incomplete`, and `errors` where it is known why."""
        failed = [*merge.errors(answers), *merge.unfinished(answers)]
        whys = {**self._slots.whys(missing), **{answer["slot"]: answer["error"] for answer in failed}}
        notes = {"errors": [{"slot": slot, "error": whys[slot]} for slot in sorted(whys)]} if whys else {}
        return {"incomplete": sorted({*missing, *whys}), **notes}


def selector(query: dict[str, str]) -> dict[str, Any]:
    """The `select` of a request from its query string; HttpError 400 names what makes no sense."""
    select: dict[str, Any] = {}
    for key, value in query.items():
        if key in ("id", "domain", "site", "sender", "reply"):
            select[key] = value
        elif key == "older_than":
            select[key] = _number(value, key)
        elif key in ("held", "all") and value in ("true", "false"):
            select[key] = value == "true"
        else:
            raise HttpError(400, f"{key}={value}: not a selector")
    return select


def _number(text: str, key: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e12:
        raise HttpError(400, f"{key}={text}: not a number")
    return number


# -- the table ------------------------------------------------------------------------------------------------------

Serve = Callable[[Api, Ask], Response]

_SELECTORS = (
    Parameter("id", str, "one message"),
    Parameter("domain", str, "recipients at this domain"),
    Parameter("site", str, "recipients whose mail goes to this site"),
    Parameter("sender", str, 'messages of this sender; "" for the null sender'),
    Parameter("older_than", float, "messages received that many seconds ago or earlier"),
    Parameter("reply", str, "recipients whose last reply has this text in it, in either case"),
    Parameter("held", bool, "only messages on hold, or only others"),
    Parameter("all", bool, "everything, said on purpose"),
)
_PAGING = (Parameter("after", str, "the `next` of the page before"), Parameter("limit", int, "rows at most, 1,000"))
_DOES = {
    "retry": "Due now instead of at its next attempt",
    "hold": "Keep it in the queue without trying to deliver it; a reason is needed",
    "release": "End a hold",
    "bounce": "Return it to its senders with the reason, which is needed",
    "remove": "Remove it for good; its sender is not told",
}


def _changing(verb: str) -> tuple[Operation, Serve]:
    operation = Operation("POST", f"queue/{verb}", f"{verb}_mail", _DOES[verb], shapes.Changed, body=Order)
    return operation, lambda api, ask: api._change(verb, ask)


OPERATIONS: tuple[tuple[Operation, Serve], ...] = (
    (Operation("GET", "openapi.json", "openapi", "This document"), Api._document),
    (Operation("GET", "status", "status", "Workers, and what each says of its rooms", shapes.Status), Api._status),
    (
        Operation("GET", "queue/summary", "summary", "Sums of what waits, by domain", shapes.Summary, _SELECTORS),
        Api._summary,
    ),
    (Operation("GET", "queue", "list", "A page of rows", shapes.Page, (*_SELECTORS, *_PAGING)), Api._list),
    (Operation("GET", "queue/{id}", "show", "Everything about one message", shapes.Message), Api._show),
    *(_changing(verb) for verb in VERBS),
    (Operation("GET", "top", "top", "What was done in the last minute", shapes.Top), Api._top),
    (
        Operation(
            "GET",
            "trace",
            "trace",
            "SMTP dialogue since your last call with these filters; ask several times a second",
            shapes.Dialogue,
            (
                Parameter("domain", str, "transactions with a recipient at this domain"),
                Parameter("client", str, "sessions of clients of this address or network"),
                Parameter("watch", str, "a name of your own: of several who ask under one each sees only a part"),
            ),
        ),
        Api._trace,
    ),
    (
        Operation(
            "GET",
            "explain",
            "explain",
            "Why mail to a domain, or one message, is where it is",
            shapes.Explained,
            (Parameter("domain", str, "a recipient domain"), Parameter("id", str, "a message")),
        ),
        Api._explain,
    ),
    (
        Operation("GET", "suspensions", "suspensions", "What is suspended", shapes.Suspensions),
        Api._suspensions,
    ),
    (
        Operation(
            "POST", "suspend", "suspend", "Stop mail, also such as comes later", shapes.Suspensions, body=Suspend
        ),
        Api._suspend,
    ),
    (Operation("POST", "resume", "resume", "Let it go again", shapes.Suspensions, body=Resume), Api._resume),
)


def _routes() -> dict[str, dict[str, tuple[Operation, Serve]]]:
    """By path, its {word} taken out, then by method."""
    routes: dict[str, dict[str, tuple[Operation, Serve]]] = {}
    for operation, serve in OPERATIONS:
        path = "/".join("{}" if part.startswith("{") else part for part in operation.path.split("/"))
        routes.setdefault(path, {})[operation.method] = (operation, serve)
    return routes


_ROUTES = _routes()
