"""The users file: its lines, its errors, changing it, and how a worker sees the change."""

import multiprocessing
import os
from pathlib import Path

import pytest

from fastrelay.errors import ConfigError
from fastrelay.reception.users import Users
from fastrelay.reception.users_file import changing, parse_users, read_users
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.scram import Verifier

ONE, TWO = scram.make_verifier(b"one", 4096), scram.make_verifier(b"two", 5000)


def test_lines_are_read_in_order() -> None:
    text = f"# users\n\n  ann@a.example:{ONE}\r\nJ\u00fcrgen:{TWO}"
    assert list(parse_users(text, "f").items()) == [("ann@a.example", ONE), ("J\u00fcrgen", TWO)]
    assert parse_users("", "f") == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann", "write name:VERIFIER"),
        (f":{ONE}", "user name cannot be used"),
        (f"a\x07n:{ONE}", "user name cannot be used"),
        ("ann:secret", "write a verifier as"),
        ("ann:SCRAM-SHA-256$1:QQ==$x:y", "iterations"),
        (f"bob:{TWO}", "bob stands in the file twice"),
        ("u" * 256 + f":{ONE}", "at most 255 octets"),
    ],
)
def test_a_bad_line_says_where_and_why(line: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"/etc/users: line 3: .*{why}"):
        parse_users(f"# one\nbob:{ONE}\n{line}\n", "/etc/users")


def test_changing_keeps_comments_order_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "users"
    with changing(str(path)) as lines:
        assert lines.put("ann", ONE)
    path.write_text(f"# first\n{path.read_text()}\n# last\n")
    path.chmod(0o640)
    with changing(str(path)) as lines:
        assert lines.put("bob", TWO)
        assert not lines.put("ann", TWO)
    assert path.read_text() == f"# first\nann:{TWO}\n\n# last\nbob:{TWO}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with changing(str(path)) as lines:
        assert lines.remove("ann") and not lines.remove("ann")
    assert path.read_text() == f"# first\n\n# last\nbob:{TWO}\n"
    assert [one.name for one in tmp_path.iterdir()] == ["users"]


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{ONE}\n")
    with pytest.raises(ZeroDivisionError), changing(str(path)) as lines:
        lines.put("bob", TWO)
        raise ZeroDivisionError
    assert path.read_text() == f"ann:{ONE}\n"
    path.write_text("nonsense\n")
    with pytest.raises(ConfigError, match="line 1"), changing(str(path)):
        pass
    with pytest.raises(ConfigError, match="cannot be changed: No such file"), changing(str(tmp_path / "no" / "users")):
        pass


def test_what_a_killed_run_left_is_replaced_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.new").write_text("half a fi")
    link = tmp_path / "users"
    link.symlink_to("real")
    with changing(str(link)) as lines:
        lines.put("ann", ONE)
    assert link.is_symlink() and read_users(str(link)) == {"ann": ONE}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["real", "users"]


def _add(path: str, name: str) -> None:
    with changing(path) as lines:
        lines.put(name, ONE)


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "users")
    crowd = [multiprocessing.get_context("fork").Process(target=_add, args=(path, f"user{n}")) for n in range(12)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(30)
        assert one.exitcode == 0
    assert set(read_users(path)) == {f"user{n}" for n in range(12)}


def test_a_worker_sees_a_change_at_the_next_login_and_survives_a_slip(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{ONE}\n")
    told: list[tuple[str, str]] = []
    users = Users(str(path), 4096, lambda level, text: told.append((level, text)))
    assert users.find("ann") == ONE and users.find("bob") is None and told == []
    with changing(str(path)) as lines:
        lines.put("bob", TWO)
    assert users.find("bob") == TWO and told.pop()[0] == "info"
    path.write_text("bob:oops\n")
    assert users.find("ann") == ONE and users.find("bob") == TWO
    (level, text), *rest = told
    assert (level, rest) == ("error", []) and "line 1" in text and "known before stay in force" in text
    told.clear()
    os.unlink(path)
    assert users.find("ann") == ONE and [level for level, _ in told] == ["error"]
    with changing(str(path)) as lines:
        lines.put("ann", TWO)
    assert users.find("ann") == TWO and users.find("bob") is None and len(users) == 1


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fastrelay user add NAME"):
        Users(str(tmp_path / "users"), 4096, lambda level, text: None)


def test_a_reload_may_name_another_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"ann:{ONE}\n")
    two.write_text(f"bob:{TWO}\n")
    told: list[str] = []
    users = Users("", 4096, lambda level, text: told.append(level))
    assert len(users) == 0 and users.find("ann") is None
    users.renew(str(one), 4096)
    assert users.find("ann") == ONE
    users.renew(str(two), 5000)
    assert users.find("ann") is None and users.find("bob") == TWO and told == []
    users.renew(str(tmp_path / "three"), 5000)
    assert users.find("bob") == TWO and told == ["error"]
    users.renew("", 5000)
    assert users.find("bob") is None and users.decoy("x").iterations == 5000


def test_a_decoy_is_always_the_same_and_looks_like_a_user(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{ONE}\nbob:{TWO}\n")
    workers = [Users(str(path), 7777, lambda level, text: None) for _ in range(2)]
    decoys = [workers[0].decoy(f"x{n}") for n in range(40)]
    assert decoys == [workers[1].decoy(f"x{n}") for n in range(40)]
    assert {one.iterations for one in decoys} == {4096, 5000}
    assert len({one.salt for one in decoys}) == 40
    assert {len(one.salt) for one in decoys} == {len(ONE.salt)}
    one = decoys[0]
    assert isinstance(one, Verifier) and not scram.matches(one, scram.derive(b"one", one.salt, one.iterations))
    path.write_text("")
    assert Users(str(path), 7777, lambda level, text: None).decoy("x").iterations == 7777
