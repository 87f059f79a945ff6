"""`fastrelay status`: is it running, and what does it do?"""

from collections import Counter
from typing import Any

import click
import msgspec

from fastrelay.cli import columns, exits
from fastrelay.cli.api import Api
from fastrelay.cli.options import AS_JSON, CONFIG_FILE
from fastrelay.config import load


@click.command()
@CONFIG_FILE
@AS_JSON
def status(file: str | None, as_json: bool) -> int:
    """Say whether a running relay is healthy, and what it does.

    Exit code 0; 69 when none runs with this configuration; 75 when a worker did not answer (the others are shown)
    or is still loading its mail.

    Example:  fastrelay status --json | jq .messages
    """
    told = Api(load(file)).get("status") or {}
    if as_json:
        print(msgspec.json.encode(told).decode())
    else:
        print("\n".join(page(told)))
    return exits.TEMPORARY if told.get("incomplete") else exits.OK


def page(told: dict[str, Any]) -> list[str]:
    """The answer of /api/v1/status as lines."""
    workers: list[dict[str, Any]] = told.get("workers", [])
    out = [_verdict(told, workers)]
    sessions = sum(worker.get("sessions", 0) for worker in workers)
    out += [
        f"fastrelay {told.get('version', '?')} on {columns.clean(str(told.get('hostname', '?')))}, "
        f"master {told.get('master', '?')}, configuration {columns.clean(str(told.get('config', '?')))}",
        f"{columns.counted(told.get('messages', 0), 'message')} queued, {columns.counted(sessions, 'client session')}"
        + (f", metrics on http://{told['admin']}/metrics" if told.get("admin") else ""),
        "",
    ]
    rows = [
        (
            f"slot-{worker['slot']:03d}",
            str(worker.get("pid", "")),
            worker.get("state", "unknown") + ("" if worker.get("fresh", True) else " (silent)"),
            worker.get("sessions", ""),
            worker.get("load", ""),
            worker.get("messages", ""),
            *(_place(worker, place) for place in _PLACES),
        )
        for worker in workers
    ]
    out += columns.lines(("WORKER", "PID", "STATE", "SESSIONS", "SENDING", "QUEUED", *map(str.upper, _PLACES)), rows)
    loading = {worker["slot"] for worker in workers if worker.get("loading")}
    whys = {error["slot"]: error["error"] for error in told.get("errors", ())}
    for slot in told.get("incomplete", ()):
        why = whys.get(slot, "its worker did not answer")
        counted = "not all" if slot in loading else "none"
        out.append(f"slot-{slot:03d}: {columns.clean(why)} ({counted} of its mail is counted above)")
    return out


def _verdict(told: dict[str, Any], workers: list[dict[str, Any]]) -> str:
    """Is it healthy? One line: what is wrong, or that nothing is."""
    states = Counter(worker.get("state", "unknown") for worker in workers if worker.get("fresh", True))
    wrong = [] if states["ready"] else ["no worker takes mail"]
    for worker in workers:
        name = f"slot-{worker['slot']:03d}"
        if not worker.get("fresh", True):
            wrong.append(f"{name} has been silent for {columns.span(worker.get('beat_age', 0.0))}")
        if refused := worker.get("room", {}).get("refused"):
            wrong.append(f"{name} refuses new mail: {refused}")
        for room, key, what in _COUNTED:
            if count := worker.get(room, {}).get(key):
                wrong.append(f"{name}: {count:,} {what}")
    wrong += [f"slot-{slot:03d} is not wholly known" for slot in told.get("incomplete", ())]
    suspended = told.get("suspended", 0)
    aside = f"; {suspended:,} suspended, see fastrelay suspend" if suspended else ""
    if wrong:
        return columns.clean(f"trouble: {'; '.join(wrong)}{aside}")
    ready = f"healthy: {columns.counted(states['ready'], 'worker')} ready"
    others = "".join(f", {count} {state}" for state, count in sorted(states.items()) if state != "ready")
    return f"{ready}{others}{aside}"


_COUNTED = (
    ("schedule", "orphans", "orphans"),
    ("log", "lost", "lines of the event log lost"),
    ("spool", "quarantined", "damaged pieces of the spool set aside"),
)
_PLACES = ("waiting", "ready", "held")


def _place(worker: dict[str, Any], place: str) -> object:
    """How many items of the worker's schedule are in that place, "" where it does not say."""
    return worker.get("schedule", {}).get(place, "")
