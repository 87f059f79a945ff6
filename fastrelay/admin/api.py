"""/api/v1: the queue and the state of the relay, over all workers, as JSON.

GET  /api/v1/status                 workers, and what each says of its rooms
GET  /api/v1/queue/summary          sums by domain             ?domain= site= sender= older_than=SECONDS held=true|false
GET  /api/v1/queue                  a page of rows             the same, and after=ID limit=N (1,000 at most)
GET  /api/v1/queue/ID               everything about one message
POST /api/v1/queue/VERB             retry, hold, release, remove   {"select": {...}, "reason": "...", "who": "..."}

Every answer has `incomplete`: the slots it does not cover, or not wholly, as one that is still loading its mail;
`errors` says why, where a slot said so. An error is {"error": text, "code": sysexits code}, with status 400 for what
makes no sense, 404 for no such thing, 503 when nothing could be done now.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from fastrelay import __version__
from fastrelay.admin import merge
from fastrelay.admin.http import HttpError, Request, Response, json_response
from fastrelay.admin.merge import Answer

ROOT = "/api/v1/"
LIMIT = 1000
VERBS = ("retry", "hold", "release", "bounce", "remove")
_STATUS = {64: 400, 75: 503}  # sysexits -> HTTP; everything else is 500


class Slots(Protocol):
    """Asks every slot (fanout.py)."""

    def ask_all(self, request: Answer, *, pages: bool = False) -> tuple[list[Answer], list[int]]: ...


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a changing request; `select` is checked by the slots."""

    select: dict[str, Any]
    reason: str = ""
    who: str = ""
    silent: bool = False


class Api:
    """workers: what the shared page says, for `status`. about: fixed facts for `status` (hostname, started, master)."""

    __slots__ = ("_about", "_slots", "_workers")

    def __init__(
        self, slots: Slots, workers: Callable[[], list[dict[str, object]]], about: dict[str, object] | None = None
    ) -> None:
        self._slots = slots
        self._workers = workers
        self._about = about or {}

    def handle(self, request: Request, body: bytes) -> Response:
        """The answer to a request under ROOT. Waits for the slots."""
        path = request.path.removeprefix(ROOT)
        if path == "status":
            return _get(request, self._status)
        if path == "queue":
            return _get(request, self._list)
        if path == "queue/summary":
            return _get(request, self._summary)
        noun, slash, name = path.partition("/")
        if noun != "queue" or not slash or not name or "/" in name:
            raise HttpError(404, f"nothing at {request.path}")
        if name in VERBS:
            if request.method != "POST":
                raise HttpError(405, "POST")
            return self._change(name, body)
        return _get(request, lambda request: self._show(name))

    def _status(self, request: Request) -> Response:
        answers, missing = self._slots.ask_all({"verb": "status"})
        failed = {answer["slot"] for answer in merge.errors(answers)}
        rooms = {answer["slot"]: answer for answer in answers if answer["slot"] not in failed}
        workers: list[dict[str, Any]] = [{**worker, **rooms.pop(worker["slot"], {})} for worker in self._workers()]
        workers += [{"state": "unknown", **rooms[slot]} for slot in sorted(rooms)]
        messages = sum(worker.get("messages", 0) for worker in workers)
        return json_response(
            {
                "version": __version__,
                **self._about,
                "workers": workers,
                "messages": messages,
                "incomplete": sorted({*missing, *failed, *(one["slot"] for one in merge.unfinished(answers))}),
            }
        )

    def _list(self, request: Request) -> Response:
        query = dict(request.query)
        limit = _number(query.pop("limit", str(LIMIT)), "limit")
        limit = int(min(max(limit, 1), LIMIT))
        wanted = {"verb": "list", "after": query.pop("after", ""), "limit": limit, "select": selector(query)}
        answers, missing = self._slots.ask_all(wanted)
        return _merged(answers, missing, merge.lists(answers, limit))

    def _summary(self, request: Request) -> Response:
        wanted = {"verb": "summary", "select": selector(dict(request.query))}
        answers, missing = self._slots.ask_all(wanted, pages=True)
        return _merged(answers, missing, merge.summaries(answers))

    def _show(self, ident: str) -> Response:
        answers, missing = self._slots.ask_all({"verb": "show", "select": {"id": ident}})
        found = merge.shown(answers)
        if found is not None:
            return json_response({**found, "incomplete": []})  # a message is in one slot only
        if merge.errors(answers) or missing or merge.unfinished(answers):
            return _merged(answers, missing, {"found": False})
        return json_response({"error": f"no message {ident} in the queue", "code": 65, "incomplete": []}, 404)

    def _change(self, verb: str, body: bytes) -> Response:
        try:
            order = msgspec.json.decode(body, type=Order)
        except msgspec.MsgspecError as error:
            return json_response({"error": f"bad request: {error}", "code": 64}, 400)
        wanted = {"verb": verb, **msgspec.to_builtins(order)}
        answers, missing = self._slots.ask_all(wanted, pages=True)
        return _merged(answers, missing, merge.changes(answers))


def selector(query: dict[str, str]) -> dict[str, Any]:
    """The `select` of a request from its query string; HttpError 400 names what is unknown."""
    select: dict[str, Any] = {}
    for key, value in query.items():
        if key in ("id", "domain", "site", "sender"):
            select[key] = value
        elif key == "older_than":
            select[key] = _number(value, key)
        elif key == "held" and value in ("true", "false"):
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


def _get(request: Request, serve: Callable[[Request], Response]) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise HttpError(405, "GET")
    return serve(request)


def _merged(answers: list[Answer], missing: list[int], merged: Answer) -> Response:
    """What could be done, and where it could not; an error when no slot could."""
    failed = merge.errors(answers)
    senseless = next((answer for answer in failed if answer["code"] == 64), None)
    nothing_done = not merged.get("changed")
    if senseless is not None or (failed and len(failed) == len(answers) and not missing and nothing_done):
        first = senseless or failed[0]
        error = {"error": first["error"], "code": first["code"], "incomplete": missing}
        return json_response(error, _STATUS.get(first["code"], 500))
    failed += merge.unfinished(answers)
    short = sorted({*missing, *(answer["slot"] for answer in failed)})
    notes = {"errors": [{"slot": answer["slot"], "error": answer["error"]} for answer in failed]} if failed else {}
    return json_response({**merged, "incomplete": short, **notes})
