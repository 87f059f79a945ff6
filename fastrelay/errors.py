"""Whose fault is it? The type of an error answers, in four families.

PeerError      a peer broke the protocol, went silent or went away: answered with a reply, or a deferral.
MisuseError    our operator or our own caller asked for what cannot be: bad config, bad argument. One line, exit 64/78.
MachineShort   the machine ran out of something (disk, memory, descriptors): the client gets a 4xx, nothing is lost.
Impossible     an invariant is broken: ends the task or the process loudly, never papered over.
"""


class FastrelayError(Exception):
    """Root of everything this program raises on purpose."""


class PeerError(FastrelayError):
    """The other side of a connection broke the protocol, or is gone."""


class PeerClosed(PeerError):
    """The peer closed or reset the connection where more was due."""


class PeerUnreachable(PeerClosed):
    """No way leads to that address from here: its whole family may have no route."""


class PeerTimeout(PeerError):
    """A deadline passed while waiting for the peer (seconds and phase in the message)."""


class TlsFailed(PeerError):
    """Handshake or certificate failure; the message names which and why."""


class CertificateUntrusted(TlsFailed):
    """The handshake would have worked, but for the peer's certificate: unknown authority, expired, other name."""


class MisuseError(FastrelayError):
    """What was asked for cannot be; the message says what to do instead."""


class ConfigError(MisuseError):
    """The configuration is wrong: `file: key: why, what to do`."""


class MachineShort(FastrelayError):
    """Out of disk, memory or descriptors. `code` and `enhanced` are what an SMTP client is told.

    The text after them never names a path or an errno: those go to the log, in `detail`.
    """

    def __init__(self, text: str, *, code: int = 452, enhanced: str = "4.3.1", detail: str = "") -> None:
        super().__init__(f"{text} ({detail})" if detail else text)
        self.code = code
        self.enhanced = enhanced
        self.text = text
        self.detail = detail


class SpoolDamaged(FastrelayError):
    """A stored message failed its checksum: it is quarantined, visible to the operator, and never sent."""


class Impossible(FastrelayError):
    """An invariant of ours is broken. Ends loudly."""
