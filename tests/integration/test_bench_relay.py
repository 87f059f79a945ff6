"""`fastrelay bench --sink`: from end to end through a relay, and what it says when mail stays away."""

from collections.abc import Callable

from tests.peers import debian
from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import SinkProcess, bench


def test_through_a_relay_from_end_to_end(relay: Callable[..., RelayProcess]) -> None:
    port = debian.free_port()
    one = relay(next_hop=f"127.0.0.1:{port}").start()
    words = ("--messages", "100", "--sessions", "5", "--recipients", "2", "--domains", "a.example")
    code, result = bench(one.port, *words, "--sink", f"127.0.0.1:{port}", "--warmup", "20%", "--rate", "400")
    delivered = result["delivered"]
    assert code == 0, result
    assert (result["warmed"], result["accepted"], result["refused"]) == (20, 80, 0)
    assert (delivered["arrived"], delivered["lost"], delivered["twice"], delivered["unknown"]) == (200, 0, 0, 0)
    end_to_end = delivered["end_to_end_ms"]  # by message, of those offered after the warm-up
    assert end_to_end["count"] == 80 and end_to_end["max"] >= end_to_end["p50"] > 0
    assert delivered["per_second"] > 0


def test_mail_that_stays_away_is_lost() -> None:
    server = SinkProcess()  # takes everything and passes on nothing
    try:
        words = ("--messages", "6", "--sessions", "2", "--sink", "127.0.0.1:0", "--wait", "300ms")
        code, result = bench(server.port, *words)
        assert server.stop()["messages"] == 6
    finally:
        server.kill()
    assert code == 69 and result["accepted"] == 6
    assert (result["delivered"]["arrived"], result["delivered"]["lost"]) == (0, 6)


def test_a_server_that_is_its_own_next_hop_counts_each_once() -> None:
    port = debian.free_port()
    code, result = bench(port, "--messages", "30", "--sessions", "3", "--sink", f"127.0.0.1:{port}")
    assert code == 0 and (result["delivered"]["arrived"], result["delivered"]["lost"]) == (30, 0)
    assert result["delivered"]["end_to_end_ms"]["count"] == 30
