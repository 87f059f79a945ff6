"""process/changes.py: what a change that goes wrong does to a house that serves, namely nothing."""

from typing import Any, cast

import pytest

from fastrelay.config import Config
from fastrelay.process.changes import Changes
from tests.peers.descriptors import descriptors_left


class Premises:
    handover = None
    handed = False
    is_there = True


def test_a_bug_while_the_configuration_is_read_is_a_line_and_the_house_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = 0

    def reread() -> Config:
        nonlocal asked
        asked += 1
        raise NameError("name 'Token' is not defined\nand more")

    changes = Changes(
        cast(Any, None), cast(Any, Premises()), cast(Any, None), reread=reread, suspects=lambda: (), patience=1.0
    )
    changes.want_reload()
    changes.look(0.0)
    changes.look(1.0)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].endswith("reload refused: internal error, please report it: NameError: name 'Token' is not defined")
    assert asked == 1


def test_a_machine_without_descriptors_cannot_upgrade_and_the_house_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    changes = Changes(
        cast(Any, None), cast(Any, Premises()), cast(Any, None), reread=None, suspects=lambda: (), patience=1.0
    )
    changes.want_upgrade()
    with descriptors_left(1):
        changes.look(0.0)
    changes.look(1.0)
    (said,) = capfd.readouterr().err.splitlines()
    assert said.endswith("upgrade refused: cannot make a link: Too many open files: nothing was changed")
