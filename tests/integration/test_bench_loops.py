"""`fastrelay bench` against our sink: what an open loop sees that a closed one hides, the warm-up, sessions, sizes."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.peers import debian
from tests.peers.certificates import Authority
from tests.peers.sink_process import SinkProcess, bench, command


def test_an_open_loop_counts_the_wait_for_a_turn(sink: Callable[..., SinkProcess]) -> None:
    """One session, 50 ms an answer, 20 messages due within 0.5 s: the last waits as long; only `whole` tells."""
    one = sink("--latency", "50ms")
    words = ("--messages", "20", "--sessions", "1", "--reuse")
    _, closed = bench(one.port, *words)
    code, opened = bench(one.port, *words, "--rate", "40")
    assert code == 0 and opened["accepted"] == 20 and opened["missed"] == 0
    assert closed["accept_ms"]["p50"] >= 49 and closed["late_ms"]["count"] == 0
    assert opened["whole_ms"]["max"] > 500 and opened["late_ms"]["max"] > 450
    assert opened["accept_ms"]["max"] < opened["whole_ms"]["max"]
    assert one.stop()["end_to_end_ms"]["max"] > 500  # the mark holds the instant that was due


def test_an_open_loop_splits_its_rate_over_processes(sink: Callable[..., SinkProcess]) -> None:
    code, result = bench(sink().port, "--duration", "1s", "--rate", "100", "--processes", "2", "--sessions", "20")
    assert result["accepted"] + result["missed"] == 100 and result["late_ms"]["count"] == result["accepted"] > 50
    assert code == (69 if result["missed"] else 0)


def test_what_was_due_and_never_sent_is_told(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--latency", "200ms")
    code, result = bench(one.port, "--duration", "1s", "--rate", "50", "--sessions", "1", "--reuse")
    assert code == 69 and result["accepted"] + result["missed"] == 50 and result["missed"] >= 44


def test_a_warmup_is_sent_and_not_measured(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--ids")
    code, result = bench(one.port, "--messages", "100", "--warmup", "25%", "--sessions", "4", "--processes", "2")
    assert code == 0 and (result["warmed"], result["accepted"], result["accept_ms"]["count"]) == (24, 76, 76)
    assert one.stop()["unique"] == 100


def test_connect_only(sink: Callable[..., SinkProcess]) -> None:
    one = sink()
    code, result = bench(one.port, "--messages", "50", "--sessions", "5", "--connect-only")
    assert code == 0 and (result["visited"], result["sessions"], result["accepted"]) == (50, 50, 0)
    assert result["whole_ms"]["count"] == result["connect_ms"]["count"] == 50
    seen = one.stop()
    assert (seen["connections"], seen["messages"], seen["broken"]) == (50, 0, 0)


def test_messages_per_session(sink: Callable[..., SinkProcess]) -> None:
    code, result = bench(sink().port, "--messages", "40", "--sessions", "2", "--messages-per-session", "10")
    assert code == 0 and result["sessions"] == 4


def test_a_mix_of_sizes_arrives_as_large_as_it_was_sent(sink: Callable[..., SinkProcess]) -> None:
    one = sink()
    code, result = bench(one.port, "--messages", "60", "--sessions", "6", "--reuse", "--size", "1KB=70,100KB=29,3MB=1",
                         "--domains", "3:load.test")  # fmt: skip
    seen = one.stop()
    assert code == 0 and seen["messages"] == 60 and set(seen["domains"]) == {f"d{n}.load.test" for n in range(3)}
    assert seen["octets"] / 1e6 / result["seconds"] == pytest.approx(result["megabytes_per_second"], rel=0.1)
    assert seen["octets"] > 60 * 10_000


@pytest.mark.parametrize("kind", ["starttls", "implicit"])
def test_over_tls(sink: Callable[..., SinkProcess], authority: Authority, kind: str) -> None:
    leaf = authority.issue("localhost")
    one = sink("--certificate", leaf.certificate, "--key", leaf.key, "--tls", kind)
    code, result = bench(
        one.port, "--messages", "20", "--sessions", "2", "--tls", *(["implicit"] if kind == "implicit" else [])
    )
    seen = one.stop()
    assert code == 0 and result["plan"]["tls"] == kind
    assert (seen["messages"], seen["encrypted"], seen["broken"]) == (20, 20, 0)


def test_replies_are_counted_by_their_words(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--max-recipients", "2", "--max-messages", "3")
    code, result = bench(one.port, "--messages", "12", "--sessions", "1", "--reuse", "--recipients", "3")
    assert code == 69 and (result["accepted"], result["refused_recipients"]) == (9, 9)
    assert result["errors"] == {
        "452 4.5.3 too many recipients": 9,
        "421 4.7.0 too many messages in this connection": 3,
    }


def test_ctrl_c_ends_it_and_shows_what_was_done(sink: Callable[..., SinkProcess]) -> None:
    one = sink()
    process = subprocess.Popen(
        command("bench", "--to", f"127.0.0.1:{one.port}", "--json", "--messages", "99", "--rate", "0.001"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    debian.wait_until(lambda: one.so_far()["messages"] == 1, 30, "a message")  # the next is due in 17 minutes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    result = json.loads(out)
    assert process.returncode == 130 and result["stopped"] and result["accepted"] == 1, err


def test_tables_for_people(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--reject", "rcpt=30%")
    done = debian.run(command("bench", "--to", f"127.0.0.1:{one.port}", "--messages", "30", "--rate", "500"))
    said = done.stdout.decode()
    assert done.returncode == 69 and "open loop, 500/s" in said and "550 5.1.1 No such mailbox" in said
    for words in ("sessions/s", "messages/s", "megabytes/s", "final dot to 250", "p99.9", "begun after due", "refused"):
        assert words in said


@pytest.mark.parametrize(
    "words",
    [["--to", "192.0.2.1:25"], ["--size", "5XB"], ["--duration", "soon"], ["--warmup", "100%"], ["--auth", "anna"],
     ["--domains", "a=0"], ["--rate", "0"], ["--tls", "perhaps"], ["--connect-only", "--sink", "127.0.0.1:0"]],
)  # fmt: skip
def test_what_cannot_be_is_one_line(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastrelay.cli.main", "bench", *words], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 64 and done.stderr.count("\n") == 1 and not done.stdout, done.stderr


def test_progress_on_a_terminal_and_figures_on_stdout(sink: Callable[..., SinkProcess]) -> None:
    one, (ours, theirs) = sink(), pty.openpty()
    process = subprocess.Popen(
        command("bench", "--to", f"127.0.0.1:{one.port}", "--json", "--rate", "20", "--messages", "12"),
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 65536):
            drawn += piece
    except OSError:
        pass  # EIO: nobody holds the other end any more
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and json.loads(out)["accepted"] == 12, drawn
    assert b" messages" in drawn and b"12 messages" in drawn and b"/s" in drawn
