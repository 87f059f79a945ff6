"""Why mail is where it is, in one plain sentence. Pure: from the facts explain.py gathered to words.

The first thing that holds mail back is named, in the order it would meet them: an operator, the name servers, the site,
a limit, the line; what is behind it does not matter yet. A message that a runner has in hand is being delivered only
once it has a connection: until then it may wait for one for half a minute.
"""

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]

DAY = 86400.0
_BY_NAME = ("site", "domain")  # a suspension of these is before all mail to a domain
_LOGIN_REFUSED = ("534 ", "535 ")  # RFC 4954 6: no other command is answered so
_COMES_BACK = 1.1  # what waits for a lane to resume comes within a tenth of the pause more (schedule/places.py)


def sentence(facts: Facts) -> str:
    """facts: as explain.py's `domain` gathers them."""
    found = facts["queued"]
    items = found["items"]
    if not items:
        return f"nothing is queued for {facts['domain']} here"
    linked = found["places"].get("running", 0) - found["unconnected"]
    if linked <= 0:
        return _held_back(facts, items)
    if linked >= items:
        return f"being delivered this moment: {_messages(items)}" if items > 1 else "being delivered this moment"
    others = _held_back(facts, items - linked)
    return f"being delivered this moment: {linked:,} of {_messages(items)}; of the others: {others}"


def _held_back(facts: Facts, count: int) -> str:
    """What keeps those `count` items that are not on a connection."""
    found, lane, site = facts["queued"], facts["lane"], facts["site"]
    places = found["places"]
    held, stopped = places.get("held", 0), places.get("suspended", 0)
    if held >= count:
        why = f": {facts['held']}" if facts["held"] else ""
        return f"waiting because it is on hold{why}; `fastrelay queue release` ends that{_expiry(found, DAY)}"
    for bar in facts["suspensions"]:
        if bar["kind"] in _BY_NAME or stopped + held >= count or count == 1:
            seconds = bar["seconds"]
            until = f"for another {_span(seconds)}" if seconds is not None else "until it is resumed"
            ends = _expiry(found, DAY if seconds is None else seconds)
            return f"waiting because {bar['kind']} {bar['name'] or '<>'} is suspended {until}: {bar['reason']}{ends}"
    aside = f"; {stopped + held:,} of its {_messages(count)} are suspended or on hold" if stopped + held else ""
    return _on_the_way(facts, site, lane, bool(places.get("ready") or found["unconnected"])) + aside


def _on_the_way(facts: Facts, site: str, lane: Facts | None, in_lane: bool) -> str:
    """What no operator has stopped. in_lane: some of it is due, and knows its site."""
    found = facts["queued"]
    if facts["ending"]:
        return "waiting because this worker is ending; whoever takes its mail over goes on with it"
    if found["places"].get("routing"):
        return "waiting because the name servers have not answered where its mail goes"
    if facts["route"] is None and facts["outcome"]:
        return f"waiting because there is no way to {facts['domain']}: {facts['outcome']}; {_next(found)}"
    rest = lane["suspended_seconds"] if lane is not None else 0.0
    if lane is not None and rest and (in_lane or (found["next_seconds"] or 0.0) <= rest * _COMES_BACK + 2.0):
        after = f"; {_next(found)}" if found["places"].get("waiting") else ""
        return f"waiting because {site} gets a rest of another {_span(rest)}: {_with_login(facts, lane['why'])}{after}"
    if in_lane:
        return _in_line(facts)
    last = f": {_with_login(facts, found['last'])}" if found["last"] else ""
    if found["attempts"]:
        return f"waiting because its last attempt was put off{last}; {_next(found)}"
    return f"waiting for its time; {_next(found)}"


def _with_login(facts: Facts, said: str) -> str:
    """A reply, or why a site rests, which ends in one; and whose password it was, where one was refused."""
    refused = facts["login"] and said.rpartition("last: ")[2].startswith(_LOGIN_REFUSED)
    return f'{said} (login of [[credentials]] "{facts["login"]}")' if refused else said


def _in_line(facts: Facts) -> str:
    lane, limits, ledger = facts["lane"], facts["limits"], facts["ledger"]
    site, found = facts["site"], facts["queued"]
    behind = f"; {lane['ready']:,} wait in its lane" if lane is not None and lane["ready"] else ""
    if found.get("position"):
        behind = f"; it is number {found['position']:,} of {lane['ready']:,} in its lane"
    if found["unconnected"] and not (lane is not None and lane["in_line"]):
        return f"waiting because the connection to {site} is being made this moment{behind}"
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
    if lane is not None and lane["working"] >= lane["window"]["size"]:
        return f"waiting because {lane['working']} are being delivered, as many as the window of {site} allows{behind}"
    return f"about to be delivered{behind}"


def _next(found: Facts) -> str:
    seconds = found["next_seconds"]
    if seconds is None:
        return "no next attempt"
    if found["next_is_expiry"]:
        return f"no attempt is left before it expires in {_span(seconds)}"
    ends = _expiry(found, 2.0 * seconds)
    return (f"the next attempt is in {_span(seconds)}" if seconds > 0.0 else "the next attempt is now") + ends


def _expiry(found: Facts, within: float) -> str:
    """Told where it comes before `within` seconds."""
    seconds = found["expires_seconds"]
    return f"; it expires in {_span(seconds)}" if seconds is not None and seconds <= within else ""


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


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
