"""The sink as a process: against our generator, against smtp-source and swaks; what it counts is what was sent."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.sink_process import SinkProcess, bench, command


@pytest.mark.parametrize("reuse", ["--reuse", "--no-reuse"])
@pytest.mark.parametrize("pipelining", ["--pipelining", "--no-pipelining"])
def test_nothing_lost_nothing_doubled(
    sink: Callable[..., SinkProcess], tmp_path: Path, reuse: str, pipelining: str
) -> None:
    one = sink("--processes", "2", "--pairs", tmp_path / "arrived")
    words = (
        "--messages",
        "300",
        "--sessions",
        "10",
        "--recipients",
        "2",
        "--domain",
        "a.example=3",
        "--domain",
        "b.example",
    )
    code, result = bench(one.port, *words, "--processes", "2", reuse, pipelining, "--pairs", tmp_path / "accepted")
    assert code == 0 and result["accepted"] == 300 and result["recipients"] == 600
    assert result["sessions"] == (10 if reuse == "--reuse" else 300)
    seen = one.so_far()
    assert one.stop() == seen
    assert seen["messages"] == 300 and seen["unique"] == 600 and seen["duplicates"] == 0 and seen["broken"] == 0
    assert seen["octets"] == 300 * 5000 and seen["connections"] == result["sessions"]
    assert set(seen["domains"]) == {"a.example", "b.example"}
    accepted = (tmp_path / "accepted").read_text().splitlines()
    arrived = [line.removeprefix("1 ") for line in (tmp_path / "arrived").read_text().splitlines()]
    assert sorted(accepted) == sorted(arrived)


def test_shares_of_refusals_reach_the_client(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--defer", "10%", "--reject", "dot=10%", "--disconnect", "mail=5%", "--seed", "7")
    code, result = bench(one.port, "--messages", "500", "--sessions", "5", "--reuse")
    seen = one.stop()
    assert code == 69 and result["accepted"] == seen["messages"]
    assert result["failed"] == seen["disconnected"] and result["refused"] == seen["deferred"] + seen["rejected"]
    assert result["accepted"] + result["refused"] + result["failed"] == 500
    for name, expected in (("deferred", 48), ("rejected", 43), ("disconnected", 25)):
        assert expected / 2 < seen[name] < expected * 2
    assert {words[:3] for words in result["errors"]} >= {"450", "554", "the"}


def test_latency_is_where_it_was_asked_for(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--latency", "connect=30ms", "--latency", "dot=60ms")
    _, result = bench(one.port, "--messages", "10", "--sessions", "5")
    assert result["connect_ms"]["p50"] >= 29 and result["accept_ms"]["p50"] >= 58


def test_a_duration_ends_the_run(sink: Callable[..., SinkProcess]) -> None:
    code, result = bench(sink().port, "--duration", "500ms", "--sessions", "4", "--reuse")
    assert code == 0 and 0.4 < result["seconds"] < 10 and result["accepted"] > 0


def test_no_server_no_storm() -> None:
    done = subprocess.run(
        command("bench", "--to", f"127.0.0.1:{debian.free_port()}", "--messages", "6", "--sessions", "3", "--json"),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert done.returncode == 69 and result["failed"] == 6 and result["seconds"] >= 0.1
    assert list(result["errors"]) == [next(iter(result["errors"]))] and "refused" in next(iter(result["errors"]))


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = debian.run(command("sink", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"))
    assert done.returncode != 0 and b"cannot listen" in done.stderr


def test_over_a_local_socket(tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/sink"
    process = subprocess.Popen(
        command("sink", "--listen", path, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()
    done = debian.run(command("bench", "--to", path, "--messages", "5", "--json"))
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert done.returncode == 0 and json.loads(out)["messages"] == 5


def test_real_clients(sink: Callable[..., SinkProcess]) -> None:
    source, swaks = debian.need("smtp-source"), debian.need("swaks")
    one = sink()
    target = f"127.0.0.1:{one.port}"
    assert debian.run([source, "-m", "50", "-s", "5", "-l", "3000", target]).returncode == 0
    assert debian.run([source, "-d", "-m", "50", "-s", "5", "-l", "3000", target]).returncode == 0
    sent = debian.run([swaks, "--to", "a@x.example", "--from", "b@x.example", "--server", target, "--pipeline"])
    assert sent.returncode == 0, sent.stdout
    seen = one.stop()
    assert seen["messages"] == seen["unmarked"] == 101
