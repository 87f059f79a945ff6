"""The body of one Received field as a Hop: the clauses of RFC 5321 4.4 in the many hands that write them.

A clause begins with its word (from, by, via, with, id, for) and ends with the next one; comments belong to the clause
they stand in. What a `from` clause says is told apart by its shape:

    from CLAIMED (NAME [ADDRESS])                Postfix, Sendmail, OpenSMTPD, Haraka, Halon, Exchange, ours
    from NAME ([ADDRESS] helo=CLAIMED)           Exim; also  from [ADDRESS] (helo=CLAIMED)
    from NAME (HELO CLAIMED) (ADDRESS)           qmail and its kin
    from NAME ([ADDRESS]:port "EHLO CLAIMED")    ZMailer
    from CLAIMED [ADDRESS]                       fetchmail, IMail, old gateways
    (from user@host)  (qmail 1 invoked by uid 0) (user@host) by ...   handed over on the host itself

Nothing is refused: a field without sense is a Hop whose parts are empty, which the judges weigh.
"""

import re
from collections.abc import Sequence
from typing import Final

from fastrelay.trail.hop import Address, Hop, Leap, Party
from fastrelay.trail.moments import Moment, moment
from fastrelay.trail.networks import address
from fastrelay.trail.words import Kind, Token, tokens

_CLAUSES: Final = frozenset(("from", "by", "via", "with", "id", "for"))
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NOBODY: Final = frozenset(("unknown", "unverified", "-", "?", "none", "nobody"))
_HELLO: Final = ("helo", "ehlo", "lhlo", "heloer", "hello")
_LOCAL_WITH: Final = frozenset(
    ("local", "bsmtp", "pipe", "stdio", "http", "https", "httpu", "rules", "mapi", "imap", "pop3", "webmail")
)
_FETCHED: Final = ("mail pickup service", "fetchmail", "fetched by", "from userid")  # local, whoever `from` names
_LOCAL_WORDS: Final = (
    *_FETCHED, "invoked", "majordomo@", "listexpand", "unix socket", "local socket", "sendmail", "procmail",
)  # fmt: skip
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?\Z")
_FROM_USER: Final = re.compile(r"\(?from [^\s@()]{1,100}(?:@[^\s()]{1,255})?\)?", re.IGNORECASE)


def hops(bodies: Sequence[str]) -> list[Hop]:
    """The chain in travel order, oldest first. bodies: newest first, as they stand in a message."""
    return [hop(body, number) for number, body in enumerate(reversed(bodies), 1)]


def hop(body: str, number: int = 1) -> Hop:
    """One field."""
    found = tokens(body)
    end, when = _date(body, found)
    clauses, loose, remarks = _clauses(found[:end])
    if when is None:
        remarks.append("no date")
    sender_words, taker_words, with_words = clauses.get("from", []), clauses.get("by", []), clauses.get("with", [])
    protocol = with_words[0].text if with_words and with_words[0].kind is Kind.WORD else ""
    local_comment = next((one for one in loose if _FROM_USER.match(one.text)), None)
    return Hop(
        number,
        body,
        _leap(body, clauses, local_comment is not None, protocol),
        _sender(sender_words),
        _taker(taker_words),
        _first_word(clauses.get("via", [])),
        protocol,
        _ident(clauses.get("id", [])),
        _first_word(clauses.get("for", [])).strip("<>"),
        _software(taker_words, with_words, loose, clauses.get("id", [])),
        when,
        tuple(remarks),
    )


# -- clauses and date -------------------------------------------------------------------------------------------------


def _clauses(found: Sequence[Token]) -> tuple[dict[str, list[Token]], list[Token], list[str]]:
    """Tokens by clause; comments before the first; what is odd. Of a clause that comes twice the first counts."""
    clauses: dict[str, list[Token]] = {}
    loose: list[Token] = []
    remarks: list[str] = []
    here = loose
    empty = False  # the clause open now has no word yet: the next word is its value, even if it looks like a clause
    for token in found:
        word = token.text.lower() if token.kind is Kind.WORD else ""
        if word in _CLAUSES and not (empty and word != "by"):
            if word in clauses:
                if word == "from" or (word == "by" and "via" not in clauses):
                    remarks.append(f'a second "{word}"')
                here = []
            else:
                here = clauses.setdefault(word, [])
            empty = True
        elif token.kind is not Kind.END:
            here.append(token)
            empty = False
    return clauses, loose, remarks


def _date(body: str, found: Sequence[Token]) -> tuple[int, Moment | None]:
    """How many tokens stand before the date, and the date: behind the last semicolon, else from a weekday on."""
    ends = [place for place, token in enumerate(found) if token.kind is Kind.END]
    for place in reversed(ends[-3:]):
        when = moment(_plain(found[place + 1 :]))
        if when is not None:
            return place, when
    for place in range(len(found) - 1, max(-1, len(found) - 12), -1):
        if found[place].kind is Kind.WORD and _begins_date(found[place].text):
            when = moment(_plain(found[place:]))
            if when is not None:
                return place, when
    return (ends[-1] if ends else len(found)), None


def _begins_date(word: str) -> bool:
    """A weekday, or a date with its dashes as SendGrid writes it."""
    return word[:3].lower() in _DAYS or (len(word) == 10 and word[4] == word[7] == "-" and word[:4].isdigit())


def _plain(found: Sequence[Token]) -> str:
    return " ".join(token.text for token in found[:20] if token.kind is Kind.WORD)


# -- parties ----------------------------------------------------------------------------------------------------------


class _Facts:
    """What the tokens of one side said, gathered."""

    __slots__ = ("addresses", "claimed", "forged_note", "name", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.name = ""
        self.claimed = ""
        self.addresses: list[Address] = []
        self.forged_note = False

    def add_address(self, text: str) -> bool:
        one = address(text)
        if one is None:
            return False
        if one not in self.addresses and len(self.addresses) < 5:
            self.addresses.append(one)
        return True


def _sender(found: Sequence[Token]) -> Party:
    facts = _Facts()
    if _is_mailbox(found):
        return Party()
    literal = False  # the first word is an address: what the client said, or what the server saw
    for token in found[:20]:
        if token.kind is Kind.COMMENT:
            _comment(facts, token.text)
        elif token.kind is Kind.LITERAL or address(token.text) is not None:
            if not facts.words and not facts.addresses and not facts.name and not facts.claimed:
                literal = True
                facts.words.append(f"[{token.text}]")
            elif literal and len(facts.words) == 1 and not facts.addresses:
                facts.words.append("")
                facts.add_address(token.text)
            else:
                facts.add_address(token.text)
        elif not facts.words:
            facts.words.append(token.text)
    first = facts.words[0] if facts.words else ""
    if literal and not facts.addresses:
        facts.add_address(first)
        first = ""
    word = _host(first)
    if facts.claimed:  # the server wrote what it knows first, and HELO in the comment
        name = word if not first.startswith("[") else facts.name
        if not facts.addresses:
            facts.add_address(first)
        return Party(_claim(facts.claimed), name, _first(facts), tuple(facts.addresses[1:]), facts.forged_note)
    claimed = word or _claim(first)
    return Party(claimed, facts.name, _first(facts), tuple(facts.addresses[1:]), facts.forged_note)


def _is_mailbox(found: Sequence[Token]) -> bool:
    """`from user@host` and nothing more: a content scanner or list names the envelope's sender, not a host."""
    return bool(found) and "@" in found[0].text and not any(token.kind is not Kind.WORD for token in found)


def _taker(found: Sequence[Token]) -> Party:
    facts = _Facts()
    for token in found[:12]:
        if token.kind is Kind.COMMENT:
            _comment(facts, token.text)
        elif not facts.words:
            facts.words.append(token.text)
            facts.add_address(token.text)
        elif token.kind is Kind.LITERAL:
            facts.add_address(token.text)
    first = facts.words[0] if facts.words else ""
    word = _host(first) if address(first) is None else ""
    other = facts.name if facts.addresses and "." in facts.name else ""  # "(KumoMTA 192.0.2.1)" names the program
    return Party(word, other, _first(facts), tuple(facts.addresses[1:]))


def _first(facts: _Facts) -> Address | None:
    return facts.addresses[0] if facts.addresses else None


def _comment(facts: _Facts, text: str) -> None:
    """One comment of a side: HELO names, a name with its address, an address alone; inner comments as well."""
    if "may be forged" in text.lower():
        facts.forged_note = True
    before = ""
    expects_claim = False
    for token in tokens(text.replace('"', " "))[:24]:
        word = token.text
        lower = word.lower()
        if token.kind is Kind.COMMENT:
            if "may be forged" not in lower:
                _inner(facts, word)
        elif expects_claim:  # before all that follows: an address said in HELO is no address that was seen
            facts.claimed = word
            expects_claim = False
        elif token.kind is Kind.LITERAL:
            if facts.add_address(word):
                _named(facts, before)
        elif token.kind is not Kind.WORD:
            continue
        elif lower in _HELLO:
            expects_claim = True
        elif lower.startswith(("helo=", "ehlo=")):
            facts.claimed = word[5:]
            expects_claim = not facts.claimed  # a literal stands in a token of its own
        elif "=" not in word and facts.add_address(word.rpartition("@")[2]):  # "user@" is of ident, or of AUTH
            _named(facts, before)
        elif "/" in word and address(word.partition("/")[0]) is not None:
            facts.add_address(word.partition("/")[0])
        else:
            before = word
            continue
        before = ""


def _inner(facts: _Facts, text: str) -> None:
    for token in tokens(text)[:6]:
        if token.kind in (Kind.WORD, Kind.LITERAL):
            facts.add_address(token.text)


def _named(facts: _Facts, word: str) -> None:
    """The word before an address is its name, behind "user@" where an ident server was asked."""
    name = _host(word.rpartition("@")[2])
    if name and not facts.name:
        facts.name = name


def _host(word: str) -> str:
    """A host name, lower-case; "" for "unknown" and whatever cannot be one."""
    word = word.strip("<>\"'").rpartition("@")[2].rstrip(".").lower()
    if word in _NOBODY or address(word) is not None:
        return ""
    return word if _NAME.match(word) else ""


def _claim(word: str) -> str:
    """What was said in HELO, as far as it is a name or an address literal."""
    one = address(word)
    return f"[{one}]" if one is not None else _host(word)


# -- the rest ---------------------------------------------------------------------------------------------------------


def _leap(body: str, clauses: dict[str, list[Token]], local_comment: bool, protocol: str) -> Leap:
    lower = body.lower()
    sender = clauses.get("from", [])
    if local_comment or protocol.lower() in _LOCAL_WITH or _is_mailbox(sender):
        return Leap.LOCAL
    if not sender or "unix socket" in lower or "local socket" in lower:
        return Leap.LOCAL if any(words in lower for words in _LOCAL_WORDS) else Leap.UNKNOWN
    if any(words in lower for words in _FETCHED):
        return Leap.LOCAL
    return Leap.NETWORK


def _first_word(found: Sequence[Token]) -> str:
    return found[0].text if found and found[0].kind is Kind.WORD else ""


def _ident(found: Sequence[Token]) -> str:
    """With its comments' inner text left out; Exchange's goes up to `via`, which is a clause."""
    for token in found:
        if token.kind is Kind.WORD:
            return token.text
        if token.kind is Kind.LITERAL:
            return f"[{token.text}]"
    return ""


def _software(taker: Sequence[Token], how: Sequence[Token], loose: Sequence[Token], ident: Sequence[Token]) -> str:
    words = [token.text for token in loose if token.kind is Kind.COMMENT]
    words += [token.text for token in taker[1:] if token.kind is Kind.COMMENT]
    words += [token.text for token in how]
    words += [token.text for token in ident if token.kind is Kind.COMMENT]
    return " ".join(words).lower()[:500]
