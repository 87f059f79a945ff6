"""The listening sockets: bound by us, or handed over by systemd (sd_listen_fds(3)).

An address is "127.0.0.1:25", "[::]:25" (IPv6 only: both families are two listeners) or "unix:/path". A socket from
systemd is matched to the `[[listener]]` (or the [admin] address) that is the same; one that nobody names is closed with
a line. Errors are one line each and say what to do: ConfigError for what only the operator can mend, MachineShort where
the address is taken.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Final

from fastrelay.config import parse_address
from fastrelay.errors import ConfigError, MachineShort
from fastrelay.process.privileges import Identity

BACKLOG: Final = 4096  # connections the kernel holds for us; net.core.somaxconn caps it (4,096 since Linux 5.4)
_FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START
_UNIX_MODE: Final = 0o660  # who may inject through a local socket: the user and its group


class Passed:
    """The sockets systemd passed to this very process, until `take` asks for them; takes the variables out of
    `environment`. handed: those of the master before us (handover.py), by address as configured; files: of these, whose
    file is ours to remove."""

    __slots__ = ("_files", "_handed", "_sockets", "_taken")

    def __init__(
        self, environment: MutableMapping[str, str], handed: Mapping[str, int] | None = None, files: Sequence[str] = ()
    ) -> None:
        self._sockets = _passed_sockets(environment)
        self._handed = {address: socket.socket(fileno=fd) for address, fd in (handed or {}).items()}
        self._files = files
        self._taken: set[str] = set()

    def ours(self, address: str) -> bool:
        """Is the file of a unix socket ours to remove? systemd's are not."""
        return address not in self._taken

    def take(self, address: str) -> socket.socket | None:
        """The passed socket that listens on `address`."""
        wanted = canonical(address)
        handed = self._handed.pop(wanted, None)
        if handed is not None:
            if wanted not in self._files:
                self._taken.add(wanted)
            handed.setblocking(False)
            return handed
        for sock in self._sockets:
            if name_of(sock) == wanted:
                self._sockets.remove(sock)
                self._taken.add(wanted)
                sock.setblocking(False)
                return sock
        return None

    def close_rest(self, say: Callable[[str], None]) -> None:
        """Close what nobody asked for, saying so."""
        for sock in self._sockets:
            say(f"the service manager passed a socket for {name_of(sock)}, which no [[listener]] names: closed")
        close_all([*self._sockets, *self._handed.values()])
        remove_files(address for address in self._handed if address in self._files)
        self._sockets, self._handed = [], {}


def open_all(addresses: Sequence[str], identity: Identity, passed: Passed) -> list[socket.socket]:
    """A listening socket per address, in order. On an error none stays open."""
    opened: list[socket.socket] = []
    try:
        for address in addresses:
            opened.append(passed.take(address) or bind(address, identity))
    except BaseException:
        close_all(opened)
        raise
    return opened


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close them; a unix socket's file goes with the last process that could accept on it."""
    for sock in sockets:
        sock.close()


def remove_files(addresses: Iterable[str]) -> None:
    """At the end of the house: the files of the unix sockets among these addresses."""
    for address in addresses:
        if address.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(address[5:])


def bind(
    address: str, identity: Identity, *, key: str = "listener.address", mode: int = _UNIX_MODE, backlog: int = BACKLOG
) -> socket.socket:
    """A non-blocking socket that listens on `address`. key: for messages. mode: of a unix socket's file."""
    host, port = parse_address(address, key)
    if host.startswith("unix:"):
        return _bind_unix(host[5:], identity, key, mode, backlog)
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise ConfigError(f"{key}: {host!r} is no IP address; names are not looked up here") from None
    sock = _new_socket(family, address, key)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _refused(address, key, error) from None
    return sock


def _bind_unix(path: str, identity: Identity, key: str, mode: int, backlog: int) -> socket.socket:
    sock = _new_socket(socket.AF_UNIX, f"unix:{path}", key)
    try:
        _remove_stale(path, key)
        old = os.umask(0o777 & ~mode)
        try:
            sock.bind(path)
        finally:
            os.umask(old)
        if identity.changes:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _refused(f"unix:{path}", key, error) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str, key: str) -> None:
    """A socket nobody answers on any more may go; anything else that stands there stays."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{key}: {path} is there and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _new_socket(family: socket.AddressFamily, address: str, key: str) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _refused(address, key, error) from None


def _refused(address: str, key: str, error: OSError) -> ConfigError | MachineShort:
    why = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return MachineShort(
            f"cannot listen on {address}: {why.lower()}; see who has it with `ss -ltnp`, or choose another address"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "start as root, give CAP_NET_BIND_SERVICE, or choose a port above 1023"
        if address.startswith("unix:"):
            hint = "make its directory writable for us, or choose another path"
        return ConfigError(f"{key}: cannot listen on {address}: {why.lower()}; {hint}")
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"{key}: {address} is no address of this machine; `ip address` lists them")
    if error.errno == errno.EAFNOSUPPORT:
        return ConfigError(f"{key}: {address}: this machine does not speak that address family")
    return ConfigError(f"{key}: cannot listen on {address}: {why.lower()}")


def _passed_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    found = []
    for fd in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        os.set_inheritable(fd, False)
        try:
            sock = socket.socket(fileno=fd)
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or sock.type != socket.SOCK_STREAM:
                raise ConfigError(f"descriptor {fd} from the service manager is no listening stream socket")
        except OSError as error:
            raise ConfigError(f"descriptor {fd} from the service manager is no socket: {error.strerror}") from None
        found.append(sock)
    return found


def canonical(address: str) -> str:
    """One spelling per address, so that "[::0]:25" and "[::]:25" are the same."""
    host, port = parse_address(address, "listener.address")
    if host.startswith("unix:"):
        return host
    try:
        ip = ip_address(host)
    except ValueError:
        return address
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def name_of(sock: socket.socket) -> str:
    """The canonical address a socket listens on."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name if isinstance(name, str) else os.fsdecode(name)}"
    return canonical(f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}")
