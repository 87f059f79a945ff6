"""Tests, dialogues and programs that RELIABILITY.md and SECURITY.md name exist, and every rule has its line."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("RELIABILITY.md", "SECURITY.md")
RULES = 64


@cache
def every_test() -> frozenset[str]:
    """Every test as file::name, both without what pytest asks for."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.stem}::{node.name.removeprefix('test_')}")
    return frozenset(found)


def quoted(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", (ROOT / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_what_is_named_exists(page: str) -> None:
    names = quoted(page)
    named = [name for name in names if name.startswith("test_") and name != "test_"]
    assert named, page
    assert [name for name in named if name not in every_test()] == []
    dialogues = [name for name in names if re.fullmatch(r"(server|client)/\w+\.txt", name) and name[7:] != "x.txt"]
    assert [name for name in dialogues if not (ROOT / "tests" / "dialogues" / name).is_file()] == []
    files = [name.split()[0] for name in names if re.match(r"(tests|fastrelay|docs|deploy)/\S", name)]
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_each_rule_has_a_line_with_a_test_or_a_reason() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", (ROOT / "RELIABILITY.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == [*range(1, RULES + 1)]
    for number, _, shown in rows:
        assert "`" in shown or shown.startswith("not here"), f"rule {number}"


def test_each_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    for page in PAGES:
        for name in quoted(page):
            if name.startswith("make "):
                assert name.split()[1] in known, f"{page}: {name}"
