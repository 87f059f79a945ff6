"""The control socket of a slot: permission, framing, bounds, and what a killed predecessor left."""

import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastrelay.control import Door
from fastrelay.control.door import CONNECTIONS
from fastrelay.errors import MisuseError, PeerClosed, PeerError
from fastrelay.runtime import messages, stream
from tests.peers.task import run


def dial(path: Path) -> tuple[stream.Stream, messages.Reader]:
    connection = stream.connect(f"unix:{path}", 0, seconds=5.0)
    connection.expire_in(10.0)
    return connection, messages.Reader(connection)


def test_requests_are_answered_in_order_on_a_private_socket(tmp_path: Path) -> None:
    path = tmp_path / "slot-000.sock"

    def echo(request: object) -> object:
        return {"asked": request}

    def body() -> None:
        door = Door(echo, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connection, reader = dial(path)
        for n in range(3):
            messages.send(connection, {"n": n, "fill": "x" * 20_000})
        for n in range(3):
            assert reader.receive()["asked"]["n"] == n
        connection.close()
        door.close()
        assert not path.exists()

    run(body)


def test_a_socket_left_by_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "slot-000.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    (tmp_path / "slot-000.sock.new").touch()

    def body() -> None:
        door = Door(lambda request: "fresh", path)
        connection, reader = dial(path)
        messages.send(connection, 1)
        assert reader.receive() == "fresh"
        connection.close()
        door.close()

    run(body)


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x04nope", b"\x00\x00\x00\x09{}"])
def test_whoever_speaks_otherwise_is_hung_up_on(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "slot-000.sock"

    def body() -> None:
        door = Door(lambda request: "never", path)
        connection, reader = dial(path)
        connection.write(octets)
        if octets.endswith(b"{}"):
            connection._sock.shutdown(socket.SHUT_WR)
        assert reader.receive() is None
        connection.close()
        door.close()

    run(body)


def test_one_asker_too_many_is_hung_up_on(tmp_path: Path) -> None:
    path = tmp_path / "slot-000.sock"

    def body() -> None:
        door = Door(lambda request: request, path)
        held = [dial(path) for _ in range(CONNECTIONS)]
        for connection, reader in held:
            messages.send(connection, 1)
            assert reader.receive() == 1
        extra, reader = dial(path)
        with pytest.raises((PeerClosed, AssertionError)):
            messages.send(extra, 1)
            assert reader.receive() == 1
        for connection, _ in [*held, (extra, reader)]:
            connection.close()
        door.close()

    run(body)


def test_a_message_over_the_bound_is_refused_by_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slot-000.sock"
    monkeypatch.setattr(messages, "MAX", 1000)

    def body() -> None:
        door = Door(lambda request: request, path)
        connection, reader = dial(path)
        with pytest.raises(PeerError, match="more than 1000"):
            messages.send(connection, "x" * 2000)
        long: Any = msgspec.json.encode("x" * 2000)
        connection.write(len(long).to_bytes(4, "big") + long)
        assert reader.receive() is None
        connection.close()
        door.close()

    run(body)


def test_a_place_where_nobody_can_listen_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"cannot listen on .*nowhere/slot-000\.sock: No such file"):
        Door(lambda request: request, tmp_path / "nowhere/slot-000.sock")
