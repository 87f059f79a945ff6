"""The import table of ARCHITECTURE.md, read with `ast`: imports flow one way, rooms never see one another."""

import ast
from pathlib import Path

import fastrelay

PACKAGE = Path(fastrelay.__file__).parent
ROOMS = {"reception", "spool", "routing", "schedule", "delivery", "settlement"}
GROUND = {"errors", "config", "metrics", "mail"}
LOW = GROUND | {"eventlog", "smtp", "runtime"}
MAY = {
    "errors": set(),
    "config": {"errors"},
    "metrics": {"errors"},
    "mail": {"errors"},
    "eventlog": GROUND | {"runtime"},
    "smtp": GROUND,
    "runtime": GROUND,
    **dict.fromkeys(ROOMS, LOW),
    "intake": LOW | ROOMS,
    "errands": LOW | ROOMS | {"intake"},
    "relay": LOW | ROOMS | {"intake", "errands"},
    "control": LOW | ROOMS | {"intake", "errands", "relay"},
    "adoption": LOW | ROOMS,
    "suspending": LOW | ROOMS,
    "doors": {"config", "runtime"},
    "renewal": LOW | ROOMS | {"intake", "relay", "doors"},
    "worker": LOW
    | ROOMS
    | {"intake", "errands", "relay", "control", "adoption", "suspending", "doors", "renewal", "process"}
    | {"jury", "trail"},
    "process": {"errors", "config", "metrics", "eventlog"},
    "admin": {"errors", "config", "metrics", "eventlog", "runtime", "process"},
    "load": GROUND | {"smtp", "runtime"},
    "trail": {"errors", "config", "mail"},
    "jury": LOW | {"trail"},
}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_imports_flow_one_way() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("cli", "__init__", "__main__"):
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "gevent" and room != "runtime":
                wrong.append(f"{path.name}: gevent outside runtime/")
            if parts[0] == "fastrelay" and parts[1] not in MAY[room] | {room, "__version__"}:
                wrong.append(f"{room} ({path.name}) imports {parts[1]}")
    assert wrong == []


def test_only_cli_prints() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] != "cli":
            assert not any(
                isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            ), path
