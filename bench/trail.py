"""How often is `fastrelay received` wrong? False alarms on genuine mail beside the catch rate on chains forged from it.

    python bench/trail.py FOLDER...            # every file is a message; those without Received are left out
    python bench/trail.py --seed 7 --skip PATTERN --reasons FOLDER

Genuine is what the folder holds: use mail whose way you trust (ham, list archives). From each chain, by a seed that is
printed, one forged chain of each kind is made where the kind fits and where the forging can be seen in principle:

    insert    a line of another message between two hops, dated between them; of houses other than theirs
    remove    a hop between hosts of two organisations is taken out
    swap      two neighbours of different organisations change places
    shift     a hop's date is moved by 3 hours to 10 days, so that order or its own id contradict
    add       a line at the old end: of another message, or made by hand, dated a little earlier
    helo      the first stranger says the receiver's own name
    software  a hop names another program than the one that wrote its id
    provider  the oldest host is given the name of a large provider, its software left as it is

A naive comparison (`by` of a hop and `from` of the next are the same word) is measured beside it.
"""

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

from fastrelay.trail import idents, names
from fastrelay.trail.claims import signed_in
from fastrelay.trail.fields import Unreadable, received_fields
from fastrelay.trail.hop import Hop, Leap
from fastrelay.trail.judge import Trail, judge
from fastrelay.trail.networks import is_internal
from fastrelay.trail.parse import hop as parse_hop
from fastrelay.trail.parse import hops

Chain = list[str]  # bodies, newest first
KINDS = ("insert", "remove", "swap", "shift", "add", "helo", "software", "provider")
MADE = (  # by hand, as mailers of spam write them
    "from {a} ([{ip}]) by {b} with ESMTP id {n}; {date}",
    "from {a} by {b} (8.9.3/8.9.3) with SMTP id QAA{n}; {date}",
    "from [{ip}] by {b} with SMTP; {date}",
    "from {a} (unknown [{ip}]) by {b} (Postfix) with ESMTP id {x}; {date}",
    "from {a} ({a} [{ip}]) by {b} with Microsoft SMTPSVC(5.0.2195.6713); {date}",
)
PROGRAMS = {
    "Postfix": "(Postfix)",
    "Sendmail": "(8.13.1/8.13.1)",
    "OpenSMTPD": "(OpenSMTPD)",
    "Exim": "(Exim 4.63)",
}
PROVIDERS = ("mx.google.com", "mx4.mail.yahoo.com", "mail.protection.outlook.com", "smtp.aol.com")


def read(folders: Sequence[str], skip: str) -> Iterator[tuple[Path, Chain]]:
    """Every chain below the folders."""
    for folder in folders:
        root = Path(folder)
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and not (skip and re.search(skip, str(path))):
                octets = path.read_bytes()[: 256 * 1024]
                if re.search(rb"^received:", octets, re.IGNORECASE | re.MULTILINE):
                    try:
                        yield path, received_fields(octets)
                    except Unreadable:
                        continue


# -- forging ----------------------------------------------------------------------------------------------------------


class Forger:
    """Makes one forged chain of a kind, None where the kind does not fit the chain."""

    def __init__(self, genuine: Sequence[Chain], seed: int) -> None:
        self._genuine = genuine
        self._chance = random.Random(seed)

    def forge(self, kind: str, chain: Chain) -> Chain | None:
        forged: Chain | None = getattr(self, f"_{kind}")(list(chain), hops(chain))
        return forged

    def _place(self, places: Sequence[int]) -> int | None:
        return self._chance.choice(places) if places else None

    def _other_hop(self, avoid: set[str]) -> Hop | None:
        for _ in range(20):
            found = [one for one in hops(self._chance.choice(self._genuine)) if network(one) and one.taker.claimed]
            one = self._chance.choice(found) if found else None
            if one is not None and public(one.taker.claimed) and not avoid & houses(one):
                return one
        return None

    def _insert(self, chain: Chain, found: list[Hop]) -> Chain | None:
        place = self._place([n for n in range(len(found) - 1) if crossing(found[n], found[n + 1])])
        if place is None:
            return None
        older, newer = found[place], found[place + 1]
        other = self._other_hop(houses(older) | houses(newer))
        if other is None or older.moment is None or newer.moment is None:
            return None
        line = redated(other.text, (older.moment.at + newer.moment.at) / 2)
        at = len(chain) - 1 - place
        return [*chain[:at], line, *chain[at:]]

    def _remove(self, chain: Chain, found: list[Hop]) -> Chain | None:
        fits = [
            n
            for n in range(1, len(found) - 1)
            if crossing(found[n], found[n + 1])
            and found[n + 1].sender.name
            and public(found[n - 1].taker.claimed)
            and not house_set(found[n - 1].taker.names) & houses(found[n + 1])
            and not any(is_internal(one) for one in found[n + 1].sender.addresses)
            and not house_set(found[n - 1].taker.names) & house_set(found[n].taker.names)
        ]
        place = self._place(fits)
        if place is None:
            return None
        del chain[len(chain) - 1 - place]
        return chain

    def _swap(self, chain: Chain, found: list[Hop]) -> Chain | None:
        fits = [
            n
            for n in range(len(found) - 1)
            if crossing(found[n], found[n + 1])
            and public(found[n + 1].taker.claimed)
            and found[n].sender.name
            and not house_set(found[n + 1].taker.names) & houses(found[n])
        ]
        place = self._place(fits)
        if place is None:
            return None
        at = len(chain) - 1 - place
        chain[at], chain[at - 1] = chain[at - 1], chain[at]
        return chain

    def _shift(self, chain: Chain, found: list[Hop]) -> Chain | None:
        place = self._place([n for n, one in enumerate(found) if one.moment is not None and one.moment.zoned])
        if place is None:
            return None
        moved = self._chance.choice((-1, 1)) * self._chance.uniform(3 * 3600, 10 * 86400)
        when = found[place].moment
        assert when is not None
        at = when.at + moved
        before = [one.moment.at for one in found[:place] if one.moment]
        behind = [one.moment.at for one in found[place + 1 :] if one.moment]
        wrong_order = (before and at < before[-1] - 3700) or (behind and at > behind[0] + 3700)
        if not wrong_order and idents.stamp(found[place]) is None:
            return None
        chain[len(chain) - 1 - place] = redated(found[place].text, at)
        return chain

    def _add(self, chain: Chain, found: list[Hop]) -> Chain | None:
        oldest = found[0]
        if not network(oldest) or oldest.moment is None or not public(oldest.sender.name):
            return None
        if any(is_internal(one) for one in oldest.sender.addresses):
            return None
        earlier = oldest.moment.at - self._chance.uniform(5, 600)
        other = self._other_hop(houses(oldest))
        if other is None:
            return None
        if self._chance.random() < 0.5:
            return [*chain, redated(other.text, earlier)]
        number = self._chance.randrange(10000, 99999)
        made = self._chance.choice(MADE).format(
            a=other.sender.claimed or "mail", b=other.taker.claimed, n=number, x=f"{number:X}A7",
            date=formatdate(earlier),
            ip=".".join(str(self._chance.randrange(1, 255)) for _ in range(4)),
        )  # fmt: skip
        return [*chain, made]

    def _helo(self, chain: Chain, found: list[Hop]) -> Chain | None:
        oldest = found[0]
        sender, taker = oldest.sender, oldest.taker.claimed
        if not network(oldest) or not public(sender.name) or not public(taker) or sender.name == sender.claimed:
            return None
        if signed_in(oldest):  # who has proved who he is may say what he likes
            return None
        if names.house(sender.name) == names.house(taker) or any(is_internal(one) for one in sender.addresses):
            return None
        claimed = sender.claimed.strip("[]")
        text = re.sub(re.escape(claimed), taker, oldest.text, count=1, flags=re.IGNORECASE) if claimed else ""
        if not claimed or parse_hop(text).sender.claimed != taker or parse_hop(text).taker.claimed != taker:
            return None
        chain[-1] = text
        return chain

    def _software(self, chain: Chain, found: list[Hop]) -> Chain | None:
        fits = [n for n, one in enumerate(found) if idents.expected(one) is not None and one.ident]
        place = self._place(fits)
        if place is None:
            return None
        shape = idents.expected(found[place])
        mine = shape[1] if shape is not None else ""
        other = self._chance.choice([words for name, words in PROGRAMS.items() if name != mine])
        text = found[place].text
        changed = re.sub(
            r"\((?:Postfix|OpenSMTPD|8\.[^()]{1,40}|Exim [^()]{1,40}(?:\([^()]*\))?)\)", other, text, count=1
        )
        if changed == text:
            return None
        chain[len(chain) - 1 - place] = changed
        return chain

    def _provider(self, chain: Chain, found: list[Hop]) -> Chain | None:
        oldest = found[0]
        if len(found) < 2 or not network(oldest) or not crossing(found[0], found[1]) or not found[1].sender.name:
            return None
        name = self._chance.choice(PROVIDERS)
        if names.house(name) in houses(found[1]) | houses(oldest):
            return None
        if any(is_internal(one) for one in found[1].sender.addresses):
            return None
        text = re.sub(
            rf"\bby {re.escape(oldest.taker.claimed)}", f"by {name}", oldest.text, count=1, flags=re.IGNORECASE
        )
        chain[-1] = text
        return chain if text != oldest.text else None


def network(one: Hop) -> bool:
    return one.leap is Leap.NETWORK and one.moment is not None


def public(name: str) -> bool:
    return bool(names.organisation(name))


def house_set(which: Sequence[str]) -> set[str]:
    return {names.house(one) for one in which} - {""}


def houses(one: Hop) -> set[str]:
    return house_set((*one.sender.names, *one.taker.names))


def crossing(older: Hop, newer: Hop) -> bool:
    """The message leaves one organisation between the two."""
    if not network(older) or not network(newer) or not public(older.taker.claimed):
        return False
    return not house_set(older.taker.names) & house_set(newer.taker.names)


def redated(text: str, at: float) -> str:
    return f"{text.rpartition(';')[0]}; {formatdate(at)}"


def naive(chain: Chain) -> bool:
    """A joint whose words differ: what a simple comparison calls broken."""
    found = [one for one in hops(chain) if one.leap is Leap.NETWORK]
    return any(
        older.taker.claimed and newer.sender.claimed and older.taker.claimed not in newer.sender.names
        for older, newer in pairwise(found)
    )


# -- measured ---------------------------------------------------------------------------------------------------------


def share(part: int, whole: int) -> str:
    return f"{part:>6} of {whole:>6}  {part / whole:7.2%}" if whole else "     -"


def main() -> int:
    words = argparse.ArgumentParser(description="False alarms and catch rate of fastrelay received.")
    words.add_argument("folders", nargs="+")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument(
        "--skip", default=r"\.(json|md|py|pm|t|lua|html|c|h)$", help="paths left out (regular expression)"
    )
    words.add_argument("--reasons", action="store_true", help="print each false alarm with its findings")
    words.add_argument("--at-most", type=int, default=0, help="so many messages, drawn by the seed")
    given = words.parse_args()
    genuine = list(read(given.folders, given.skip))
    if 0 < given.at_most < len(genuine):
        genuine = random.Random(given.seed).sample(genuine, given.at_most)
    if not genuine:
        print("no message with a Received field there", file=sys.stderr)
        return 65
    alarms, checks = 0, Counter[str]()
    for path, chain in genuine:
        trail = judge(chain)
        alarms += trail.suspicious
        checks.update(weighty(trail))
        if given.reasons and trail.suspicious:
            print(f"{path.name}: {trail.score}")
            for one in trail.findings:
                print(f"    hop {one.hop}  {one.check.value}  {one.weight}  {one.why}")
    chains = [chain for _, chain in genuine]
    print(f"seed {given.seed}; {len(chains)} genuine messages, {sum(map(len, chains))} hops")
    simple = share(sum(map(naive, chains)), len(chains))
    print(f"false alarms        {share(alarms, len(chains))}   naive comparison {simple}")
    for name, count in checks.most_common():
        print(f"    {name:<24}{count:>6} messages")
    forger = Forger(chains, given.seed)
    totals = [0, 0, 0]
    for kind in KINDS:
        caught = naively = 0
        forged = [one for one in (forger.forge(kind, chain) for chain in chains) if one is not None]
        for chain in forged:
            caught += judge(chain).suspicious
            naively += naive(chain)
        print(f"caught {kind:<12} {share(caught, len(forged))}   naive comparison {share(naively, len(forged))}")
        totals = [totals[0] + caught, totals[1] + len(forged), totals[2] + naively]
    print(f"caught of all       {share(totals[0], totals[1])}   naive comparison {share(totals[2], totals[1])}")
    return 0


def weighty(trail: Trail) -> set[str]:
    return {one.check.value for one in trail.findings if one.weight > 0}


if __name__ == "__main__":
    sys.exit(main())
