"""A thin stream over one raw socket and one reusable watcher of the event loop: the hot path of every byte.

What it does not do is the point, each counted with strace against gevent.socket on the same relay (DESIGN.md):
- no O_NONBLOCK, no getsockname, no SO_TYPE lookup: reads and writes carry MSG_DONTWAIT, the socket object is built with
  family, type and protocol given (4 system calls saved per connection), and is the interpreter's own, without the
  Python layer of socket.py (three calls saved per connection);
- no getsockopt(SO_SNDBUF) per send; TCP_NODELAY is inherited from the listener;
- one 64 KiB buffer per worker to read into, what came is copied out (a fresh 64 KiB object is an mmap and a munmap);
- read first, wait after: data that is already there costs no trip through the loop;
- deadlines stand on the wheel (clock.py), so a read arms no timer.

Only one task reads and writes a stream. Every end raises: PeerClosed, PeerTimeout, TlsFailed.
"""

import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

from fastrelay.errors import CertificateUntrusted, MachineShort, PeerClosed, PeerTimeout, PeerUnreachable, TlsFailed
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.tls import said_plainly

READ, WRITE = 1, 2
BUFFER = 64 * 1024
_PLAIN_RECV = socket.socket.recv_into
_NOWAIT = int(socket.MSG_DONTWAIT)
_NOWAIT_PEEK = int(socket.MSG_DONTWAIT | socket.MSG_PEEK)
_NOWAIT_SEND = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_BIND_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, so 28,000 is no limit per source
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_MAX_PARTS = 512  # iovec entries per sendmsg; the kernel refuses above 1,024 (UIO_MAXIOV)

_buffer = bytearray(BUFFER)  # one per process: only filled and copied out between two switches
_view = memoryview(_buffer)

wheel = clock.DeadlineWheel()
_switch_to = greenlet.switch  # to the hub: Hub.switch first looks for a hook that our tasks do not have (0.2 us a wait)


def ticking() -> tasks.Ticker:
    """Deadlines of streams pass until it is closed: one per process."""
    return tasks.Ticker(clock.TICK, lambda: wheel.turn(clock.now()))


class Stream:
    """One connection. `peer` is (host text, port) or ("unix", 0)."""

    __slots__ = ("_late", "_reader", "_sock", "_task", "_tls", "_writer", "bucket", "deadline", "peer")

    def __init__(self, sock: socket.SocketType, peer: tuple[str, int]) -> None:
        self._sock = sock
        self.peer = peer
        self._tls: ssl.SSLSocket | None = None
        self._reader = get_hub().loop.io(sock.fileno(), READ)
        self._writer: Any = None
        self._task: greenlet | None = None
        self._late = False
        self.deadline = clock.NEVER
        self.bucket = 0

    # -- deadlines ------------------------------------------------------------------------------------------------

    def expire_in(self, seconds: float) -> None:
        """From now on every wait together may take `seconds`; then the waiting task gets PeerTimeout."""
        self.deadline = deadline = clock.now() + seconds
        if not 0 < self.bucket <= deadline:  # else the wheel looks at it in time: no call, 12 times a message
            wheel.watch(self)

    def expire_at(self, deadline: float) -> None:
        """The same with a monotonic instant (clock.NEVER: no deadline)."""
        self.deadline = deadline
        if not 0 < self.bucket <= deadline:
            wheel.watch(self)

    def perish(self) -> None:
        """The wheel's call, and that of whoever ends a wait: the waiter gets PeerTimeout. Where nobody waits nothing
        happens: the wheel looks again within a second."""
        if self._task is None:
            return
        self._late = True
        get_hub().loop.run_callback(self._resume, self._task)

    def _resume(self, task: greenlet) -> None:
        still_waiting = self._task is task  # it may have been woken otherwise since
        if still_waiting:
            task.switch()

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self) -> bytes:
        """What is there, 1 to 65,536 octets; waits for some. b"" when the peer has closed its side."""
        if self._tls is not None:
            return self._tls_read()
        try:
            count = self._sock.recv_into(_buffer, BUFFER, _NOWAIT)
        except BlockingIOError:
            return self.read_waiting_first()
        except OSError as error:
            raise PeerClosed(f"connection lost while reading: {error.strerror}") from None
        return bytes(_view[:count])

    def read_waiting_first(self) -> bytes:
        """`read` for where nothing can be there yet (a reply to what was just sent): waits before the first try."""
        if self._tls is not None:
            return self._tls_read()
        while True:
            self._wait(self._reader)
            try:
                count = self._sock.recv_into(_buffer, BUFFER, _NOWAIT)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerClosed(f"connection lost while reading: {error.strerror}") from None
            return bytes(_view[:count])

    def peek(self) -> bytes:
        """What `read` would give, left where it is: for what stands before TLS. Waits first; b"" at the end."""
        while True:
            self._wait(self._reader)
            try:
                count = _PLAIN_RECV(self._sock, _buffer, BUFFER, _NOWAIT_PEEK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerClosed(f"connection lost while reading: {error.strerror}") from None
            return bytes(_view[:count])

    def skip(self, count: int) -> None:
        """Take `count` octets away that `peek` has shown."""
        while count > 0:
            try:
                count -= _PLAIN_RECV(self._sock, _buffer, count, _NOWAIT)
            except OSError as error:
                raise PeerClosed(f"connection lost while reading: {error.strerror}") from None

    def is_quiet(self) -> bool:
        """True while the peer has neither sent anything nor closed: an idle connection that may be used again."""
        sock = self._sock
        try:
            if self._tls is not None and self._tls.pending():
                return False
            _PLAIN_RECV(sock, _buffer, 1, _NOWAIT_PEEK)  # below TLS: SSLSocket.recv_into takes no flags
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False
        return False

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send all of `data`, waiting as the peer takes it."""
        if self._tls is not None:
            self._tls_write(data)
            return
        try:
            sent = self._sock.send(data, _NOWAIT_SEND)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise PeerClosed(f"connection lost while writing: {error.strerror}") from None
        if sent != len(data):
            self._write_rest(memoryview(data)[sent:])

    def write_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send several buffers in order with one system call where the kernel takes them all."""
        if self._tls is not None:
            for part in parts:
                self._tls_write(part)
            return
        for start in range(0, len(parts), _MAX_PARTS):
            some = parts[start : start + _MAX_PARTS]
            try:
                sent = self._sock.sendmsg(some, (), _NOWAIT_SEND)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise PeerClosed(f"connection lost while writing: {error.strerror}") from None
            for part in some:
                size = len(part)
                if sent >= size:
                    sent -= size
                    continue
                self._write_rest(memoryview(part)[sent:])
                sent = 0

    def write_nowait(self, data: bytes) -> bool:
        """Send `data` only if the system takes it at once, for a last word nobody waits for. False when it was not."""
        try:
            if self._tls is not None:
                return self._tls.write(data) == len(data)
            return self._sock.send(data, _NOWAIT_SEND) == len(data)
        except (OSError, ValueError):  # SSLError is an OSError; ValueError: OpenSSL's word for a closed TLS layer
            return False

    def _write_rest(self, rest: memoryview) -> None:
        if self._writer is None:
            self._writer = get_hub().loop.io(self._sock.fileno(), WRITE)
        while rest:
            self._wait(self._writer)
            try:
                sent = self._sock.send(rest, _NOWAIT_SEND)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PeerClosed(f"connection lost while writing: {error.strerror}") from None
            rest = rest[sent:]

    # -- waiting --------------------------------------------------------------------------------------------------

    def _wait(self, watcher: Any) -> None:
        if self._late:
            raise PeerTimeout("deadline passed")
        self._task = task = getcurrent()
        watcher.start(task.switch)
        try:
            _switch_to(get_hub())
        finally:
            self._task = None
            watcher.stop()
        if self._late:
            self._late = False
            raise PeerTimeout("deadline passed")

    # -- TLS ------------------------------------------------------------------------------------------------------

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        """Handshake on this connection. Octets read before it belong to the plaintext dialogue: the caller drops them.

        Raises TlsFailed, or its CertificateUntrusted, with OpenSSL's reason; the connection is useless then.
        """
        plain = socket.socket(fileno=self._sock.detach())  # TLS wants the class of socket.py
        plain.setblocking(False)
        tls: ssl.SSLSocket | None = None
        try:
            tls = context.wrap_socket(
                plain, server_side=server_side, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            self._sock = tls
            self._tls_step(tls.do_handshake)
        except ssl.SSLCertVerificationError as error:
            raise CertificateUntrusted(f"certificate not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TlsFailed(f"TLS handshake failed: {said_plainly(error)}") from None
        except OSError as error:
            raise PeerClosed(f"connection lost in the TLS handshake: {error.strerror}") from None
        finally:
            if tls is None:
                self._sock = plain
        self._tls = tls

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS layer, for version(), cipher() and getpeercert(); None on a plaintext connection."""
        return self._tls

    def _tls_step(self, step: Callable[..., Any], *args: object) -> Any:
        while True:
            try:
                return step(*args)
            except ssl.SSLWantReadError:
                self._wait(self._reader)
            except ssl.SSLWantWriteError:
                if self._writer is None:
                    self._writer = get_hub().loop.io(self._sock.fileno(), WRITE)
                self._wait(self._writer)

    def _tls_read(self) -> bytes:
        assert self._tls is not None
        try:
            count = self._tls_step(self._tls.read, BUFFER, _buffer)
        except ssl.SSLZeroReturnError:
            return b""
        except (ssl.SSLError, OSError) as error:
            raise PeerClosed(f"connection lost while reading: {error}") from None
        return bytes(_view[:count])

    def _tls_write(self, data: bytes | memoryview) -> None:
        assert self._tls is not None
        rest = memoryview(data)
        while rest:
            try:
                sent = self._tls_step(self._tls.write, rest)
            except (ssl.SSLError, OSError) as error:
                raise PeerClosed(f"connection lost while writing: {error}") from None
            rest = rest[sent:]

    def _say_tls_is_over(self) -> None:
        """close_notify, without which the end may be an attacker's (RFC 8446 6.1); that of the peer is not awaited."""
        tls, self._tls = self._tls, None
        if tls is not None:
            with contextlib.suppress(OSError, ValueError):  # SSLWantRead: it is sent. Else the peer is gone
                tls.unwrap()

    # -- the end --------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """After `close`."""
        return self._sock.fileno() < 0

    def local_address(self) -> str:
        """Our own address on this connection, as text; "" when unknown."""
        try:
            name = self._sock.getsockname()
        except OSError:
            return ""
        return str(name[0]) if isinstance(name, tuple) else ""

    def reset(self) -> None:
        """Close at once with RST: for peers that must not linger in our tables."""
        if not self.closed:
            with contextlib.suppress(OSError):  # the peer was faster; close is all that is left
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def linger(self, octets: int, seconds: float) -> None:
        """Close so that the peer can read what was written last although it still sends.

        A socket closed over octets nobody has read answers with RST, and the peer's last reply may be lost with it
        (RFC 1122 4.2.2.13). So: no more from us, then what still comes is read and thrown away until the peer closes,
        at most `octets` of it and `seconds` long; 0 seconds: only what is there, without waiting. `perish` ends it.
        """
        if self.closed:
            return
        try:
            self._say_tls_is_over()
            self._sock.shutdown(socket.SHUT_WR)  # from here on a TLS layer is out of the way
            self.expire_in(seconds)
            while octets > 0:
                try:
                    count = self._sock.recv_into(_buffer, BUFFER, _NOWAIT)
                except BlockingIOError:
                    if seconds <= 0.0:
                        break
                    self._wait(self._reader)
                    continue
                if count == 0:
                    break
                octets -= count
        except (OSError, PeerTimeout):
            pass  # the peer is gone or was given its time: close is all that is left
        finally:
            self.close()

    def close(self) -> None:
        """Release the socket and its watchers; again is harmless."""
        if self._sock.fileno() < 0:
            return
        wheel.forget(self)
        if self._tls is not None:
            self._say_tls_is_over()
        self._reader.stop()
        self._reader.close()
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
        self._sock.close()


def connect(address: str, port: int, *, source: str = "", seconds: float = 30.0) -> Stream:
    """Open a TCP connection to an address (text, either family; "unix:/path" for a local socket).

    Raises PeerClosed with the system's words (refused, ...), PeerUnreachable where no way leads there from `source`,
    PeerTimeout after `seconds`, MachineShort when descriptors or memory have run out.
    """
    sock = None
    try:
        sock, target = _client_socket(address, port)
        sock.setblocking(False)
        if source:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_NO_PORT, 1)
            sock.bind((source, 0))
        code = sock.connect_ex(target)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _connect_error(address, port, error.errno or 0, error.strerror or str(error)) from None
    stream = Stream(sock, (address, port))
    try:
        if code == errno.EINPROGRESS:
            stream.expire_in(seconds)
            stream._writer = get_hub().loop.io(sock.fileno(), WRITE)
            try:
                stream._wait(stream._writer)
            except PeerTimeout:
                raise PeerTimeout(f"connect to {address} port {port} timed out after {seconds:g} s") from None
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise _connect_error(address, port, code, os.strerror(code))
    except BaseException:
        stream.close()
        raise
    stream.expire_at(clock.NEVER)
    return stream


def _connect_error(address: str, port: int, code: int, words: str) -> PeerClosed | MachineShort:
    text = f"cannot connect to {address}{'' if address.startswith('unix:') else f' port {port}'}: {words}"
    if code in _SHORT:
        return MachineShort("no resources for another connection", code=451, enhanced="4.3.2", detail=text)
    return PeerUnreachable(text) if code in _NO_WAY else PeerClosed(text)


def _client_socket(address: str, port: int) -> tuple[socket.SocketType, str | tuple[str, int]]:
    if address.startswith("unix:"):
        return socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM), address[5:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.SocketType(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock, (address, port)
