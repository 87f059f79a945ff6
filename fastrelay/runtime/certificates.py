"""The certificates of one listener: loaded, chosen by the name a client asks for (SNI, RFC 6066 3), replaced while it
runs.

Names are those of the certificates themselves: exact ones first, then wildcards for one label; where several bear a
name the first in the configuration is shown, and the very first to who asks for no name or a strange one.

Every LOOK seconds the files are looked at (inode, time, size; through links, as certbot makes them). What has changed
and then stood still for one look is loaded; a pair that does not load leaves the old one in force and is told of once.
A handshake takes the context that is there when it begins: sessions under way never notice.

client_ca: clients are asked for a certificate. One that those authorities do not vouch for ends the handshake; Python's
ssl has no way to look the other way. Certificates of clients may stand in the file themselves.
"""

import ssl
import time
from collections.abc import Callable, Sequence

from fastrelay.config import Listener
from fastrelay.errors import ConfigError
from fastrelay.runtime import x509
from fastrelay.runtime.stamp import Stamp, stamp_of
from fastrelay.runtime.tls import file_text, server_context
from fastrelay.runtime.x509 import Certificate

LOOK = 2.0  # seconds, as long as both files of a renewal take at most


def of_listener(
    listener: Listener, say: Callable[[str, str], object] = lambda level, text: None
) -> "Certificates | None":
    """Those of a [[listener]]; None where it has no TLS."""
    if listener.tls == "none":
        return None
    files = [(listener.certificate, listener.key), *((one.certificate, one.key) for one in listener.certificates)]
    return Certificates(files, listener.client_ca, say=say, where=f"listener {listener.address}")


class Pair:
    """A certificate with its key, loaded: context, and what it says of itself. ConfigError names the file."""

    __slots__ = ("certificate", "context", "files", "stamps")

    def __init__(self, certificate: str, key: str, client_ca: str = "") -> None:
        self.files = tuple(name for name in (certificate, key, client_ca) if name)
        self.stamps = tuple(map(stamp_of, self.files))
        self.certificate = _leaf(certificate)
        self.context = server_context(certificate, key, client_ca)


class Certificates:
    """What a listener shows. context: for the next handshake. say(level, text) tells an operator; where: which
    listener, for messages. ConfigError when a file is missing, cannot be read or does not fit."""

    __slots__ = (
        "_exact",
        "_next_look",
        "_pairs",
        "_say",
        "_seen",
        "_told_on",
        "_wall",
        "_wanted",
        "_where",
        "_wildcards",
        "context",
    )

    def __init__(
        self,
        files: Sequence[tuple[str, str]],
        client_ca: str = "",
        *,
        say: Callable[[str, str], object] = lambda level, text: None,
        where: str = "listener",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wanted = [(certificate, key, client_ca) for certificate, key in files]
        self._say = say
        self._where = where
        self._wall = wall
        self._next_look = 0.0
        self._told_on = 0  # day of the last complaints
        try:
            self._pairs = [Pair(*wanted) for wanted in self._wanted]
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        self._seen = [pair.stamps for pair in self._pairs]
        self._settle()

    def complaints(self, wall: float) -> list[str]:
        """What an operator should mend soon although it works: certificates that have expired, or a tenth of their life
        or less to go; one line each."""
        lines = []
        for pair in self._pairs:
            one = pair.certificate
            if wall >= one.not_after - (one.not_after - one.not_before) / 10:
                word = "expired" if wall >= one.not_after else "expires"
                lines.append(f"{self._where}: certificate {pair.files[0]} {word} on {_day(one.not_after)}")
        return lines

    def look(self, now: float) -> None:
        """Once a second or more rarely: have the files changed? And at the first time on each day: complaints. `now`:
        monotonic. May read files, never waits else."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        self._complain()
        changed = False
        for number, pair in enumerate(self._pairs):
            stamps = tuple(map(stamp_of, pair.files))
            if stamps == pair.stamps:
                self._seen[number] = stamps
            elif stamps != self._seen[number]:
                self._seen[number] = stamps  # still being written, perhaps
            else:
                changed = self._replace(number, stamps) or changed
        if changed:
            self._settle()

    def _complain(self) -> None:
        wall = self._wall()
        day = int(wall // 86400)
        if day != self._told_on:
            self._told_on = day
            for line in self.complaints(wall):
                self._say("warning", line)

    def _replace(self, number: int, stamps: tuple[Stamp, ...]) -> bool:
        old = self._pairs[number]
        try:
            new = Pair(*self._wanted[number])
        except ConfigError as error:
            old.stamps = stamps  # not again before they change again
            self._say("error", f"{self._where}: {error}; the one loaded before stays in force")
            return False
        self._pairs[number] = new
        until = _day(new.certificate.not_after)
        self._say("info", f"{self._where}: certificate {new.files[0]} loaded anew, valid until {until}")
        self._told_on = 0
        return True

    def _settle(self) -> None:
        """The tables of names, and the callback, as the pairs are now."""
        self._exact: dict[str, ssl.SSLContext] = {}
        self._wildcards: dict[str, ssl.SSLContext] = {}
        for pair in self._pairs:
            names = pair.certificate.names or (pair.certificate.common_name.lower(),)
            for name in names:
                if name.startswith("*."):
                    self._wildcards.setdefault(name[1:], pair.context)
                elif name:
                    self._exact.setdefault(name, pair.context)
        self.context: ssl.SSLContext = self._pairs[0].context
        if len(self._pairs) > 1:
            self.context.sni_callback = self._choose

    def _choose(self, layer: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name is not None:
            found = self.chosen(name)
            if found is not context:
                layer.context = found

    def chosen(self, name: str) -> ssl.SSLContext:
        """The context shown to who asks for `name`."""
        name = name.lower().rstrip(".")
        found = self._exact.get(name)
        if found is None:
            found = self._wildcards.get(name[name.find(".") :])
        return self.context if found is None else found


def _leaf(file: str) -> Certificate:
    try:
        return x509.first_of(file_text(file, "certificate"))
    except ValueError as error:
        raise ConfigError(f"certificate {file}: {error}") from None


def _day(wall: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall))
