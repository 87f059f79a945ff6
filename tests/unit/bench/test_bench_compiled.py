"""bench/ours.py: the compiled copy is measured only while it is of the same sources."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bench.ours import ROOT, Compiled
from bench.relay import Wish


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setattr(Compiled, "root", tmp_path)
    return Compiled()


def test_without_a_copy_it_says_what_makes_one(relay: Compiled) -> None:
    assert relay.missing() == "build/compiled is not there: make build/compiled"


def test_it_is_the_copy_that_runs(relay: Compiled, tmp_path: Path) -> None:
    setup = relay.prepare(tmp_path, Wish(sink=25, workers=1))
    package = tmp_path / "fastrelay/cli"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "main.py").write_text("def main(): print('the copy')")
    said = subprocess.run(setup.command, env=setup.env, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert said.stdout == "the copy\n"


def test_only_the_same_sources_are_comparable(relay: Compiled, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "fastrelay", tmp_path / "fastrelay", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (tmp_path / "fastrelay/smtp/server.cpython-311-x86_64-linux-gnu.so").touch()
    assert relay.missing() == ""
    with (tmp_path / "fastrelay/intake.py").open("a") as source:
        source.write("# other\n")
    assert relay.missing() == "build/compiled is of other sources: make build/compiled"
    (tmp_path / "fastrelay/intake.py").unlink()
    assert relay.missing() == "build/compiled is of other sources: make build/compiled"
