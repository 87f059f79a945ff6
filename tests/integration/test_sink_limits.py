"""The limits of a sink in several processes, and its account of what never came."""

import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.sink_process import SinkProcess


def test_no_more_connections_than_allowed_over_all_processes(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--processes", "3", "--max-per-client", "7")
    inside, refused = [], 0
    for _ in range(20):
        client = smtplib.SMTP(timeout=20)
        code, words = client.connect("127.0.0.1", one.port)
        if code == 220:
            inside.append(client)
        else:
            refused += 1
            assert (code, words) == (421, b"4.7.0 too many connections")
            client.close()
    assert (len(inside), refused) == (7, 13)
    for client in inside:
        client.quit()
    seen = one.stop()
    assert (seen["connections"], seen["throttled"], seen["broken"]) == (20, 13, 0)


def test_like_gmail(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--profile", "gmail-like")
    with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
        refused = client.sendmail("a@x", ["b@one.example", "c@two.example", "d@one.example"], "hi")
    assert {address: code for address, (code, _) in refused.items()} == {"c@two.example": 451}
    assert one.stop()["limited"] == 1


def test_like_yahoo_the_connection_ends_without_a_word(sink: Callable[..., SinkProcess]) -> None:
    one = sink("--profile", "yahoo-like", "--max-messages", "2")
    client = smtplib.SMTP("127.0.0.1", one.port, timeout=20)
    client.sendmail("a@x", ["b@y"], "1")
    client.sendmail("a@x", ["b@y"], "2")
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    assert one.stop()["messages"] == 2


def test_what_never_came_is_lost(tmp_path: Path) -> None:
    accepted = tmp_path / "accepted"
    accepted.write_text("r1-0000000001 b@y\nr1-0000000002 b@y\n")
    one = SinkProcess("--against", accepted)
    try:
        with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
            client.sendmail("a@x", ["b@y"], "X-Id: r1-0000000001-0000000000000001\r\n\r\nhi")
            client.sendmail("a@x", ["b@y"], "X-Id: r1-0000000003-0000000000000001\r\n\r\nhi")
        seen = one.stop(code=69)
    finally:
        one.kill()
    assert (seen["lost"], seen["unknown"], seen["duplicates"]) == (1, 1, 0)
