"""The API of a running relay, asked over runtime_dir/admin.sock (admin/api.py says what there is to ask).

HTTP/1.1 by hand, one request per connection: the standard library's client takes longer to import than `fastrelay
status` may take in all.

Errors: NotRunning when nobody listens there; MachineShort when the relay cannot answer now, MisuseError when the
request makes no sense, in the relay's own words.
"""

import os
import socket
from typing import Any
from urllib.parse import quote

import msgspec

from fastrelay.config import Config
from fastrelay.errors import MachineShort, MisuseError, PeerClosed, PeerError
from fastrelay.process.admin_sockets import api_path

PATIENCE = 30.0  # seconds: a slot answers within 2
LONG = 600.0  # seconds for what the relay does page by page: sums and changes over millions of messages
_READ = 256 * 1024
_NO_SUCH = 404


class NotRunning(PeerError):
    """No relay answers for this configuration."""


class Api:
    """`get` and `post` return the decoded JSON; None for what does not exist."""

    def __init__(self, config: Config) -> None:
        self._runtime_dir = config.server.runtime_dir
        self._path = api_path(config)

    def answers(self) -> bool:
        """Somebody listens: a relay runs. MisuseError when we may not ask."""
        try:
            self._dial().close()
        except NotRunning:
            return False
        return True

    def get(self, path: str, query: dict[str, str] | None = None) -> dict[str, Any] | None:
        """A page under /api/v1/."""
        words = "&".join(f"{key}={quote(value, safe='')}" for key, value in (query or {}).items())
        patience = LONG if path == "queue/summary" else PATIENCE
        return self._ask("GET", f"/api/v1/{path}{'?' if words else ''}{words}", b"", patience)

    def post(self, path: str, body: object) -> dict[str, Any] | None:
        """A changing verb."""
        return self._ask("POST", f"/api/v1/{path}", msgspec.json.encode(body), LONG)

    def _ask(self, method: str, target: str, body: bytes, patience: float) -> dict[str, Any] | None:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: fastrelay\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        octets = self._exchange(head.encode() + body, patience)
        top, _, rest = octets.partition(b"\r\n\r\n")
        status = top[9:12]
        if not top.startswith(b"HTTP/1.1 ") or not status.isdigit():
            raise PeerClosed(f"{self._path}: what answers there is no relay of ours")
        try:
            answer = msgspec.json.decode(rest, type=dict[str, Any])
        except msgspec.MsgspecError:
            answer = {"error": rest.decode("utf-8", "replace").strip(), "code": 0}
        if int(status) == _NO_SUCH:
            return None
        if int(status) >= 400:
            text = str(answer.get("error", status.decode()))
            raise MisuseError(text) if int(status) < 500 else MachineShort(text)
        return answer

    def _exchange(self, request: bytes, patience: float) -> bytes:
        with self._dial() as sock:
            sock.settimeout(patience)
            try:
                sock.sendall(request)
                octets = bytearray()
                while piece := sock.recv(_READ):
                    octets += piece
            except TimeoutError:
                raise MachineShort(f"the relay has not answered for {patience:g} s; try again") from None
            except OSError as error:
                raise MachineShort(f"the relay hung up ({error.strerror}); try again") from None
        return bytes(octets)

    def _dial(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(os.fspath(self._path))
        except OSError as error:
            sock.close()
            if isinstance(error, PermissionError):
                raise MisuseError(
                    f"not allowed to use {self._path}: be root, or the user the relay runs as (server.user)"
                ) from None
            raise NotRunning(
                f"no relay runs in {self._runtime_dir} ({error.strerror}); start one with fastrelay serve, or name its "
                f"configuration with -c"
            ) from None
        return sock
