"""Who runs what, in which order: rounds alternate (A B C, B C A, C A B), scenario after scenario within a round. Pure.

So a run that ends early has whole rounds of everything, and no relay always stands before or behind another.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

from bench.relay import Relay
from bench.scenario import Scenario


class Turn(NamedTuple):
    """One round to come. relay None: the floor."""

    relay: Relay | None
    scenario: Scenario
    number: int


def turns(
    scenarios: list[Scenario],
    relays: list[Relay],
    rounds: int,
    kinds: Mapping[str, ModuleType],
    *,
    floor: bool,
    as_asked: bool = False,
) -> list[Turn]:
    """Every turn. A relay is left out where it does not offer what the kind needs; and where the scenario names its
    relays and this is none of them, but for `as_asked`: somebody named the relays."""  # fmt: skip
    found = []
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            kind = kinds[scenario.kind]
            able = [
                relay
                for relay in relays
                if relay.offers >= kind.NEEDS and (as_asked or not scenario.relays or relay.name in scenario.relays)
            ]
            first = (number - 1) % len(able) if able else 0
            found += [Turn(relay, scenario, number) for relay in able[first:] + able[:first]]
            if floor and scenario.floor and kind.FLOOR:
                found.append(Turn(None, scenario, number))
    return found
