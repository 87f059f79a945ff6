"""Real programs from Debian for tests and benchmarks: where they are, and how to run them.

`.ci/peers` unpacks into .peers/root what the machine does not have; what it has on PATH is used as it is. Without
either a test is skipped naming the package; with FASTRELAY_PEERS=required (as .ci/run sets it) it fails. An unpacked
program finds its shared libraries and perl modules only in `environment()`.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

UNPACKED = Path(__file__).resolve().parents[2] / ".peers" / "root"
_SYSTEM = "/usr/sbin:/sbin"  # where Debian puts daemons; often not on a user's PATH
_MULTIARCH = "x86_64-linux-gnu" if os.uname().machine == "x86_64" else f"{os.uname().machine}-linux-gnu"
_LIBRARIES = ("usr/lib/postfix", f"usr/lib/{_MULTIARCH}", f"lib/{_MULTIARCH}")
_PERL = (f"usr/lib/{_MULTIARCH}/perl5/5.36", "usr/share/perl5", "usr/share/perl/5.36")


def find(binary: str) -> Path | None:
    """The program, or a file programs need (a library, a perl module), unpacked or of this machine; None without it."""
    for folder in ("usr/sbin", "usr/bin", "sbin", "bin", *_LIBRARIES, *_PERL):
        path = UNPACKED / folder / binary
        if path.exists():
            return path
    found = shutil.which(binary, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    return Path(found) if found else None


def need(binary: str, package: str = "") -> Path:
    """The program, or the test that asks ends here: skipped naming the Debian package, failed where peers are required.

    package: needed only where it is not called like the program.
    """
    path = find(binary)
    if path is None:
        package = package or {"smtp-sink": "postfix", "smtp-source": "postfix", "exim4": "exim4-daemon-light"}.get(
            binary, binary
        )
        why = f"{binary} is missing: run .ci/peers, or install the Debian package {package}"
        if os.environ.get("FASTRELAY_PEERS") == "required":
            pytest.fail(why)
        pytest.skip(why)
    return path


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, with the unpacked libraries and perl modules behind it."""
    merged = dict(os.environ)
    for name, folders in (("LD_LIBRARY_PATH", _LIBRARIES), ("PERL5LIB", _PERL)):
        ours = [str(UNPACKED / folder) for folder in folders if (UNPACKED / folder).is_dir()]
        merged[name] = ":".join([*filter(None, [merged.get(name)]), *ours])
        if not merged[name]:
            del merged[name]
    return merged | extra


def exim_environment(folder: Path) -> dict[str, str]:
    """For exim4, which ends at once without the account it was built for: nss_wrapper shows it one, kept in `folder`.

    Exim starts itself again for each delivery and drops what it does not know: its configuration needs `exim_path` and
    `keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP`.
    """
    wrapper = need("libnss_wrapper.so", "libnss-wrapper")
    people, groups = folder / "passwd", folder / "group"
    people.write_text(Path("/etc/passwd").read_text() + "Debian-exim:x:1990:1990::/nonexistent:/usr/sbin/nologin\n")
    groups.write_text(Path("/etc/group").read_text() + "Debian-exim:x:1990:\n")
    return environment(LD_PRELOAD=str(wrapper), NSS_WRAPPER_PASSWD=str(people), NSS_WRAPPER_GROUP=str(groups))


def run(
    command: Sequence[str | Path], *, seconds: float = 60, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end within `seconds`; output is captured, the exit code is the caller's to judge."""
    return subprocess.run(
        [str(part) for part in command], env=env or environment(), input=stdin, capture_output=True, timeout=seconds
    )


@contextmanager
def running(
    command: Sequence[str | Path], *, ready: Callable[[], bool], seconds: float = 10, **popen: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A peer in the background from the moment `ready()` is true; ended with its children at the end of the block.

    Fails with what it printed when it ends early or is not ready in `seconds`.
    """
    options: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": environment()} | popen
    process = subprocess.Popen([str(part) for part in command], start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        wait_until(lambda: process.poll() is not None or ready(), seconds, f"{command[0]} to be ready")
        if process.poll() is not None:
            said = process.stdout.read().decode("utf-8", "replace") if process.stdout else ""
            pytest.fail(f"{command[0]} ended with {process.returncode}: {said}")
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]", seconds: float = 10) -> int:
    """TERM, then KILL after `seconds`, to a process of `start_new_session` and all its children. Its exit code."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
    if process.stdout is not None:
        process.stdout.close()
    return process.returncode


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every 10 ms until `holds()`; fails naming `what` after `seconds`. For states of other processes only."""
    latest = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > latest:
            pytest.fail(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Dead, or a zombie that only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second where it goes while it is read
        return True


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Does something accept TCP connections there? (It sees one connection that closes at once.)"""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


_given: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port nobody holds now, never the same twice in one run.

    Below those the system gives to outgoing connections: one of these would take it before it is listened on.
    """
    for _ in range(1000):
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    pytest.fail(f"no free port among {_PORTS[0]} to {_PORTS[1] - 1}")


def _ports() -> tuple[int, int]:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return (10_000, lowest) if lowest >= 12_000 else (20_000, 60_000)


_PORTS = _ports()


def is_root() -> bool:
    """Postfix's smtp-sink refuses to run as root unless told a user (-u)."""
    return os.geteuid() == 0
