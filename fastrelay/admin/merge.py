"""Answers of several slots made one. Pure.

An answer is what control/ gives for one slot: a dict with `slot`, and `error` and `code` when it failed. `incomplete`
names the slots whose mail the merged answer does not cover: it is never silently short.
"""

from collections.abc import Iterable, Sequence
from typing import Any

Answer = dict[str, Any]
DOMAINS = 100_000  # told apart in a summary: 60 MB while it is made; the rest counts as OTHERS
OTHERS = "(others)"


def errors(answers: Iterable[Answer]) -> list[Answer]:
    """The answers that are errors."""
    return [answer for answer in answers if "error" in answer]


def unfinished(answers: Iterable[Answer]) -> list[Answer]:
    """An error for each slot that does not know all its mail yet: its answer counts, and is not all."""
    slots = {answer["slot"]: None for answer in answers if answer.get("loading")}
    return [{"slot": slot, "error": "it is still loading its mail; try again", "code": 75} for slot in slots]


def lists(answers: Sequence[Answer], limit: int) -> Answer:
    """One page of rows in id order, at most `limit`, with the cursor of the next (None: that was all).

    Each slot has covered the ids up to its own cursor, all of them when it has none; rows beyond the lowest cursor may
    have unseen neighbours and wait for the next page.
    """
    cursors = [answer["next"] for answer in answers if answer.get("next")]
    edge = min(cursors, default=None)
    rows = sorted((row | {"slot": a["slot"]} for a in answers for row in a.get("rows", ())), key=lambda row: row["id"])
    covered = [row for row in rows if edge is None or row["id"] <= edge]
    if len(covered) > limit:
        return {"rows": covered[:limit], "next": covered[limit - 1]["id"]}
    return {"rows": covered, "next": edge}


def summaries(answers: Iterable[Answer]) -> Answer:
    """Sums over slots, and over the pages of a slot: totals, and counts by domain."""
    totals: Answer = {"messages": 0, "recipients": 0, "octets": 0, "held": 0}
    domains: dict[str, dict[str, Any]] = {}
    for answer in answers:
        for key in totals:
            totals[key] += answer.get(key, 0)
        for name, counted in answer.get("domains", {}).items():
            if name not in domains and len(domains) >= DOMAINS:
                name = OTHERS
            sums = domains.get(name)
            if sums is None:
                domains[name] = dict(counted)
                continue
            for key in ("messages", "recipients", "tried", "stopped"):
                sums[key] += counted[key]
            sums["oldest"] = min(sums["oldest"], counted["oldest"])
            sums["next"] = min((one for one in (sums["next"], counted["next"]) if one), default=0.0)
            sums["site"] = sums["site"] or counted["site"]
    return {**totals, "domains": domains}


def changes(answers: Iterable[Answer]) -> Answer:
    """How many messages were changed, and how many left alone because they are being delivered."""
    merged = {"changed": 0, "busy": 0}
    for answer in answers:
        merged["changed"] += answer.get("changed", 0)
        merged["busy"] += answer.get("busy", 0)
    return merged


def explanations(answers: Iterable[Answer], domain: str, *, sure: bool) -> Answer:
    """What every slot says of a domain, or of a message, and the sentence of the one that has most of its mail.

    sure: every slot has answered and knows all its mail.
    """
    explained = [one | {"slot": answer["slot"]} for answer in answers for one in answer.get("explained", ())]
    most = max(explained, key=lambda one: int(one["queued"]["items"]), default=None)
    if most is None or not most["queued"]["items"]:
        why = f"nothing is queued for {domain}" if domain else "it is not in the queue"
        if not sure:
            why = f"not known: {why} as far as the workers answered that know all their mail"
    else:
        why = most["why"]
    return {"why": why, "explained": explained}


def shown(answers: Iterable[Answer]) -> Answer | None:
    """The answer of the slot that has the message."""
    return next((answer for answer in answers if answer.get("found")), None)
