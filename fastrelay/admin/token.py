"""The token that opens the API over TCP: the first line of a file, sent as "Authorization: Bearer ..." (RFC 6750 2.1).

The file is read at each request, so a new token holds at once. A token shorter than SHORTEST, or a file that cannot be
read, opens nothing.
"""

import hmac
from pathlib import Path

from fastrelay.admin.http import HttpError

SHORTEST = 16  # characters: 96 bits when they come from `openssl rand -base64 24`
_MOST = 4096  # octets of the file that are looked at


class Token:
    """path: "" = none is configured."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def wanted(self) -> bool:
        """The API is to be served to whoever has the token."""
        return bool(self._path)

    def check(self, authorization: bytes) -> None:
        """HttpError 401 when that is not it, 503 when there is none to compare with."""
        token = self._read()
        scheme, _, given = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token):
            raise HttpError(
                401,
                'send "Authorization: Bearer TOKEN", the first line of admin.token_file',
                "WWW-Authenticate: Bearer",
            )

    def fault(self) -> str:
        """Why it opens nothing as the file is now; "" where it does, or where none is wanted."""
        if not self._path:
            return ""
        try:
            self._read()
        except HttpError as error:
            return str(error)
        return ""

    def _read(self) -> bytes:
        try:
            with Path(self._path).open("rb") as file:
                token = file.read(_MOST).split(b"\n", 1)[0].strip()
        except OSError as error:
            raise HttpError(503, f"admin.token_file cannot be read: {error.strerror}") from None
        if len(token) < SHORTEST:
            raise HttpError(503, f"admin.token_file holds no token of {SHORTEST} characters or more")
        return token
