"""What a package holds beside the program: the pages and the files of deploy/, at the place the systemd unit names."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[3]
SHARE = Path("share/doc/fastrelay")


def test_pages_and_deploy_come_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: said.update(words))
    runpy.run_path(str(ROOT / "setup.py"))
    placed = {
        (Path(folder) / Path(name).name).relative_to(SHARE): Path(name)
        for folder, names in said["data_files"]
        for name in names
    }
    assert all(there == here for there, here in placed.items())  # links between them lead on
    wanted = {path.relative_to(ROOT) for path in (ROOT / "deploy").rglob("*") if path.is_file()}
    wanted |= {path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")}
    assert wanted | {Path("README.md"), Path("CHANGELOG.md")} <= set(placed)


def test_the_unit_names_a_page_that_is_installed() -> None:
    unit = (ROOT / "deploy/systemd/fastrelay.service").read_text(encoding="utf-8")
    (page,) = re.findall(r"^Documentation=file:///opt/fastrelay/(\S+)$", unit, re.MULTILINE)
    assert (ROOT / Path(page).relative_to(SHARE)).is_file()
