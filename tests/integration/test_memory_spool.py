"""`spool.durability = "memory"` through the program: no file before the 250, an orderly stop keeps what is queued."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_relay_walk import send
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess


def logs(folder: Path) -> list[Path]:
    return list((folder / "spool").rglob("segment-*"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_delivered_without_a_file_and_what_is_queued_at_a_stop_is_there_at_the_next_start(
    relay: Callable[..., RelayProcess], tmp_path: Path, how: signal.Signals
) -> None:
    """Some 5 s: the house starts twice."""
    closed = debian.free_port()
    with Mailbox() as box:
        one = relay(
            workers=1,
            spool=["durability = 'memory'", "inline_limit = '64KiB'"],
            retry=["first = '1s'", "max = '1s'"],
            tables=f"[[route]]\ndomain = 'later.example'\nnext_hop = ['127.0.0.1:{closed}']\n"
            f"[[route]]\ndomain = '*'\nnext_hop = ['127.0.0.1:{box.port}']",
        ).start()
        large = "Subject: large\r\n\r\n" + f".{'x' * 70}\r\n" * 10_000  # goes out from its file
        for n in range(5):
            send(one, f"person{n}@now.example")
            send(one, [f"person{n}@later.example", f"person{n}@now.example"], large if n == 0 else "")
        assert len(box.wait(10)) == 10
        debian.wait_until(lambda: one.queued() == 5, 20, "the five for both to wait for one")
        debian.wait_until(lambda: len(list(one.lines("TransientFailure"))) >= 5, 20, "the five to be tried")
        assert logs(tmp_path) == [], "no file while memory has room"
        assert one.stop(how) == 0, one.said()
        assert logs(tmp_path)
    with Mailbox() as box:
        one.config.write_text(one.config.read_text().replace(f":{closed}'", f":{box.port}'"))
        one.start()
        box.wait(5)
        one.wait_empty()
        assert sorted(address for mail in box.arrived for address in mail.recipients) == [
            f"person{n}@later.example" for n in range(5)
        ], "each once, and only who had not got it"
        (sent,) = (mail for mail in box.arrived if mail.recipients == ("person0@later.example",))
        assert sent.content.endswith(large.encode())
        assert one.stop() == 0, one.said()


def test_killed_it_has_nothing_and_starts_again(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    closed = debian.free_port()
    one = relay(workers=1, next_hop=f"127.0.0.1:{closed}", spool=["durability = 'memory'"]).start()
    send(one, "someone@later.example")
    assert one.queued() == 1
    one.kill()
    one.start()
    assert one.queued() == 0
    assert one.stop() == 0, one.said()
