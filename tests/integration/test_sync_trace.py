"""A trace of a worker's system calls: each 250 after a dot follows a sync that follows the write of its message."""

import re
from pathlib import Path

from tests.peers import debian
from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import SinkProcess

IDENT = re.compile(r"[0-9a-f]{32}")
LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")


def events(trace: str) -> list[tuple[str, str, set[str]]]:
    """(what, descriptor, idents in it) in order of time; a write counts when it returned, a sync at both its ends."""
    found = []
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest
            name, fd = call_of(rest)
            if name == "fdatasync":
                found.append(("sync begins", fd, set()))
            if name.startswith("send"):
                found.append(("sent", fd, replies(rest)))
            continue
        resumed = rest.startswith("<...")
        whole = begun.pop(pid, "") + rest if resumed else rest
        name, fd = call_of(whole)
        if name == "fdatasync":
            if not resumed:
                found.append(("sync begins", fd, set()))
            if whole.rstrip().endswith("= 0"):
                found.append(("sync ends", fd, set()))
        elif name in ("pwritev", "writev", "pwrite64", "write", "pwritev2") and ".log>" in whole:
            found.append(("written", fd, set(IDENT.findall(whole))))
        elif name.startswith("send") and not resumed:
            found.append(("sent", fd, replies(whole)))
    return found


def call_of(line: str) -> tuple[str, str]:
    name, _, rest = line.partition("(")
    return name, re.split(r"[,) ]", rest, maxsplit=1)[0]


def replies(line: str) -> set[str]:
    """Idents of the messages a send says 250 for."""
    return {ident for text in re.findall(r"250 2\.\d\.\d[^\\]*", line) for ident in IDENT.findall(text)}


def test_each_250_follows_a_sync_of_its_message(tmp_path: Path) -> None:
    """Takes some 10 s: every system call of the relay is traced while 20 sessions send."""
    strace, source = debian.need("strace"), debian.need("smtp-source")
    sink = SinkProcess()
    relay = RelayProcess(tmp_path, next_hop=f"127.0.0.1:{sink.port}", workers=2)
    trace = tmp_path / "trace"
    calls = "write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sendto,sendmsg"
    relay.start(strace, "-f", "-y", "-s", "200000", "-o", trace, "-e", f"trace={calls}", seconds=60)
    try:
        done = debian.run([source, "-m", "300", "-s", "20", "-l", "2000", f"127.0.0.1:{relay.port}"], seconds=120)
        assert done.returncode == 0, done.stderr
        relay.wait_empty()
        assert relay.stop() == 0, relay.said()
    finally:
        relay.kill()
        sink.stop()
    written: dict[str, str] = {}  # ident -> segment, written and not yet being synced
    syncing: dict[str, set[str]] = {}
    safe: set[str] = set()
    acknowledged = 0
    for what, fd, idents in events(trace.read_text(errors="replace")):
        if what == "written":
            written |= dict.fromkeys(idents, fd)
        elif what == "sync begins":
            syncing[fd] = {ident for ident, segment in written.items() if segment == fd}
        elif what == "sync ends":
            safe |= syncing.pop(fd, set())
        else:
            assert idents <= safe, f"250 said before the sync: {idents - safe}"
            acknowledged += len(idents)
    assert acknowledged == 300
