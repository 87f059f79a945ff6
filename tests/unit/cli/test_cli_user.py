"""`fastrelay user`: the password from standard input, the file it makes, and what it answers."""

import io
import json
import os
from pathlib import Path

import pytest

from fastrelay.cli import main
from fastrelay.reception.users_file import read_users
from fastrelay.smtp.sasl import scram


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fastrelay.toml"
    path.write_text(f"[auth]\nusers = '{tmp_path}/users'\niterations = 4096\n")
    return path


def user(monkeypatch: pytest.MonkeyPatch, words: list[str], config: Path, typed: str = "") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    try:
        return main.run(["user", *words, "-c", str(config)])
    except SystemExit as ended:
        return int(ended.code or 0)


def test_add_list_change_remove(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(config.parent / "users")
    assert user(monkeypatch, ["add", "app@a.example"], config, "s3cret\nmore\n") == 0
    assert capsys.readouterr().out == "app@a.example: added\n"
    first = read_users(file)["app@a.example"]
    assert first.iterations == 4096
    assert scram.matches(first, scram.derive(b"s3cret", first.salt, 4096))
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert "s3cret" not in Path(file).read_text()
    user(monkeypatch, ["add", "other"], config, "p\n")
    assert user(monkeypatch, ["add", "app@a.example"], config, "new\n") == 0
    assert "another password" in capsys.readouterr().out
    second = read_users(file)["app@a.example"]
    assert second.salt != first.salt and scram.matches(second, scram.derive(b"new", second.salt, 4096))
    assert user(monkeypatch, ["list"], config) == 0
    assert capsys.readouterr().out.splitlines() == ["USER           ITERATIONS", "app@a.example       4,096",
                                                    "other               4,096"]  # fmt: skip
    assert user(monkeypatch, ["list", "--json"], config) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"name": "other", "mechanism": "SCRAM-SHA-256", "iterations": 4096}
    assert user(monkeypatch, ["remove", "other"], config) == 0
    assert list(read_users(file)) == ["app@a.example"]
    assert user(monkeypatch, ["remove", "other"], config) == 65
    assert "there is no other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "typed", "code", "why"),
    [
        (["add", "a:b"], "p\n", 64, 'has no ":"'),
        (["add", " "], "p\n", 64, "user name cannot be used"),
        (["add", "a"], "\n", 64, "password cannot be used"),
        (["add", "a"], "", 64, "password cannot be used"),
        (["add", "a"], "x\x07y\n", 64, "password cannot be used"),
        (["add", "a"], "x" * 1025 + "\n", 64, "at most 1024 octets"),
        (["remove", "a"], "", 78, "`fastrelay user add NAME` makes it"),
        (["list"], "", 78, "`fastrelay user add NAME` makes it"),
    ],
)
def test_refused_and_no_file_is_made(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    typed: str,
    code: int,
    why: str,
) -> None:
    assert user(monkeypatch, words, config, typed) == code
    assert why in capsys.readouterr().err
    assert not (config.parent / "users").exists()


def test_a_password_never_stands_on_the_command_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["user", "add", "a", "s3cret", "-c", str(config)]) == 64
    assert main.run(["user", "add", "a", "--password", "s3cret", "-c", str(config)]) == 64


def test_check_shows_no_password_and_wants_the_users_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f"[auth]\nusers = '{tmp_path}/users'\niterations = 4096\n"
        "[[listener]]\nauth = 'optional'\nauth_plaintext = true\n"
        "[[credentials]]\nname = 'hub'\nuser = 'me'\npassword = 's3cret'\n"
    )
    assert main.run(["check", "-c", str(config)]) == 78
    assert "`fastrelay user add NAME` makes it" in capsys.readouterr().err
    user(monkeypatch, ["add", "a"], config, "p\n")
    assert main.run(["check", "-c", str(config)]) == 0
    assert "note: listener[0].auth_plaintext" in capsys.readouterr().out
    assert main.run(["check", "-c", str(config), "--json"]) == 0
    shown = capsys.readouterr().out
    assert '"hub"' in shown and "s3cret" not in shown
