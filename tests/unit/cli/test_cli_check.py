"""`fastrelay check`: what only shows when it is used."""

from pathlib import Path

import pytest

from fastrelay.cli.check import verify
from fastrelay.config import parse
from fastrelay.errors import ConfigError


def test_an_event_log_needs_a_directory_that_exists(tmp_path: Path) -> None:
    for events in ("stdout", "none", str(tmp_path / "events.log")):
        verify(parse(f"[log]\nevents = '{events}'"))
    for path in (tmp_path / "nowhere" / "events.log", tmp_path):
        with pytest.raises(ConfigError, match=r"log\.events: .* cannot be a file there"):
            verify(parse(f"[log]\nevents = '{path}'"))
