"""The import table of ARCHITECTURE.md, read with `ast`: imports flow one way, rooms never see one another."""

import ast

from tests.peers.sources import nodes, trees

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


def imported(name: str) -> set[str]:
    found: set[str] = set()
    for node in nodes()[name]:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_imports_flow_one_way() -> None:
    wrong = []
    for path in trees():
        room = path.partition("/")[0].removesuffix(".py")
        if room in ("cli", "__init__", "__main__"):
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "gevent" and room != "runtime":
                wrong.append(f"{path}: gevent outside runtime/")
            if parts[0] == "fastrelay" and parts[1] not in MAY[room] | {room, "__version__"}:
                wrong.append(f"{path} imports {parts[1]}")
    assert wrong == []


def test_only_cli_prints() -> None:
    for path, found in nodes().items():
        if not path.startswith("cli/"):
            assert not any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" for node in found), (
                path
            )
