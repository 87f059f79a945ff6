"""One message on its way in, from 354 to the dot or chunk by chunk: decoded, measured, judged. Pure.

A message that breaks a rule is spoiled: nothing more of it is handed on, the rest is swallowed so that the dialogue
stays in step, and its end is answered with `verdict`. Rules: size (RFC 1870), bare CR and LF (RFC 5321 2.3.8), length
of text lines (4.5.3.1.6), and whatever the owner of the session says by `spoil`. `endless` is true when a spoiled
message goes on so long that hanging up is better than reading on.
"""

from typing import Any

from fastrelay.mail.reply import Reply
from fastrelay.smtp import words
from fastrelay.smtp.data import Decoder
from fastrelay.smtp.terms import Terms

SWALLOWED = 1024 * 1024  # octets read beyond twice the size limit before a spoiled message is cut off


class Incoming:
    """One per session, `begin` for each message. size: octets so far, without transparency dots; verdict: None while
    the message may still be taken."""

    __slots__ = ("_decoder", "_terms", "size", "verdict")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._decoder = Decoder(mend=terms.mend)
        self.size = 0
        self.verdict: Reply | None = None

    def begin(self) -> None:
        """354 was said, or the first BDAT: a new message comes."""
        self._decoder.reset()
        self.size = 0
        self.verdict = None

    def feed(self, octets: bytes) -> tuple[bytes, int]:
        """(content, rest) as Decoder.feed, and `verdict` is up to date."""
        decoder = self._decoder
        content, _ = result = decoder.feed(octets)
        self.size += len(content)
        if self.size > self._terms.max_size or decoder.bare or decoder.long:
            self._judge()
        return result

    def announce(self, octets: int) -> None:
        """So many octets follow by BDAT: too many are known before they come (RFC 3030 2)."""
        if self.verdict is None and self.size + octets > self._terms.max_size:
            self.verdict = self._terms.too_large

    def chunk(self, octets: bytes) -> bytes:
        """The content in octets of a chunk, and `verdict` is up to date."""
        content = self._decoder.chunk(octets)
        self.size += len(content)
        self._judge()
        return content

    def finish(self) -> bytes:
        """The last chunk has come: what is still due of the content."""
        content = self._decoder.finish()
        self.size += len(content)
        self._judge()
        return content

    def _judge(self) -> None:
        if self.verdict is None:
            terms = self._terms
            if self.size > terms.max_size:
                self.verdict = terms.too_large
            elif self._decoder.bare and not terms.mend:
                self.verdict = words.BARE
            elif self._decoder.long:
                self.verdict = words.LONG_TEXT

    def spoil(self, answer: Reply) -> None:
        """It will not be taken, for a reason of the owner's."""
        self.verdict = answer

    @property
    def changes(self) -> dict[str, Any]:
        """What the content handed on is not as it came, for the log: bare CR or LF were replaced ("mended")."""
        return {"mended": True} if self._decoder.bare else {}

    @property
    def endless(self) -> bool:
        """Spoiled, and far beyond what an honest client would still be sending."""
        return self.verdict is not None and self.size > 2 * self._terms.max_size + SWALLOWED
