"""One BDAT on its way in (RFC 3030 2): how many of its octets are still to come, and what becomes of them.

A chunk is counted out to its last octet whatever is thought of it: the octets of one that was refused are thrown away
before the reply, and only then is the next command looked for. What cannot be counted (a number that is none) ends the
connection, for nothing could tell commands from content any more.
"""

from fastrelay.mail.reply import Reply
from fastrelay.smtp.phases import State


class Chunk:
    """One per session, from its first BDAT on; `begin` for each.

    left: octets still to come. size: of the whole chunk, for its reply. last: the message ends with it. answer: why it
    was refused, None while it belongs to a message. back: the state it was refused in, and that comes again.
    blamed: a chunk of this message was refused before, so those pipelined behind it are no further errors.
    """

    __slots__ = ("answer", "back", "blamed", "last", "left", "size")

    def __init__(self) -> None:
        self.blamed = False
        self.begin(0, last=False)

    def begin(self, size: int, *, last: bool) -> None:
        """BDAT is taken: so many octets follow."""
        self.size = self.left = size
        self.last = last
        self.answer: Reply | None = None
        self.back = State.READY

    def stray(self, size: int, answer: Reply, back: State) -> None:
        """BDAT is refused, and its octets come all the same."""
        self.begin(size, last=True)
        self.answer = answer
        self.back = back
