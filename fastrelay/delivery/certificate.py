"""Whose certificate is it? The names it bears against the names asked for (RFC 9525 6.3, RFC 8461 4.1).

Pure: over what ssl.SSLSocket.getpeercert() gives for a chain that was found good. Only dNSNames count, never the common
name. A wildcard stands for the whole of the first label and for one label, and never for all names of a top-level
domain. A wanted name that begins with a dot is borne by any name below it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_SHOWN = 5  # names told in a refusal; certificates of hosting companies bear a hundred
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.*")


def presented(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Its dNSNames, case-folded, without a last dot; such as could not be a host name are left out."""
    if not certificate:
        return ()
    names = [value.lower().rstrip(".") for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return tuple([name for name in names if name and _CHARACTERS.issuperset(name)])


def matched(names: Sequence[str], wanted: Sequence[str]) -> str:
    """The first of `wanted` (case-folded) that one of `names` stands for, "" when none does."""
    for name in wanted:
        if any(_stands_for(pattern, name) for pattern in names):
            return name
    return ""


def _stands_for(pattern: str, name: str) -> bool:
    if name.startswith("."):
        return pattern.removeprefix("*").endswith(name) and "*" not in pattern[1:]
    if not pattern.startswith("*."):
        return pattern == name and "*" not in pattern
    base = pattern[1:]
    first, dot, rest = name.partition(".")
    return bool(first) and dot + rest == base and "." in base[1:] and "*" not in base


def mismatch(host: str, names: Sequence[str], wanted: Sequence[str]) -> str:
    """In words: what it is for, and what was asked."""
    some = ", ".join(names[:MAX_SHOWN]) + (f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else "")
    return f"the certificate of {host} is for {some or 'no host name'}, not for {' or '.join(wanted)}"
