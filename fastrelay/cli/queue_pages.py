"""What `fastrelay queue` prints: answers of the API as lines for a person. Pure; `now` rides in the answer."""

from typing import Any

from fastrelay.cli.columns import clean, lines, moment, room, size, span

Answer = dict[str, Any]
_DOMAINS = 50  # domains told apart; --json has all of them
MORE = "and more: --limit 0 lists all of it, --after ID what follows a message"
_REPLY = 60  # characters of the last reply in a list


def summary(told: Answer) -> list[str]:
    """Totals, then the domains with most recipients first."""
    now = told["now"]
    out = [
        f"{told['messages']:,} messages ({told['held']:,} held), {told['recipients']:,} recipients, "
        f"{size(told['octets'])}"
    ]
    domains = sorted(told["domains"].items(), key=lambda one: (-one[1]["recipients"], one[0]))
    rows = [
        (
            name,
            one["messages"],
            one["recipients"],
            one["tried"],
            span(now - one["oldest"]),
            "stopped" if one.get("stopped", 0) >= one["recipients"] else _due(one["next"], now),
            one["site"],
        )
        for name, one in domains[:_DOMAINS]
    ]
    if rows:
        out += ["", *lines(("DOMAIN", "MESSAGES", "RECIPIENTS", "TRIED", "OLDEST", "NEXT", "SITE"), rows)]
    if len(domains) > _DOMAINS:
        out.append(f"and {len(domains) - _DOMAINS:,} more domains: --json has them all")
    return out


def listing(told: Answer) -> list[str]:
    """A line per message; two where the terminal has no room for it."""
    now = told["now"]
    rows = [
        (
            row["id"],
            span(now - row["created"]),
            size(row["size"]),
            row["sender"] or "<>",
            row["recipient"] + (f" +{row['selected'] - 1:,}" if row["selected"] > 1 else ""),
            row["attempts"],
            _next(row, now),
            row["last"][:_REPLY],
        )
        for row in told["rows"]
    ]
    if not rows:
        return ["no mail in the queue, or none that matches"]
    out = lines(("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "TRIES", "NEXT", "LAST REPLY"), rows)
    if 0 < room() < max(map(len, out)):
        head, *short = lines(("ID", "AGE", "SIZE", "TRIES", "NEXT"), [(*row[:3], *row[5:7]) for row in rows])
        more = [f"  {row[3]} to {row[4]}{': ' if row[7] else ''}{row[7]}" for row in rows]
        out = [head, *(clean(line) for pair in zip(short, more, strict=True) for line in pair)]
    return [*out, MORE] if told["next"] else out


def message(told: Answer) -> list[str]:
    """Everything about one message."""
    now = told["now"]
    facts = [
        ("id", told["id"]),
        ("received", f"{moment(told['created'])} ({span(now - told['created'])} ago)"),
        ("from client", f"{told.get('helo') or '?'} [{told.get('client') or '?'}]"),
        ("sender", told["sender"] or "<>"),
        ("size", size(told["size"])),
        ("recipients", f"{told['open']:,} of {told['total']:,} open"),
    ]
    if told["held"]:
        facts.append(("held", told["held"]))
    out = [f"{name:<12} {clean(value)}" for name, value in facts]
    rows = [
        (
            one["address"],
            one["status"],
            one.get("place", ""),
            one.get("site", ""),
            one.get("attempts", ""),
            _due(one["next"], now) if one["status"] == "open" and one.get("place") != "suspended" else "",
            one.get("last", ""),
        )
        for one in told["recipients"]
    ]
    out += ["", *lines(("RECIPIENT", "STATUS", "PLACE", "SITE", "TRIES", "NEXT", "LAST REPLY"), rows)]
    return [*out, "", *(clean(line) for line in told["headers"].splitlines())]


def _next(row: Answer, now: float) -> str:
    if row["held"]:
        return f"held: {row['held']}"
    return "suspended" if "suspended" in row["places"] else _due(row["next"], now)


def _due(wall: float, now: float) -> str:
    return "now" if wall <= now else f"in {span(wall - now)}"
