"""What is wrong with a value, in words for whoever wrote the file: msgspec speaks of types of Python."""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table",
}


def worded(error: str, key: str, hint: Any) -> tuple[str, str]:
    """The key that is meant and why it is refused. error: msgspec's, without its place; hint: the type of `key`."""
    if missing := re.search(r"missing required field `(\w+)`", error):
        return (f"{key}." if key else "") + missing[1], "is missing"
    if odd := re.fullmatch(r"Invalid enum value '(.*)'", error):
        return key, f'"{odd[1]}" is none of {", ".join(choices(hint))}'
    if error.endswith("of length >= 1"):
        return key, "must not be empty"
    if bound := re.fullmatch(r"Expected `\w+` ([<>]=?) (\S+)", error):
        return key, f"must be {bound[1]} {float(bound[2]):g}"
    text = re.sub(r"`(\w+)`", lambda kind: _KINDS.get(kind[1], kind[1]), error)
    return key, text[:1].lower() + text[1:]


def choices(hint: Any) -> Iterator[str]:
    """The texts a type allows, as the file has them."""
    if get_origin(hint) is Literal:
        yield from (f'"{value}"' for value in get_args(hint))
    else:
        for inner in get_args(hint):
            yield from choices(inner)
