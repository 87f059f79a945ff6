"""Whom children become; the places they own."""

import os
import pwd
from pathlib import Path

import pytest

from fastrelay.errors import ConfigError, MachineShort
from fastrelay.process.privileges import STAY, Identity, identity_of, own_directory, pwd_name


def test_no_user_stays_who_it_is() -> None:
    assert identity_of("") is STAY and not STAY.changes


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(ConfigError, match=r"server\.user: there is no user 'nobody-here'"):
        identity_of("nobody-here")


def test_to_become_oneself_is_no_change() -> None:
    own = pwd.getpwuid(os.geteuid())
    assert identity_of(own.pw_name) == Identity(own.pw_name, own.pw_uid, own.pw_gid)
    assert not Identity("", os.geteuid(), os.getegid()).changes


def test_only_root_becomes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(ConfigError, match="only root can become 'root'"):
        identity_of("root")


def test_directories_are_made_with_those_above(tmp_path: Path) -> None:
    own_directory(tmp_path / "a/b", STAY, 0o700)
    own_directory(tmp_path / "a/b", STAY, 0o700)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_what_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is no directory"):
        own_directory(tmp_path / "file", STAY, 0o700)
    with pytest.raises(MachineShort, match="cannot prepare directory"):
        own_directory(tmp_path / "file/below", STAY, 0o700)


def test_a_uid_without_a_name_is_a_number() -> None:
    assert pwd_name(os.geteuid()) and pwd_name(3_999_999_999) == "uid 3999999999"
