"""process/suspensions.py: one file, whole at every moment, that all processes read."""

import fcntl
import os
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort, MisuseError
from fastrelay.process.suspensions import Suspension, Suspensions, checked


def one(kind: str, name: str, until: float = 0.0, reason: str = "why") -> Suspension:
    return Suspension(kind, name, 10.0, until, reason, "root")


def test_what_is_suspended_is_read_by_others_and_after_a_restart(tmp_path: Path) -> None:
    writer, reader = Suspensions(tmp_path), Suspensions(tmp_path)
    assert reader.news(0.0) is None, "no file"
    writer.add(one("domain", "A.Example."), 20.0)
    found = reader.news(20.0)
    assert found == (one("domain", "a.example"),) == Suspensions(tmp_path).now(20.0)
    assert reader.news(20.0) is None, "read already"
    writer.add(one("sender", "<>", until=99.0), 20.0)
    writer.add(one("domain", "a.example", reason="another"), 20.0)
    assert reader.news(20.0) == (one("sender", "", 99.0), one("domain", "a.example", reason="another"))
    assert writer.end("domain", "a.example", 20.0) == (True, (one("sender", "", 99.0),))
    assert writer.end("domain", "a.example", 20.0)[0] is False
    assert reader.news(98.0) == (one("sender", "", 99.0),)
    assert reader.now(99.0) == (), "it has come to its end"
    assert os.stat(tmp_path / "control.json").st_mode & 0o777 == 0o600


def test_it_is_synced_before_it_is_renamed_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        done.append("sync " + os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def renamed(before: str, after: Path) -> None:
        done.append("rename")
        rename(before, after)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    Suspensions(tmp_path).add(one("site", "s"), 0.0)
    assert done == ["sync control.json.new", "rename", f"sync {tmp_path.name}"]


def test_two_who_change_at_once_do_not_lose_one_another(tmp_path: Path) -> None:
    file = Suspensions(tmp_path)
    file.add(one("site", "s"), 0.0)
    held = os.open(tmp_path / "control.json.lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(MachineShort, match="try again"):
        file.add(one("site", "t"), 0.0)
    os.close(held)
    assert len(file.add(one("site", "t"), 0.0)) == 2


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b'{"version": 2, "suspensions": []}', b'{"version": 1}'])
def test_a_file_that_is_not_ours_is_told_and_not_overwritten(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / "control.json").write_bytes(octets)
    for act in (lambda f: f.now(0.0), lambda f: f.news(0.0), lambda f: f.add(one("site", "s"), 0.0)):
        with pytest.raises(MachineShort, match=r"control\.json"):
            act(Suspensions(tmp_path))
    assert (tmp_path / "control.json").read_bytes() == octets


def test_names_have_one_spelling() -> None:
    assert checked(one("client", "192.0.2.9/24")).name == "192.0.2.0/24"
    assert checked(one("client", "2001:DB8::1/128")).name == "2001:db8::1"
    assert checked(one("sender-domain", "@News.Example")).name == "news.example"
    assert checked(one("sender", "Joe@X.example")).name == "joe@x.example"
    assert checked(one("site", "Google")).name == "Google"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("colour", "red", "r"),
        ("domain", "", "r"),
        ("domain", "two words", "r"),
        ("client", "host.example", "r"),
        ("site", "s", " "),
        ("site", "s" * 1001, "r"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, kind: str, name: str, reason: str) -> None:
    with pytest.raises(MisuseError):
        Suspensions(tmp_path).add(one(kind, name, reason=reason), 0.0)
    assert not (tmp_path / "control.json").exists()
