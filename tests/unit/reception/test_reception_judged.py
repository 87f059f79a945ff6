"""What a session tells the jury: each accepted message, after it was taken; nothing where nobody asked."""

from fastrelay.errors import MachineShort
from fastrelay.reception.gathering import HOLD
from fastrelay.reception.session import Session
from tests.peers.front_desk import FakeIntake, FakeLog, ScriptStream, desk_of

OPENING = [b"EHLO client.example\r\n", b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@there.example>\r\nDATA\r\n"]
BODY = b"Subject: x\r\n\r\nHello\r\n"
QUIT = b"QUIT\r\n"


class Heard:
    """A judge that notes what it hears, and how much of it was in the house by then."""

    def __init__(self, intake: FakeIntake) -> None:
        self.intake = intake
        self.calls: list[tuple[bytes, bytes, object, int]] = []

    def __call__(self, ident: bytes, prefix: bytes, content: object) -> None:
        self.calls.append((ident, prefix, content, len(self.intake.messages)))


def played(chunks: list[bytes], *, judged: bool = True, dot: MachineShort | None = None) -> tuple[Heard, ScriptStream]:
    intake = FakeIntake()
    intake.dot = dot
    heard = Heard(intake)
    desk = desk_of(intake, FakeLog())
    if judged:
        desk.judge = heard
    stream = ScriptStream([*OPENING, *chunks, QUIT], "127.0.0.1")
    Session(desk, stream, "s-1").run()
    return heard, stream


def test_each_accepted_message_once_it_is_in_the_house() -> None:
    heard, stream = played([BODY + b".\r\n", OPENING[1], BODY + b".\r\n"])
    assert len(heard.calls) == 2 and [call[3] for call in heard.calls] == [1, 2]
    ident, prefix, content, _ = heard.calls[0]
    assert ident == heard.intake.messages[0].ident and prefix == heard.intake.messages[0].prefix
    assert content == BODY
    assert stream.written.count(b"queued as") == 2


def test_a_large_message_is_told_as_what_it_came_in() -> None:
    heard, _stream = played([b"X: " + b"y" * 60 + b"\r\n"] * 400 + [b".\r\n"])
    assert len(heard.intake.messages[0].content) > HOLD
    assert len(heard.calls) == 1 and not isinstance(heard.calls[0][2], bytes)


def test_a_message_that_was_not_taken_is_not_told() -> None:
    heard, stream = played([BODY + b".\r\n"], dot=MachineShort("no room"))
    assert heard.calls == [] and b"452 " in stream.written


def test_nothing_is_told_where_the_listener_does_not_want_it() -> None:
    heard, stream = played([BODY + b".\r\n"], judged=False)
    assert heard.calls == [] and b"queued as" in stream.written
