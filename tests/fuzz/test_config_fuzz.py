"""The configuration under any text: values, or one line that names the place. Nothing else comes out."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.config import Config, parse
from fastrelay.config.reading import ARRAYS, TABLES, keys_of
from fastrelay.config.sections import Listener
from fastrelay.errors import ConfigError
from tests.fuzz.effort import effort

KEYS = {name: sorted(keys_of(kind)) for name, kind in TABLES.items()} | {"listener": sorted(keys_of(Listener))}
WORDS = [
    "",
    "30s",
    "5%",
    "64MiB",
    "100/min",
    "0",
    "-1s",
    "1e999h",
    "nan",
    "fsync",
    "require",
    "127.0.0.1:25",
    "[::]:25",
]
WORDS += [
    "unix:/x",
    "10.0.0.0/8",
    "a.example",
    "a\nb",
    "\x00",
    "é",
    "*",
    "x" * 300,
    "9" * 30 + "s",
    "500B/s",
    "implicit",
]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(WORDS) | st.integers(-10, 10**12) | st.floats() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
SECTIONS = st.sampled_from(sorted(KEYS)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.dictionaries(st.sampled_from(KEYS[name]) | st.text(max_size=6), VALUES, max_size=5)
    )
)


def judged(text: str) -> Config | None:
    try:
        found = parse(text, "f.toml")
    except ConfigError as error:
        assert str(error).startswith("f.toml: ") and "\n" not in str(error)
        return None
    assert found.server.hostname and found.retry.expire > 0
    return found


def written(value: Any) -> str:
    """As TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value) if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(one)}" for key, one in value.items()) + "}"
    return quoted(value)


def quoted(text: str) -> str:
    return '"' + "".join(c if 0x20 < ord(c) < 0x7F and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


@effort(80)
@given(st.lists(SECTIONS, max_size=4, unique_by=lambda one: one[0]))
def test_any_values_under_known_and_unknown_keys(sections: list[tuple[str, dict[str, Any]]]) -> None:
    lines = []
    for name, keys in sections:
        lines.append(f"[[{name}]]" if name in ARRAYS else f"[{name}]")
        lines += [f"{quoted(key)} = {written(value)}" for key, value in keys.items()]
    text = "\n".join(lines)
    tomllib.loads(text)
    judged(text)


@effort(60)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    judged(text)
