"""SASLprep (RFC 4013): names and passwords that look the same become the same octets, before they are hashed.

All of its steps with Python's tables (RFC 3454, Unicode 3.2): spaces beyond ASCII become a space, what is invisible
goes, NFKC, prohibited characters and mixed directions are refused. One step is left out on purpose: code points that
Unicode 3.2 did not assign are let through as they are, or no password could hold a character younger than 2002.
"""

import stringprep
from unicodedata import ucd_3_2_0

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class Unprintable(ValueError):
    """The text holds what no name or password may hold, or nothing at all."""


def saslprep(text: str) -> str:
    """The prepared text. Unprintable when it may not be used."""
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(" " if stringprep.in_table_c12(one) else one for one in text if not stringprep.in_table_b1(one))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared:
        raise Unprintable("nothing is left of it")
    for one in prepared:
        if any(prohibits(one) for prohibits in _PROHIBITED):
            raise Unprintable(f"U+{ord(one):04X} is not allowed")
    _one_direction(prepared)
    return prepared


def _one_direction(text: str) -> None:
    """RFC 3454 6: right-to-left text is that alone, and begins and ends so."""
    if any(map(stringprep.in_table_d1, text)) and (
        any(map(stringprep.in_table_d2, text))
        or not stringprep.in_table_d1(text[0])
        or not stringprep.in_table_d1(text[-1])
    ):
        raise Unprintable("left-to-right and right-to-left characters are mixed")
