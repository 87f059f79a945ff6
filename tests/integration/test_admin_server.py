"""The HTTP server of the admin child, in this process: who makes room, and what stands in the head of a refusal."""

import socket
from collections.abc import Iterator

import pytest

from fastrelay.admin import server
from fastrelay.admin.http import HttpError, Request, Response
from fastrelay.admin.server import Server
from fastrelay.runtime import stream, tasks
from tests.peers.task import run

ASK = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"


class House:
    """A server whose answer to /slow waits for `gate`."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.sock.setblocking(False)
        self.gate = tasks.Event()
        self.server = Server(self.sock, self.handle)

    def handle(self, request: Request, body: bytes) -> Response:
        if request.path == "/slow":
            self.gate.wait(20.0)
        if request.path == "/no":
            raise HttpError(405, "not so", "Allow: GET")
        if request.path == "/bug":
            raise ZeroDivisionError
        return Response(200, b"x")

    def dial(self) -> stream.Stream:
        one = stream.connect("127.0.0.1", self.sock.getsockname()[1], seconds=10.0)
        one.expire_in(20.0)
        return one

    def ask(self, path: bytes) -> bytes:
        one = self.dial()
        one.write(ASK % path)
        return one.read()


@pytest.fixture
def house() -> Iterator[House]:
    one = House()
    yield one
    one.gate.set()
    one.server.close()


def test_who_is_waited_for_longest_makes_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 4)

    def body() -> None:
        silent = house.dial()
        half = house.dial()
        half.write(b"GET / HT")
        kept = house.dial()
        kept.write(ASK % b"one")
        assert kept.read().startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            assert house.ask(b"other").startswith(b"HTTP/1.1 200 ")
        assert silent.read() == b"" and half.read() == b"", "the oldest have gone"

    run(body)


def test_who_is_being_answered_does_not(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 4)

    def body() -> None:
        asked = [house.dial() for _ in range(4)]
        for one in asked:
            one.write(ASK % b"slow")
        while house.server.busy < 4:
            tasks.sleep(0.001)
        refused = house.ask(b"one")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert refused.endswith(b'\r\n\r\n{"code":75,"error":"too many connections, try again"}\n')
        house.gate.set()
        assert all(one.read().startswith(b"HTTP/1.1 200 ") for one in asked)

    run(body)


def test_a_refusal_is_json_with_its_field(house: House) -> None:
    refused = run(lambda: house.ask(b"no"))
    head, _, rest = refused.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ") and b"\r\nAllow: GET\r\n" in head + b"\r\n"
    assert rest == b'{"code":64,"error":"not so"}\n'


def test_a_bug_of_ours_is_told_as_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[str] = []
    monkeypatch.setattr(tasks, "on_crash", lambda name, error: crashes.append(name))
    told = run(lambda: house.ask(b"bug"))
    assert told.startswith(b"HTTP/1.1 500 ") and crashes == ["admin GET /bug"]
    assert told.endswith(b"\r\n\r\n" + b"""{"code":70,"error":"internal error, see the relay's log"}\n""")
