"""A scenario: what is sent, as a TOML file in bench/scenarios. Its file name is its name."""

import tomllib
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "scenarios"


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """size: octets of content without the generator's header. quick: belongs to `quick`."""

    name: str
    title: str
    order: int
    sessions: int
    size: int
    kept_open: bool = False
    quick: bool = False


def load_all() -> list[Scenario]:
    """Every scenario, in the order they ask for."""
    found = []
    for path in FOLDER.glob("*.toml"):
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        found.append(msgspec.convert({"name": path.stem, **tree}, Scenario))
    return sorted(found, key=lambda scenario: scenario.order)
