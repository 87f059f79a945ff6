"""Where a dialogue stands, on both sides, and how long each stand may last (RFC 5321 4.5.3.2). Tables, no code.

Server: `State` and TRANSITIONS, the only place that says what may follow what. A step without an entry for the present
state is out of order: 503 with the words of OUT_OF_ORDER. Client: CLIENT_SECONDS, one row per phase of an outcome.
"""

import enum

from fastrelay.mail.outcome import Phase


class State(enum.IntEnum):
    """How far the client has come."""

    START = 0  # connected, no HELO or EHLO yet
    READY = 1  # introduced, no transaction
    MAIL = 2  # sender accepted
    RCPT = 3  # at least one recipient accepted
    CHUNKS = 4  # a part of the message came by BDAT, and it was not the last
    AUTH = 5  # an exchange of AUTH is under way; from here on no command is looked for
    CONTENT = 6  # 354 was said, the message is on its way
    CHUNK = 7  # the octets of a BDAT are on their way
    ASTRAY = 8  # so are they, but of a BDAT that was refused: they are thrown away
    CLOSED = 9  # the last reply is said; nothing more is read

    __hash__ = int.__hash__  # that of Enum is a Python function, called at every look into a table


class Step(enum.IntEnum):
    """What moves a dialogue on. Each is taken only when it succeeded."""

    HELLO = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END = 4  # the message was taken, refused or spoiled: either way the transaction is over
    RESET = 5
    TLS = 6
    CLOSE = 7
    CHUNK = 8  # BDAT is taken, its octets follow
    MORE = 9  # they came, and another BDAT is to follow
    STRAY = 10  # BDAT is refused, its octets follow all the same; then all is as before
    AUTH = 11
    AUTH_END = 12  # with or without success
    XCLIENT = 13


_COMMANDS = (State.START, State.READY, State.MAIL, State.RCPT, State.CHUNKS)
_OPEN = (*_COMMANDS, State.AUTH, State.CONTENT, State.CHUNK, State.ASTRAY)

TRANSITIONS: dict[Step, dict[State, State]] = {
    # EHLO in a transaction resets it (RFC 5321 4.1.4)
    Step.HELLO: dict.fromkeys(_COMMANDS, State.READY),
    Step.MAIL: {State.READY: State.MAIL},
    Step.RCPT: {State.MAIL: State.RCPT, State.RCPT: State.RCPT},
    Step.DATA: {State.RCPT: State.CONTENT},
    Step.END: {State.CONTENT: State.READY, State.CHUNK: State.READY},
    Step.RESET: {**dict.fromkeys(_COMMANDS, State.READY), State.START: State.START},
    Step.TLS: {State.READY: State.START},  # all that was said in plaintext is forgotten (RFC 3207 4.2)
    Step.AUTH: {State.READY: State.AUTH},
    Step.AUTH_END: {State.AUTH: State.READY},
    Step.XCLIENT: dict.fromkeys((State.START, State.READY), State.START),
    Step.CLOSE: dict.fromkeys(_OPEN, State.CLOSED),
    Step.CHUNK: {State.RCPT: State.CHUNK, State.CHUNKS: State.CHUNK},
    Step.MORE: {State.CHUNK: State.CHUNKS},
    Step.STRAY: dict.fromkeys((State.START, State.READY, State.MAIL), State.ASTRAY),
}

_IN_TRANSACTION = dict.fromkeys((State.MAIL, State.RCPT, State.CHUNKS), "Not in a transaction")

OUT_OF_ORDER: dict[Step, dict[State, str]] = {
    Step.MAIL: {
        State.START: "EHLO first",
        State.MAIL: "Sender already given",
        State.RCPT: "Sender already given",
        State.CHUNKS: "BDAT has begun",
    },
    Step.RCPT: {State.START: "EHLO first", State.READY: "MAIL first", State.CHUNKS: "BDAT has begun"},
    Step.DATA: {
        State.START: "EHLO first",
        State.READY: "MAIL first",
        State.MAIL: "No valid recipients",
        State.CHUNKS: "BDAT has begun",
    },
    Step.CHUNK: {State.START: "EHLO first", State.READY: "MAIL first", State.MAIL: "No valid recipients"},
    Step.AUTH: {State.START: "EHLO first", **_IN_TRANSACTION},
    Step.TLS: {State.START: "EHLO first", **_IN_TRANSACTION},
    Step.XCLIENT: _IN_TRANSACTION,
}

# -- how long ---------------------------------------------------------------------------------------------------------

SERVER_CLOSING_SECONDS = 10.0  # for a last reply (421, 221) to leave; no RFC: the connection ends either way
SERVER_TLS_SECONDS = 30.0  # no RFC figure; a handshake is three flights, and holds a connection's place
SERVER_LINGER_SECONDS = 2.0  # after a last reply to a client that may still send: time for it to read the reply and
# close (no RFC; two retransmissions of a lost segment)

CLIENT_SECONDS: dict[Phase, float] = {
    Phase.CONNECT: 30.0,  # no RFC figure; Linux gives up after 127 s, the next host should have its turn before
    Phase.BANNER: 300.0,  # 4.5.3.2.1
    Phase.EHLO: 300.0,  # as MAIL
    Phase.STARTTLS: 120.0,  # no RFC figure; a handshake is three flights
    Phase.AUTH: 180.0,  # RFC 4954 4 asks for at least 3 minutes on the server's side
    Phase.MAIL: 300.0,  # 4.5.3.2.2
    Phase.RCPT: 300.0,  # 4.5.3.2.3
    Phase.DATA: 120.0,  # 4.5.3.2.4
    Phase.CONTENT: 180.0,  # 4.5.3.2.5, each block
    Phase.DOT: 600.0,  # 4.5.3.2.6: shorter, and a slow receiver makes duplicates
}
