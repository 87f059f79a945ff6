"""The server machine and the dot codec driven by hand: what unit tests and fuzz ask of both."""

from fastrelay.smtp.data import Decoder
from fastrelay.smtp.phases import State
from fastrelay.smtp.server import Server


def assert_consistent(machine: Server) -> None:
    """State and envelope fit: a sender from MAIL on, recipients from RCPT on."""
    state = machine.state
    if state is State.ASTRAY:
        assert machine.chunk is not None
        state = machine.chunk.back
    with_recipients = (State.RCPT, State.CHUNKS, State.CHUNK, State.CONTENT)
    assert (machine.mail is None) == (state not in (State.MAIL, *with_recipients))
    assert bool(machine.recipients) == (state in with_recipients)


def decode(pieces: list[bytes], *, mend: bool = False) -> tuple[bytes, bytes | None, Decoder]:
    """Content, what followed the end of data (None: it never ended), the decoder."""
    decoder = Decoder(mend=mend)
    content = b""
    for n, piece in enumerate(pieces):
        got, rest = decoder.feed(piece)
        content += got
        if rest >= 0:
            return content, piece[rest:] + b"".join(pieces[n + 1 :]), decoder
    return content, None, decoder
