"""The program: one line and one exit code for every error, help without importing, commands that stay light."""

import errno
import io
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from fastrelay import __version__
from fastrelay.cli import main
from fastrelay.errors import ConfigError, Impossible, MachineShort, MisuseError, PeerTimeout

HEAVY = ("gevent", "dns", "rich", "prometheus_client", "http.client", "email", "asyncio")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run` where the one command ends with an error."""

    def run(error: BaseException) -> int:
        @click.command()
        def check() -> None:
            raise error

        monkeypatch.setattr(main.Commands, "get_command", lambda self, ctx, name: check)
        return main.run(["check"])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("f.toml: server.workes: unknown key"), 78),
        (MisuseError("cannot be"), 64),
        (MachineShort("disk full"), 75),
        (PeerTimeout("silent"), 69),
        (click.UsageError("What is that?"), 64),
        (click.FileError("x", "gone"), 64),
    ],
)
def test_every_error_is_one_line_and_a_code(
    failing: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    assert failing(error) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_no_error(failing: Any, capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    assert failing(error) == 130
    assert capsys.readouterr().err.strip() == ""


def test_an_error_with_several_lines_stays_one(failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(MisuseError("first\nsecond")) == 64
    assert capsys.readouterr().err == "fastrelay: first second\n"


def test_a_bug_is_loud(failing: Any) -> None:
    with pytest.raises(Impossible):
        failing(Impossible("never"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "fastrelay: no such command 'nonsense'; see fastrelay --help\n"),
        (["status", "--x"], "fastrelay status: no such option '--x'; see fastrelay status --help\n"),
        (["queue", "show"], "fastrelay queue show: missing argument 'ID'; see fastrelay queue show --help\n"),
        (["queue", "lst"], "fastrelay queue: no such command 'lst'; see fastrelay queue --help\n"),
        (["serv"], "fastrelay: no such command 'serv', did you mean 'serve'?; see fastrelay --help\n"),
    ],
)
def test_usage_errors_say_where_help_is(capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert main.run(words) == 64
    err = capsys.readouterr().err
    assert err.replace('"', "'") == says or err.startswith(says.partition(";")[0].rstrip("\n"))


def test_what_was_probably_meant_is_in_the_same_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check", "--conf", "x"]) == 64
    assert capsys.readouterr().err == (
        "fastrelay check: no such option '--conf', did you mean '--config'?; see fastrelay check --help\n"
    )


def test_a_configuration_that_cannot_be_read_is_78_whatever_the_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "nowhere.toml", "No such file or directory")):
        assert main.run(["check", "-c", str(path)]) == 78
        assert capsys.readouterr().err == f"fastrelay: {path}: cannot be read: {why}\n"


def test_the_list_of_a_groups_commands_is_whole_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for group in ("queue", "user"):
        main.run([group, "--help"])
        assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize("words", [[], ["queue"]])
def test_without_a_command_the_help_page_is_shown_as_it_is(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    main.run(words)
    shown = "".join(capfd.readouterr())
    assert shown.startswith("Usage: fastrelay ") and shown.count("\n") > 10 and "see fastrelay" not in shown


def test_exit_codes_of_commands_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, code in ((75, 75), (0, 0), (None, 0)):
        command = click.Command("check", callback=lambda given=given: given)
        monkeypatch.setattr(main.Commands, "get_command", lambda self, ctx, name, command=command: command)
        assert main.run(["check"]) == code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"fastrelay {__version__}\n"


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_table_repeats_each_commands_help(name: str) -> None:
    command = getattr(import_module(f"fastrelay.cli.{name}"), name)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == main.COMMANDS[name]


def _all_commands() -> list[tuple[str, click.Command]]:
    found = []
    for name in main.COMMANDS:
        command = getattr(import_module(f"fastrelay.cli.{name}"), name)
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", one) for below, one in command.commands.items()]
    return found


@pytest.mark.parametrize(("path", "command"), _all_commands())
def test_help_has_an_example_that_names_the_command(path: str, command: click.Command) -> None:
    example = (command.help or "").rpartition("Example:  fastrelay ")[2]
    assert example.startswith(path), command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option)), "an option without help"


@pytest.mark.parametrize(("path", "command"), _all_commands())
def test_help_fits_80_columns(path: str, command: click.Command) -> None:
    page = command.get_help(click.Context(command, info_name=f"fastrelay {path}", terminal_width=80))
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize("path", ["check", "status", "resolve", "demo", "bench", "sink", "send", "queue list",
                                  "queue summary", "queue show", "queue retry", "queue hold", "queue release",
                                  "queue remove", "user list"])  # fmt: skip
def test_commands_that_print_take_json(path: str) -> None:
    command = dict(_all_commands())[path]
    assert any("--json" in option.opts for option in command.params)


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["status", "-c", "{config}"],
        ["queue", "list", "-h"],
        ["user", "list", "-c", "{config}"],
    ],
)
def test_what_must_start_fast_imports_nothing_heavy(tmp_path: Any, words: list[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"[server]\nruntime_dir = '{tmp_path}'\n")
    line = [word.format(config=config) for word in words]
    script = f"import sys; from fastrelay.cli.main import run; run({line!r}); print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    assert "click" in loaded and not loaded & set(HEAVY)


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "gone")

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main.run(["--help"]) == 0
