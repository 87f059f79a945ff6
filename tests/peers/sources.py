"""The package's sources as syntax trees, read once for all tests that look at them."""

import ast
from functools import cache
from pathlib import Path

import fastrelay

PACKAGE = Path(fastrelay.__file__).parent


@cache
def trees() -> dict[str, ast.Module]:
    """Path below the package -> tree."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """Path below the package -> every node of its tree."""
    return {name: list(ast.walk(tree)) for name, tree in trees().items()}
