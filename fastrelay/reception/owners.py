"""Who may relay by certificate: `relay_certificates` of a listener. Pure.

The handshake has verified what is looked at here: `client_ca` vouches for it. A certificate is known by its sha256
fingerprint, or by a name it bears: a dNSName, an rfc822Name, or, where it has neither, the common name of its subject.
"""

from collections.abc import Iterable

from fastrelay.runtime.x509 import Certificate

ANYBODY = "*"
_DIGITS = frozenset("0123456789abcdef")


class CertificateOwners:
    """wanted: names and fingerprints as the configuration has them; "*": every certificate."""

    __slots__ = ("_all", "_fingerprints", "_names")

    def __init__(self, wanted: Iterable[str]) -> None:
        self._all = False
        self._fingerprints: set[str] = set()
        self._names: set[str] = set()
        for one in wanted:
            digits = one.lower().removeprefix("sha256:").replace(":", "")
            if one == ANYBODY:
                self._all = True
            elif len(digits) == 64 and _DIGITS.issuperset(digits):
                self._fingerprints.add(digits)
            elif one:
                self._names.add(one.lower())

    def may_relay(self, shown: Certificate) -> bool:
        """Is it one of those?"""
        if self._all or shown.sha256 in self._fingerprints:
            return True
        names = (*shown.names, *shown.emails) or (shown.common_name,)
        return any(name.lower() in self._names for name in names)
