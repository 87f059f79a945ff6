"""How a sink behaves: per phase a latency and the shares it defers, rejects and hangs up on. Pure.

A rule is written `VALUE` (for the phase where it matters most) or `PHASE=VALUE`: `--latency 50ms`, `--defer rcpt=5%`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from fastrelay.config import parse_quantity
from fastrelay.errors import MisuseError

PHASES = ("connect", "ehlo", "mail", "rcpt", "data", "dot", "quit")


class Verdict(Enum):
    """What becomes of one command."""

    ACCEPT = "accepted"
    DEFER = "deferred"
    REJECT = "rejected"
    DISCONNECT = "disconnected"


@dataclass(frozen=True, slots=True)
class Rule:
    """One phase: seconds before the answer, and shares of 0 to 1 that do not get the good one."""

    latency: float = 0.0
    defer: float = 0.0
    reject: float = 0.0
    disconnect: float = 0.0

    def judge(self, draw: float) -> Verdict:
        """The verdict for a draw from [0, 1)."""
        if draw < self.disconnect:
            return Verdict.DISCONNECT
        if draw < self.disconnect + self.reject:
            return Verdict.REJECT
        if draw < self.disconnect + self.reject + self.defer:
            return Verdict.DEFER
        return Verdict.ACCEPT


Profile = dict[str, Rule]  # only phases that are not simply answered

_NAKED = {"latency": "dot", "defer": "rcpt", "reject": "rcpt", "disconnect": "dot"}
REPLIES: dict[tuple[str, Verdict], bytes] = {
    ("connect", Verdict.DEFER): b"421 4.3.2 Come back later\r\n",
    ("connect", Verdict.REJECT): b"554 5.3.2 No mail here\r\n",
    ("ehlo", Verdict.DEFER): b"421 4.3.2 Come back later\r\n",
    ("ehlo", Verdict.REJECT): b"550 5.7.1 Not with you\r\n",
    ("mail", Verdict.DEFER): b"451 4.7.1 Sender deferred\r\n",
    ("mail", Verdict.REJECT): b"550 5.7.1 Sender rejected\r\n",
    ("rcpt", Verdict.DEFER): b"450 4.2.1 Mailbox deferred\r\n",
    ("rcpt", Verdict.REJECT): b"550 5.1.1 No such mailbox\r\n",
    ("data", Verdict.DEFER): b"451 4.3.0 Deferred\r\n",
    ("data", Verdict.REJECT): b"554 5.5.1 Rejected\r\n",
    ("dot", Verdict.DEFER): b"451 4.3.0 Message deferred\r\n",
    ("dot", Verdict.REJECT): b"554 5.6.0 Message rejected\r\n",
    ("quit", Verdict.DEFER): b"421 4.3.2 Closing\r\n",
    ("quit", Verdict.REJECT): b"500 5.5.1 Closing\r\n",
}


def parse(
    *,
    latency: Iterable[str] = (),
    defer: Iterable[str] = (),
    reject: Iterable[str] = (),
    disconnect: Iterable[str] = (),
) -> Profile:
    """The Profile that the words of a command line mean. MisuseError names the word that is not understood."""
    profile: Profile = {}
    for name, words in (("latency", latency), ("defer", defer), ("reject", reject), ("disconnect", disconnect)):
        for word in words:
            before, equals, value = word.partition("=")
            phase, value = (before, value) if equals else (_NAKED[name], before)
            if phase not in PHASES:
                raise MisuseError(f"--{name} {word}: no phase {phase!r}; there are {', '.join(PHASES)}")
            amount = parse_quantity(value, "duration" if name == "latency" else "share", f"--{name}")
            if name != "latency" and amount > 1:
                raise MisuseError(f"--{name} {word}: a share is at most 100%")
            profile[phase] = replace(profile.get(phase, Rule()), **{name: amount})
    for phase, rule in profile.items():
        if rule.defer + rule.reject + rule.disconnect > 1:
            raise MisuseError(f"the shares of {phase} exceed 100 % together")
    return profile
