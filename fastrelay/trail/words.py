"""Text of a Received field as tokens: words, comments, bracketed literals and semicolons. Linear in the text.

Comments nest (RFC 5322 3.2.2) and may be left open by those who write them wrong: a parenthesis without its partner is
a space, so that it cannot hide what stands behind it. Partners are found in one pass with a stack, and no token is read
twice: a field of ten thousand opening parentheses costs what ten thousand letters cost.
"""

import enum
import re
from typing import Final, NamedTuple

MAX_DEPTH = 100  # of nested comments remembered; deeper ones are read as spaces. Real ones stop at 3

_WORD_END: Final = re.compile(r'[ \t\r\n();\[,"<]')
_MARKS: Final = re.compile(r'[()"]')


class Kind(enum.Enum):
    """What a token is."""

    WORD = "word"
    COMMENT = "comment"  # without its parentheses; inner ones are kept
    LITERAL = "literal"  # without its brackets
    END = ";"


class Token(NamedTuple):
    """at: offset of its first character in the text, for what must be read again from there."""

    kind: Kind
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """All of them, in order. Never fails."""
    partner = _partners(text)
    out: list[Token] = []
    place, size = 0, len(text)
    while place < size:
        char = text[place]
        if char in " \t\r\n,":
            place += 1
        elif char == "(":
            end = partner.get(place, -1)
            if end > 0:
                out.append(Token(Kind.COMMENT, text[place + 1 : end], place))
                place = end
            place += 1
        elif char == ")":
            place += 1
        elif char == ";":
            out.append(Token(Kind.END, ";", place))
            place += 1
        elif char == "[":
            end = text.find("]", place)
            if 0 < end < place + 300:
                out.append(Token(Kind.LITERAL, text[place + 1 : end].strip(), place))
                place = end
            place += 1
        else:
            end = _word_end(text, place)
            out.append(Token(Kind.WORD, text[place:end], place))
            place = end
    return out


def _word_end(text: str, start: int) -> int:
    """Where the word ends: at white space, comment, literal, semicolon or comma, but not inside <...> or quotes."""
    if text[start] in '<"':
        end = text.find(">" if text[start] == "<" else '"', start + 1)
        if 0 < end < start + 1000:
            return end + 1
        return start + 1
    found = _WORD_END.search(text, start + 1)
    return found.start() if found else len(text)


def _partners(text: str) -> dict[int, int]:
    """The closing parenthesis of each opening one of the outermost level that has one."""
    if "(" not in text:
        return {}
    found: dict[int, int] = {}
    open_: list[int] = []
    quoted = False
    for mark in _MARKS.finditer(text):
        char, place = mark[0], mark.start()
        if char == '"' and open_:
            quoted = not quoted
        elif char == "(" and len(open_) < MAX_DEPTH:
            open_.append(place)
        elif char == ")" and open_:
            found[open_.pop()] = place
            if not open_:
                quoted = False
    return found
