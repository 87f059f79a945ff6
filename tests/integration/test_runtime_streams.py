"""runtime/ over real sockets: echo, large writes against a slow reader, deadlines, ends, TLS both sides, pauses."""

import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fastrelay.errors import PeerClosed, PeerTimeout, TlsFailed
from fastrelay.runtime import stream, tasks, tls
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream

pytestmark = pytest.mark.usefixtures("turning_wheel")


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Stream], object]], int]]:
    listeners: list[Listener] = []

    def start(handler: Callable[[Stream], object]) -> int:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        listeners.append(Listener(sock, handler, spawn=tasks.spawn))
        listeners[-1].start()
        return int(sock.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def echo(peer: Stream) -> None:
    while data := peer.read():
        peer.write(data)
    peer.close()


def read_exactly(peer: Stream, count: int) -> bytes:
    got = b""
    while len(got) < count:
        data = peer.read()
        assert data, "closed early"
        got += data
    return got


def test_echo_and_end_of_stream(serve: Callable[..., int]) -> None:
    client = stream.connect("127.0.0.1", serve(echo))
    assert client.is_quiet()
    client.write_parts([b"one ", b"two ", memoryview(b"three")])
    assert read_exactly(client, 13) == b"one two three"
    client.close()
    client.close()
    assert client.closed


def test_five_megabytes_against_a_reader_that_starts_late(serve: Callable[..., int]) -> None:
    sent = bytes(range(256)) * 20_000
    done = tasks.Parking()

    def reader(peer: Stream) -> None:
        tasks.run_loop_once()
        done.wake(read_exactly(peer, 2 * len(sent)))
        peer.close()

    client = stream.connect("127.0.0.1", serve(reader))
    client.write(sent)
    client.write_parts([sent[:1000], sent[1000:]])
    assert done.wait(20) == sent + sent
    client.close()


def test_a_deadline_ends_a_read_and_the_stream_can_still_be_closed(serve: Callable[..., int]) -> None:
    client = stream.connect("127.0.0.1", serve(lambda peer: peer.read()))
    client.expire_in(0.1)
    with pytest.raises(PeerTimeout):
        client.read()
    client.close()


def test_a_reset_is_peer_closed_for_reader_and_writer(serve: Callable[..., int]) -> None:
    client = stream.connect("127.0.0.1", serve(lambda peer: (peer.read(), peer.reset())))
    client.write(b"x")
    with pytest.raises(PeerClosed, match="connection lost while reading"):
        client.read()
    with pytest.raises(PeerClosed, match="connection lost while writing"):
        client.write(b"y")
        client.write(b"z")
    client.close()


def test_an_idle_connection_the_peer_closed_is_not_quiet(serve: Callable[..., int]) -> None:
    client = stream.connect("127.0.0.1", serve(lambda peer: peer.close()))
    while client.is_quiet():
        tasks.run_loop_once()
    assert client.read() == b""
    client.close()


LAST = b"421 4.7.0 Enough\r\n"


def to_the_end(client: socket.socket) -> bytes:
    """What a blocking client still hears, in a thread of its own so that the loop can serve it."""

    def hear() -> bytes:
        heard = b""
        while octets := client.recv(65536):
            heard += octets
        return heard

    octets: bytes = tasks.in_thread_to_end(hear)
    return octets


@pytest.mark.parametrize("count", [0, 1, 200_000])
def test_lingering_lets_the_peer_read_the_last_word_though_it_still_sent(serve: Callable[..., int], count: int) -> None:
    sent, closed = tasks.Event(), tasks.Event()

    def say_and_go(peer: Stream) -> None:
        sent.wait(20.0)
        peer.write(LAST)
        peer.linger(1_000_000, 60.0)
        assert peer.closed
        closed.set()

    with socket.create_connection(("127.0.0.1", serve(say_and_go))) as client:
        client.settimeout(20.0)
        tasks.in_thread_to_end(client.sendall, b"y" * count)
        sent.set()
        assert to_the_end(client) == LAST, "and the end, not a reset"
    assert closed.wait(20.0)


def test_lingering_over_tls_is_in_plain_octets(serve: Callable[..., int], tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "mx.test")
    server = tls.server_context(cert, key)
    sent, closed = tasks.Event(), tasks.Event()

    def say_and_go(peer: Stream) -> None:
        peer.start_tls(server, server_side=True)
        sent.wait(20.0)
        peer.write(LAST)
        peer.linger(1_000_000, 60.0)
        closed.set()

    client = stream.connect("127.0.0.1", serve(say_and_go))
    client.expire_in(20.0)
    client.start_tls(tls.client_context(verify=False), server_side=False)
    client.write(b"y" * 100_000)
    sent.set()
    assert read_exactly(client, len(LAST)) == LAST
    assert client.read() == b"", "the end, not a reset"
    client.close()
    assert closed.wait(20.0)


@pytest.mark.parametrize("how", ["octets", "time", "at once", "perish"])
def test_lingering_is_bounded(serve: Callable[..., int], how: str) -> None:
    octets, seconds = {"octets": (1, 600.0), "time": (10**9, 0.01), "at once": (10**9, 0.0)}.get(how, (10**9, 600.0))
    lingering: list[Stream] = []
    closed = tasks.Event()

    def linger(peer: Stream) -> None:
        peer.read()
        lingering.append(peer)
        peer.linger(octets, seconds)
        closed.set()

    client = stream.connect("127.0.0.1", serve(linger))
    client.expire_in(20.0)
    client.write(b"x")
    assert client.read() == b"", "our side is closed at once"
    if how == "octets":
        client.write(b"y")
    if how == "perish":
        assert not closed.wait(0.0)
        lingering[0].perish()
    assert closed.wait(20.0)
    client.close()


def test_connecting_to_a_closed_port_says_so() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        with pytest.raises(PeerClosed, match=rf"cannot connect to 127.0.0.1 port {port}: Connection refused"):
            stream.connect("127.0.0.1", port)


def test_a_paused_listener_leaves_connections_in_the_queue() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    served = tasks.Parking()
    listener = Listener(sock, served.wake, spawn=tasks.spawn)
    listener.start()
    listener.pause()
    client = stream.connect("127.0.0.1", sock.getsockname()[1])
    with pytest.raises(PeerTimeout):
        served.wait(0.05)
    listener.start()
    assert isinstance(served.wait(5), Stream)
    client.close()
    listener.close()


def certificate(folder: Path, name: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls_both_sides_and_large_writes(serve: Callable[..., int], tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "mx.test")
    server = tls.server_context(cert, key)

    def secure_echo(peer: Stream) -> None:
        peer.start_tls(server, server_side=True)
        echo(peer)

    client = stream.connect("127.0.0.1", serve(secure_echo))
    client.start_tls(tls.client_context(verify=True, ca_file=cert), server_side=False, server_hostname="mx.test")
    sent = b"0123456789" * 10_000
    client.write(sent)
    assert read_exactly(client, len(sent)) == sent
    assert client.tls is not None and client.tls.version() in ("TLSv1.2", "TLSv1.3")
    assert client.is_quiet(), "an idle connection in TLS may be used again"
    client.write(b"more")
    while client.is_quiet():
        tasks.run_loop_once()
    assert client.read() == b"more"
    client.close()


def test_a_wrong_name_fails_the_handshake_where_it_is_verified(serve: Callable[..., int], tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "mx.test")
    server: ssl.SSLContext = tls.server_context(cert, key)

    def handshake(peer: Stream) -> None:
        with pytest.raises((TlsFailed, PeerClosed)):
            peer.start_tls(server, server_side=True)
            peer.read()
        peer.close()

    client = stream.connect("127.0.0.1", serve(handshake))
    with pytest.raises(TlsFailed, match="not trusted: Hostname mismatch"):
        client.start_tls(tls.client_context(verify=True, ca_file=cert), server_side=False, server_hostname="other.test")
    client.close()


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    from fastrelay.errors import ConfigError

    with pytest.raises(ConfigError, match=r"certificate .*nowhere\.pem: no such file or directory\Z"):
        tls.server_context(str(tmp_path / "nowhere.pem"), "")
