"""The admin child's two sockets, opened and kept by the master: runtime_dir/admin.sock and the address of [admin].

The master owns them because it outlives the child (connections wait while a new one starts) and may open a port below
1024. admin.sock must be had, or the house does not start. A TCP address that somebody else has is one line, and the
house goes on without it: mail matters more than its metrics. It is asked for again every AGAIN seconds; once it is
ours, the admin child is replaced by one that has it.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastrelay.config import Config
from fastrelay.errors import ConfigError, FastrelayError, MachineShort
from fastrelay.process import sockets
from fastrelay.process.privileges import Identity

FILE: Final = "admin.sock"  # in runtime_dir
AGAIN: Final = 10.0  # seconds between two attempts at an address that is taken
_MODE: Final = 0o600  # whoever may open it may remove mail: `server.user` and root
_BACKLOG: Final = 64


class AdminSockets:
    """api: of runtime_dir/admin.sock. http: of the [admin] address, None while there is none. files: addresses whose
    socket files are ours to remove."""

    __slots__ = ("_address", "_again", "_api", "_identity", "_say", "_told", "api", "files", "http")

    def __init__(
        self, config: Config, identity: Identity, passed: sockets.Passed, say: Callable[[str], None], now: float
    ) -> None:
        self._identity = identity
        self._say = say
        self._address = config.admin.address
        self._api = api = f"unix:{api_path(config)}"
        self._again = now
        self._told = False
        self.http: socket.socket | None = passed.take(self._address) if self._address else None
        self.api = passed.take(api) or sockets.bind(
            api, identity, key="server.runtime_dir", mode=_MODE, backlog=_BACKLOG
        )
        self.files = [one for one in (api, self._address) if one and passed.ours(one)]
        try:
            self._try(now)
        except BaseException:
            self.close()
            raise

    @property
    def all(self) -> list[socket.socket]:
        """For the children that have no business with them."""
        return [self.api] if self.http is None else [self.api, self.http]

    @property
    def name(self) -> str:
        """Where metrics and health are served, port 0 resolved; "" for nowhere."""
        return "" if self.http is None else sockets.name_of(self.http)

    def look(self, now: float) -> bool:
        """Try for the TCP address where it is wanted and due. True: we just got it."""
        try:
            return self._try(now)
        except ConfigError as error:
            self._missed(error, now)
            return False

    def _try(self, now: float) -> bool:
        """The same; ConfigError for an address that cannot be, which keeps a house from starting."""
        if not self._address or self.http is not None or now < self._again:
            return False
        try:
            self.http = sockets.bind(self._address, self._identity, key="admin.address", backlog=_BACKLOG)
        except MachineShort as error:
            self._missed(error, now)
            return False
        if self._told:
            self._say(f"admin.address: listening on {self.name} now")
        return True

    def _missed(self, error: FastrelayError, now: float) -> None:
        if not self._told:
            self._told = True
            self._say(f"admin.address: {error}; going on without /metrics, trying again every {AGAIN:g} s")
        self._again = now + AGAIN

    def renew(self, config: Config, now: float) -> None:
        """A reload: another TCP address, perhaps. One that cannot be had is a line; it is tried for again."""
        if config.admin.address == self._address:
            return
        if self.http is not None:
            self.http.close()
            self.http = None
        sockets.remove_files(one for one in self.files if one == self._address)
        self._address, self._again, self._told = config.admin.address, now, False
        self.files = [*(one for one in self.files if one == self._api), *([self._address] if self._address else [])]
        self.look(now)

    def restore(self) -> None:
        """runtime_dir was removed: admin.sock stands in it again. MachineShort or ConfigError when it cannot."""
        fresh = sockets.bind(self._api, self._identity, key="server.runtime_dir", mode=_MODE, backlog=_BACKLOG)
        self.api.close()
        self.api = fresh

    @property
    def handed(self) -> dict[str, int]:
        """For the next master: by address as configured."""
        found = {self._api: self.api.fileno()}
        if self.http is not None:
            found[sockets.canonical(self._address)] = self.http.fileno()
        return found

    def close(self, *, handed: bool = False) -> None:
        """The end of the house: nothing is left in runtime_dir. handed: of this master only."""
        sockets.close_all(self.all)
        if not handed:
            sockets.remove_files(self.files)


def api_path(config: Config) -> Path:
    """The socket on which the admin child of this config serves the API."""
    return Path(os.path.abspath(config.server.runtime_dir)) / FILE
