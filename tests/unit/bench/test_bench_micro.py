"""Each operation of the micro benchmarks does what its name says, as often as it is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.micro import run
from bench.micro.operations import CONTENT, OPERATIONS, PREFIX, Make
from fastrelay.smtp import client, server
from fastrelay.spool.store import Store


@pytest.mark.parametrize("make", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_can_be_repeated_and_says_what_it_is(make: Make, tmp_path: Path) -> None:
    repeat = make(tmp_path)
    for _ in range(5):
        repeat()
    assert make.__doc__


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What passed through the doors under measurement."""
    found: list[object] = []
    taken, sent, read = server.Server.taken, client.Client.sent, Store.read

    class Watched(server.Server):
        def taken(self, ident: str) -> None:
            found.append(self.size)
            taken(self, ident)

    class Watching(client.Client):
        def sent(self) -> None:
            sent(self)
            found.append(self.state)

    class Reading(Store):
        def read(self, ident: bytes):  # type: ignore[no-untyped-def]
            message = read(self, ident)
            found.append(b"".join(message.parts))
            return message

    monkeypatch.setattr("bench.micro.operations.Server", Watched)
    monkeypatch.setattr("bench.micro.operations.Client", Watching)
    monkeypatch.setattr("bench.micro.operations.Store", Reading)
    yield found


@pytest.mark.interpreted
def test_a_session_brings_its_message_in(seen: list[object], tmp_path: Path) -> None:
    OPERATIONS["session"](tmp_path)()
    assert seen == [len(CONTENT)]


@pytest.mark.interpreted
def test_a_transaction_comes_to_its_dot(seen: list[object], tmp_path: Path) -> None:
    repeat = OPERATIONS["transaction"](tmp_path)
    repeat()
    repeat()
    assert seen == [client.State.DOT] * 2


@pytest.mark.interpreted
def test_a_message_is_read_back_whole(seen: list[object], tmp_path: Path) -> None:
    OPERATIONS["store_message"](tmp_path)()
    assert seen == [PREFIX + CONTENT]


def test_the_command_shows_what_it_was_asked_for(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        run.main,
        ["window", "ident", "--seconds", "0.001", "--folder", "/var/tmp", "--json", str(tmp_path / "out.json")],
    )
    assert done.exit_code == 0, done.output
    assert "window" in done.output and "ident" in done.output and "session" not in done.output
    assert '"fastest"' in (tmp_path / "out.json").read_text()


def test_an_unknown_operation_is_named() -> None:
    done = CliRunner().invoke(run.main, ["windw"])
    assert done.exit_code == 2
    assert "windw" in done.output
