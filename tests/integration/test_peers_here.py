"""The programs that other tests rely on are found, start, and do what those tests take for granted."""

import socket
import ssl
from pathlib import Path

from tests.peers import debian
from tests.peers.certificates import Authority


def test_unpacked_programs_find_their_libraries(tmp_path: Path) -> None:
    exim = debian.run([debian.need("exim4"), "-bV", "-C", "/dev/null"], env=debian.exim_environment(tmp_path))
    assert b"Exim version 4" in exim.stdout, exim
    for program, words in (
        ("nsd", ["-v"]),
        ("prometheus", ["--version"]),
        ("swaks", ["--version"]),
        ("strace", ["-V"]),
    ):
        done = debian.run([debian.need(program), *words])
        assert program.encode() in (done.stdout + done.stderr).lower(), done


def test_smtp_source_reaches_smtp_sink() -> None:
    source, sink = debian.need("smtp-source"), debian.need("smtp-sink")
    port = debian.free_port()
    with debian.running(
        [sink, "-u", "nobody", f"127.0.0.1:{port}", "16"] if debian.is_root() else [sink, f"127.0.0.1:{port}", "16"],
        ready=lambda: debian.listens(port),
    ):
        done = debian.run([source, "-m", "20", "-s", "4", "-l", "1000", f"127.0.0.1:{port}"])
    assert done.returncode == 0, done.stderr


def test_certificates_verify(authority: Authority) -> None:
    leaf, late = authority.issue("mx.example", "127.0.0.1"), authority.issue("mx.example", expired=True)
    client = ssl.create_default_context(cafile=str(authority.ca_file))
    for served, name, good in ((leaf, "mx.example", True), (leaf, "other.example", False), (late, "mx.example", False)):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(served.certificate, served.key)
        assert _handshake(client, server, name) is good


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    into_client, into_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(into_client, into_server, server_hostname=name)
    there = server.wrap_bio(into_server, into_client, server_side=True)
    waiting = [here, there]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return not waiting


def test_free_ports_differ() -> None:
    ports = {debian.free_port() for _ in range(20)}
    assert len(ports) == 20
    outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < outgoing or outgoing < 12_000, "no connection of anybody's gets one of them meanwhile"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", ports.pop()))
