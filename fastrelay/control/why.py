"""Why mail is where it is, in one plain sentence. Pure: from the facts explain.py gathered to words.

The first thing that holds mail back is named, in the order it would meet them: an operator, the name servers, the site,
a limit, the line; what is behind it does not matter yet.
"""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]


def sentence(facts: Facts) -> str:
    """facts: as explain.py's `domain` gathers them."""
    found = facts["queued"]
    if not found["items"]:
        return f"nothing is queued for {facts['domain']} here"
    held = found["places"].get("held", 0)
    if held == found["items"]:
        why = f": {facts['held']}" if facts.get("held") else ""
        return f"waiting because it is on hold{why}; `fastrelay queue release` ends that"
    for bar in facts["suspensions"]:
        until = f"for another {_span(bar['seconds'])}" if bar["seconds"] is not None else "until it is resumed"
        return f"waiting because {bar['kind']} {bar['name'] or '<>'} is suspended {until}: {bar['reason']}"
    places = found["places"]
    if places.get("running"):
        return f"being delivered this moment: {places['running']:,} of {found['items']:,} {_messages(found['items'])}"
    route = facts["route"]
    if places.get("routing"):
        return "waiting because the name servers have not answered where its mail goes"
    if route is None and facts["outcome"]:
        return f"waiting because there is no way to {facts['domain']}: {facts['outcome']}; {_next(found)}"
    lane = facts["lane"]
    if lane is not None and lane["suspended_seconds"]:
        return (
            f"waiting because {facts['site']} gets a rest of another {_span(lane['suspended_seconds'])}: {lane['why']}"
        )
    if places.get("ready"):
        return _in_line(facts)
    last = f": {found['last']}" if found["last"] else ""
    if found["attempts"]:
        return f"waiting because its last attempt was put off{last}; {_next(found)}"
    return f"waiting for its time; {_next(found)}"


def _in_line(facts: Facts) -> str:
    lane, limits, ledger = facts["lane"], facts["limits"], facts["ledger"]
    site, found = facts["site"], facts["queued"]
    behind = f"; {lane['ready']:,} wait in its lane" if lane is not None else ""
    if found.get("position"):
        behind = f"; it is number {found['position']:,} of {lane['ready']:,} in its lane"
    most = limits["connections"]["value"]
    if ledger is not None and ledger["connections"] >= most:
        return f"waiting because all {most} connections of this machine to {site} are in use{behind}"
    if ledger is not None and ledger["rate_seconds"] > 0.0:
        rate = limits["connect_rate"]["value"]
        return (
            f"waiting because the next connection to {site} may begin in {ledger['rate_seconds']:.1f} s "
            f"(connect_rate {rate}){behind}"
        )
    if lane is not None and lane["window"]["closed_seconds"]:
        return f"waiting because {lane['window']['word']}; the window is {lane['window']['size']}{behind}"
    if lane is not None and lane["sending"] >= lane["window"]["size"]:
        return f"waiting because {lane['sending']} are being delivered, as many as the window of {site} allows{behind}"
    return f"about to be delivered{behind}"


def _next(found: Facts) -> str:
    seconds = found["next_seconds"]
    if seconds is None:
        return "no next attempt"
    return f"the next attempt is in {_span(seconds)}" if seconds > 0.0 else "the next attempt is now"


def _messages(count: int) -> str:
    return "message" if count == 1 else "messages"


def _span(seconds: float) -> str:
    """ "40 s", "12 min", "3 h 20 min", "2 d": as a person says it."""
    if seconds < 90:
        return f"{max(seconds, 1.0):.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours, rest = divmod(round(minutes), 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours / 24:.0f} d"
