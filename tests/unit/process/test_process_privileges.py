"""Whom children become; the places they own."""

import os
import pwd
from pathlib import Path

import pytest

from fastrelay.errors import ConfigError, MachineShort
from fastrelay.process.privileges import STAY, Identity, identity_of, keeper_of, own_directory, pwd_name


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


def test_root_beside_a_relay_is_the_owner_of_its_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A unit with User= and no server.user: what root writes there must stay readable for that user."""

    class Seen:
        def __init__(self, uid: int) -> None:
            self.st_uid, self.st_gid = uid, 4_000_001

    owner = pwd.getpwnam("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for uid, name in ((owner.pw_uid, "nobody"), (4_000_000, "")):
        monkeypatch.setattr(Path, "stat", lambda self, uid=uid: Seen(uid))
        assert keeper_of(tmp_path, "") == Identity(name, uid, 4_000_001)
        assert keeper_of(tmp_path, "nobody") == identity_of("nobody"), "who is named goes first"
    monkeypatch.setattr(Path, "stat", lambda self: Seen(0))
    assert keeper_of(tmp_path, "") is STAY
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(Path, "stat", lambda self: Seen(owner.pw_uid))
    assert keeper_of(tmp_path, "") is STAY


def test_a_spool_that_is_not_there_has_no_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert keeper_of(tmp_path / "nowhere", "") is STAY


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
