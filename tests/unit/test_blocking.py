"""What would stop a worker's loop, or end a task in a way nobody catches, is called nowhere in the rooms of a worker.

How long the loop really stood still is measured by every worker (`fastrelay_loop_lag_seconds`); that it does not
while the disk takes a second is shown in tests/integration/test_relay_disk.py.
"""

import ast

import pytest

from tests.peers.sources import nodes

# call -> files that may: each is called in a native thread, before the loop serves, or by a process without a loop
MAY_BLOCK = {
    "os.fsync": {"spool/disk.py", "process/suspensions.py", "reception/users_file.py"},
    "os.fdatasync": {"spool/disk.py"},
    "time.sleep": {"process/pidlock.py", "process/seat.py", "process/upgrade.py"},
    "socket.getaddrinfo": set(),
    "socket.gethostbyname": set(),
    "socket.gethostbyaddr": set(),
    "socket.getfqdn": set(),
    "subprocess.run": set(),
    "subprocess.check_output": set(),
    "subprocess.Popen": set(),
    "os.system": set(),
    "os.popen": set(),
    "select.select": set(),
}
ELSEWHERE = ("cli/", "load/")  # programs of their own


@pytest.mark.parametrize("name", MAY_BLOCK)
def test_no_call_that_blocks(name: str) -> None:
    module, function = name.split(".")
    found = {
        path
        for path, tree in nodes().items()
        if not path.startswith(ELSEWHERE)
        for node in tree
        if isinstance(node, ast.Attribute)
        and node.attr == function
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    }
    assert found == MAY_BLOCK[name]


def test_no_timeout_that_is_no_exception() -> None:
    """gevent.Timeout is a BaseException: thrown into a task it passes every `except Exception` and leaves the mail it
    had in hand nowhere. Waits here end with PeerTimeout, which is one."""
    for path, tree in nodes().items():
        for node in tree:
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gevent":
                names.append(node.attr)
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("gevent"):
                continue
            assert not {"Timeout", "with_timeout"} & set(names), path


def test_no_error_is_swallowed_whole() -> None:
    """`except Exception: pass`, and an `except BaseException` or a bare one that does not raise again, hide an end."""
    allowed = {"runtime/tasks.py", "runtime/crowd.py"}  # the end of every task: told by on_crash
    for path, tree in nodes().items():
        for node in tree:
            if not isinstance(node, ast.ExceptHandler):
                continue
            kind = getattr(node.type, "id", "") if node.type is not None else "BaseException"
            only_pass = all(isinstance(part, ast.Pass) for part in node.body)
            assert not (kind in ("Exception", "BaseException") and only_pass), f"{path}:{node.lineno}"
            if kind == "BaseException" and path not in allowed and not path.startswith(ELSEWHERE):
                raises = any(isinstance(part, ast.Raise) for inner in node.body for part in ast.walk(inner))
                assert raises or node.name, f"{path}:{node.lineno}"
