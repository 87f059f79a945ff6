"""A scenario: what is sent and how, as a TOML file in bench/scenarios. Its file name is its name, `kind` its program.

`figure` is the one by which relays are compared, beside CPU: a path into a Round (measure.py), as "cpu_ms" or
"latencies.accept.p99". `settings` are the kind's own; its module in bench/kinds says which there are.
"""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

FOLDER = Path(__file__).parent / "scenarios"

Settings = TypeVar("Settings", bound=msgspec.Struct)


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a mix of sizes: octets, share of the messages, sessions."""

    size: int
    share: float
    sessions: int


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """size: octets of content without the generator's header. quick: belongs to `quick`. relays: for which it is in a
    suite, () = for all. share: of a round's duration. floor: is shown beside it.
    beside: the scenario whose figures it is to be held against.
    curves: what grows -> where this scenario stands, for the plots."""

    name: str
    title: str
    order: int
    kind: str = "flow"
    figure: str = "delivered_per_second"
    sessions: int = 50
    size: int = 5120
    recipients: int = 1
    kept_open: bool = False
    parts: tuple[Part, ...] = ()
    quick: bool = False
    relays: tuple[str, ...] = ()
    share: float = 1.0
    floor: bool = False
    beside: str = ""
    curves: dict[str, float] = {}
    settings: dict[str, Any] = {}

    def settings_as(self, kind: type[Settings]) -> Settings:
        """The kind's settings, checked; msgspec.ValidationError names a wrong one."""
        return msgspec.convert(self.settings, kind)


def load_all() -> list[Scenario]:
    """Every scenario, in the order they ask for."""
    found = []
    for path in FOLDER.glob("*.toml"):
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        found.append(msgspec.convert({"name": path.stem, **tree}, Scenario))
    return sorted(found, key=lambda scenario: scenario.order)
