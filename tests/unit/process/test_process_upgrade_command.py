"""What an upgrade runs, and what it hands over."""

from pathlib import Path

import pytest

from fastrelay.errors import MisuseError
from fastrelay.process.handover import VARIABLE, VERSION, Handover, received
from fastrelay.process.upgrade import command, may_begin


def test_a_script_is_run_by_its_own_first_line(tmp_path: Path) -> None:
    script = tmp_path / "fastrelay"
    script.write_text("#!/bin/sh\n")
    words = ["/opt/old/bin/python", str(script), "serve", "-c", "x"]
    assert command(words, "/opt/python") == ["/opt/python", *words[1:]], "not executable"
    script.chmod(0o755)
    assert command(words, "/opt/python") == words[1:]


def test_a_module_is_run_by_the_interpreter_as_it_was_named() -> None:
    words = ["python", "-m", "fastrelay", "serve"]
    assert command(words, "/opt/current/bin/python") == ["/opt/current/bin/python", "-m", "fastrelay", "serve"]


def test_not_as_process_1() -> None:
    may_begin(2)
    with pytest.raises(MisuseError, match="the container would end"):
        may_begin(1)


def handover(**changes: object) -> Handover:
    fields = {
        "master": 5, "spool": "/s", "runtime_dir": "/r", "locks": (), "page": 0, "ledger": 1, "eventfds": (),
        "sockets": {}, "files": ("unix:/x",), "link": 2, "suspects": (bytes(range(16)),), **changes,
    }  # fmt: skip
    return Handover(**fields)  # type: ignore[arg-type]


def test_what_is_handed_over_arrives_and_is_taken_out_of_the_environment() -> None:
    environment = {VARIABLE: handover().text(), "PATH": "/bin"}
    assert received(environment) == handover() and environment == {"PATH": "/bin"}
    assert received(environment) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "cannot be taken over"),
        ("{}", "cannot be taken over"),
        (handover(link=999_999).text(), "Bad file descriptor"),
        (handover(version=VERSION + 1).text(), f"format {VERSION + 1}, this program speaks {VERSION}"),
    ],
)
def test_what_is_of_no_use_is_refused(text: str, why: str) -> None:
    with pytest.raises(MisuseError, match=why):
        received({VARIABLE: text})
