"""`fastrelay send` against the sink: what it says and its exit code for each way a server can answer."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.certificates import Authority
from tests.peers.sink_process import SinkProcess, command


def send(server: str, *words: str, text: str = "Subject: hi\n\n.dot\nhi\n") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command("send", "--from", "a@x.example", "--server", server, *words),
        input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ((), 0),
        (("--defer", "rcpt=100%"), 75),
        (("--reject", "dot=100%"), 65),
        (("--reject", "connect=100%"), 65),
        (("--disconnect", "dot=100%"), 69),
    ],
)
def test_exit_codes(rules: tuple[str, ...], code: int) -> None:
    sink = SinkProcess(*rules)
    done = send(f"127.0.0.1:{sink.port}", "--to", "b@y.example", "--to", "c@z.example")
    seen = sink.stop()
    assert done.returncode == code, done.stderr
    assert seen["recipients"] == (2 if code == 0 else 0)
    assert bool(done.stdout) is (code == 0) and bool(done.stderr) is (code != 0)


def test_json() -> None:
    sink = SinkProcess()
    done = send(f"127.0.0.1:{sink.port}", "--to", "b@y.example", "--json", text="no header")
    sink.stop()
    assert json.loads(done.stdout) == {
        "b@y.example": {"code": 250, "enhanced_code": "2.0.0", "content": "Taken"},
    }  # fmt: skip


def test_no_server() -> None:
    done = send(f"127.0.0.1:{debian.free_port()}", "--to", "b@y.example")
    assert done.returncode == 69 and "is the relay running" in done.stderr and done.stderr.count("\n") == 1


def test_a_file(tmp_path: Path) -> None:
    sink = SinkProcess()
    path = f"{tmp_path}/message"
    with open(path, "wb") as file:
        file.write(b"Subject: \xc3\xa4\r\n\r\nx\r\n")
    done = subprocess.run(
        command("send", "--from", "", "--to", "b@y.example", "--server", f"127.0.0.1:{sink.port}", path),
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and sink.stop()["messages"] == 1, done.stderr


def test_over_tls_and_where_it_is_not_offered(authority: Authority) -> None:
    leaf = authority.issue("localhost")
    guarded, bare = SinkProcess("--certificate", leaf.certificate, "--key", leaf.key), SinkProcess()
    done = send(f"127.0.0.1:{guarded.port}", "--to", "b@y.example", "--tls")
    refused = send(f"127.0.0.1:{bare.port}", "--tls", "--to", "b@y.example")
    seen = guarded.stop()
    assert done.returncode == 0 and (seen["messages"], seen["encrypted"]) == (1, 1), done.stderr
    assert refused.returncode == 69 and "STARTTLS is not offered" in refused.stderr and bare.stop()["messages"] == 0


def test_auth_where_nobody_asks_for_it() -> None:
    sink = SinkProcess()
    done = send(f"127.0.0.1:{sink.port}", "--to", "b@y.example", "--auth", "anna:secret")
    assert done.returncode == 69 and "no AUTH at all" in done.stderr and "running" not in done.stderr
    assert sink.stop()["messages"] == 0
