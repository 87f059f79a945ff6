"""The admin child in a house: scraped, asked, killed, and kept from its port."""

import os
import re
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.peers import debian
from tests.peers.house_process import PATIENCE, House, exchange, houses

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    with houses(tmp_path) as start:
        yield start


def started(one: House) -> tuple[House, int]:
    """The house when it is ready, and the port of its admin child."""
    line = one.expect(r"\]: ready: ")
    found = re.search(r"admin on 127\.0\.0\.1:(\d+)", line)
    return one, int(found[1]) if found else 0


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        return exchange(sock, path, method)


def scrape(port: int) -> Samples:
    status, text = get(port, "/metrics")
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def child_of(one: House, *, other_than: int = 0) -> int:
    """The admin child's pid: the newest child that is no worker."""
    children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children").read_text().split()
    workers = {worker["pid"] for worker in one.ask("/healthz")[1]["workers"]}
    found = {int(pid) for pid in children} - workers - {other_than}
    assert len(found) == 1
    return found.pop()


def test_a_scrape_covers_all_workers_and_survives_them(house: Callable[..., House]) -> None:
    one, port = started(house("answering", "run_admin"))
    calls = [one.call() for _ in range(6)]
    samples = scrape(port)
    assert samples["fastrelay_sessions_total", ()] == 6
    assert samples["fastrelay_queue_messages", ()] == 10
    assert samples["fastrelay_worker_restarts_total", ()] == 0
    assert any(name == "fastrelay_build_info" for name, _ in samples)
    os.kill(calls[0][2], signal.SIGKILL)
    one.expect("was killed by SIGKILL")
    debian.wait_until(lambda: scrape(port)["fastrelay_queue_messages", ()] == 5, PATIENCE, "its gauges to go")
    debian.wait_until(lambda: scrape(port)["fastrelay_queue_messages", ()] == 10, PATIENCE, "its successor")
    samples = scrape(port)
    assert samples["fastrelay_sessions_total", ()] == 6, "a counter never falls"
    assert samples["fastrelay_worker_restarts_total", ()] == 1
    for sock, _, _ in calls:
        sock.close()


def test_health_and_readiness_follow_the_workers(house: Callable[..., House]) -> None:
    one, port = started(house("answering", "run_admin"))
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        status, health = one.ask(path)
        assert (status, health[word]) == (200, True)
        assert [(w["slot"], w["state"], w["fresh"]) for w in health["workers"]] == [
            (0, "ready", True),
            (1, "ready", True),
        ]
        assert get(port, path)[0] == 200
        assert get(port, path, "HEAD") == (200, b"")
        assert get(port, path, "DELETE")[0] == 405
    sock, _, _ = one.call()
    assert sum(worker["sessions"] for worker in one.ask("/healthz")[1]["workers"]) == 1
    sock.close()


def test_the_api_is_not_for_the_network(house: Callable[..., House]) -> None:
    one, port = started(house("answering", "run_admin"))
    status, octets = get(port, "/api/v1/status")
    assert status == 403 and str(one.admin_sock).encode() in octets
    assert stat.S_IMODE(one.admin_sock.stat().st_mode) == 0o600
    status, told = one.ask("/api/v1/status")
    assert status == 200 and told["messages"] == 10 and told["incomplete"] == []
    assert told["master"] == one.process.pid and told["admin"] == f"127.0.0.1:{port}"
    assert [worker["state"] for worker in told["workers"]] == ["ready", "ready"]
    assert [worker["messages"] for worker in told["workers"]] == [5, 5]


def ids(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def test_lists_are_paged_by_key_over_all_slots(house: Callable[..., House]) -> None:
    one, _ = started(house("answering", "run_admin"))
    seen: list[str] = []
    after, pages = "", 0
    while after is not None:
        status, page = one.ask(f"/api/v1/queue?limit=3&after={after}")
        assert status == 200 and len(page["rows"]) <= 3 and page["incomplete"] == []
        seen += [row["id"] for row in page["rows"]]
        after, pages = page["next"], pages + 1
    assert seen == ids(0, 1, 10, 11, 20, 21, 30, 31, 40, 41) and pages >= 4
    _, page = one.ask("/api/v1/queue?domain=slot1.example")
    assert [row["id"] for row in page["rows"]] == ids(1, 11, 21, 31, 41)
    _, summary = one.ask("/api/v1/queue/summary")
    counted = {name: row["recipients"] for name, row in summary["domains"].items()}
    assert counted == {"slot0.example": 5, "slot1.example": 5, "both.example": 10}
    assert summary["messages"] == 10 and summary["recipients"] == 20


def test_verbs_change_mail_in_every_slot(house: Callable[..., House]) -> None:
    one, _ = started(house("answering", "run_admin"))

    def order(verb: str, select: dict[str, Any], reason: str = "because") -> tuple[int, Any]:
        return one.ask(f"/api/v1/queue/{verb}", "POST", {"select": select, "reason": reason, "who": "test"})

    assert order("hold", {"all": True}) == (200, {"changed": 10, "busy": 0, "incomplete": []})
    assert len(one.ask("/api/v1/queue?held=true")[1]["rows"]) == 10
    assert order("release", {"id": ids(11)[0]})[1]["changed"] == 1
    assert len(one.ask("/api/v1/queue?held=true")[1]["rows"]) == 9
    status, shown = one.ask(f"/api/v1/queue/{ids(11)[0]}")
    assert status == 200 and shown["slot"] == 1 and shown["held"] == "" and len(shown["recipients"]) == 2
    assert order("retry", {"domain": "both.example"})[1]["changed"] == 1, "what is on hold stays so"
    assert order("release", {"all": True})[1]["changed"] == 9
    assert order("retry", {"domain": "both.example"})[1]["changed"] == 10
    assert order("remove", {"domain": "slot0.example"})[1]["changed"] == 5
    assert one.ask("/api/v1/queue/summary")[1]["recipients"] == 15
    assert order("remove", {"all": True})[1]["changed"] == 10
    assert one.ask("/api/v1/queue")[1] == {"rows": [], "next": None, "incomplete": []}
    assert one.ask(f"/api/v1/queue/{ids(11)[0]}")[0] == 404
    status, refused = order("remove", {})
    assert status == 400 and refused["code"] == 64
    assert order("hold", {"all": True}, reason="")[0] == 400
    assert order("hold", {"colour": "red"})[0] == 400


def test_a_slot_that_does_not_answer_is_named(house: Callable[..., House]) -> None:
    one, _ = started(house("one_is_deaf", "run_admin"))
    (one.folder / "spool/slot-005").mkdir()
    (one.folder / "spool/slot-005/segment-0000000001.log").touch()  # mail nobody holds
    status, page = one.ask("/api/v1/queue")
    assert status == 200 and page["incomplete"] == [1, 5]
    assert [row["id"] for row in page["rows"]] == ids(0, 10, 20, 30, 40)
    status, told = one.ask("/api/v1/status")
    assert told["incomplete"] == [1, 5] and told["messages"] == 5
    assert [(worker["slot"], worker["state"]) for worker in told["workers"]] == [(0, "ready"), (1, "ready")]
    status, changed = one.ask("/api/v1/queue/remove", "POST", {"select": {"all": True}})
    assert [error["slot"] for error in changed.pop("errors")] == [5], "no worker has it; of 1 nobody knows why"
    assert (status, changed) == (200, {"changed": 5, "busy": 0, "incomplete": [1, 5]})


def test_a_killed_admin_child_is_replaced_and_nobody_is_refused_meanwhile(house: Callable[..., House]) -> None:
    one, port = started(house("answering", "run_admin"))
    first = child_of(one)
    os.kill(first, signal.SIGKILL)
    assert get(port, "/readyz")[0] == 200, "the master holds the socket: connections wait for the next child"
    one.expect(rf"admin \(process {first}\) was killed by SIGKILL; replaced in 1 s")
    assert child_of(one) != first
    assert scrape(port)["fastrelay_worker_restarts_total", ()] == 0, "it is no worker"
    assert one.end(signal.SIGTERM) == 0
    assert not one.admin_sock.exists()


def test_a_taken_port_is_one_line_and_had_as_soon_as_it_is_free(house: Callable[..., House]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one = house("answering", "run_admin", admin=f"127.0.0.1:{port}")
        line = one.expect("admin.address: cannot listen on")
        assert f"127.0.0.1:{port}: address already in use" in line and "going on without /metrics" in line
        assert started(one)[1] == 0
        one.call()[0].close()
        assert one.ask("/api/v1/status")[1]["admin"] == ""
    one.expect(rf"admin.address: listening on 127.0.0.1:{port} now")
    assert scrape(port)["fastrelay_queue_messages", ()] == 10
    assert one.end(signal.SIGTERM) == 0


def test_a_drain_is_visible_to_its_end(house: Callable[..., House]) -> None:
    one, port = started(house("stubborn", "run_admin", workers=1, drain_timeout="1s"))
    one.process.send_signal(signal.SIGTERM)
    one.expect("draining")
    assert get(port, "/healthz")[0] == 200
    assert one.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")


def test_bad_and_slow_requests_cost_only_their_own_connection(house: Callable[..., House]) -> None:
    _, port = started(house("answering", "run_admin", workers=1))

    def sent(*pieces: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            for piece in pieces:
                sock.sendall(piece)
            answer = b""
            try:
                while piece := sock.recv(65536):
                    answer += piece
            except ConnectionResetError:
                pass  # it closed with octets of ours unread: what it said came before
            return answer

    assert sent(b"EHLO there\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert sent(b"GET /metrics HTTP/2.0\r\n\r\n").startswith(b"HTTP/1.1 505 ")
    assert sent(b"GET / HTTP/1.1\r\nX: ", b"x" * 20_000).startswith(b"HTTP/1.1 431 ")
    assert sent(b"GET /x HTTP/1.1\r\nHost: x\r\n", b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    both = sent(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 ") == 2 and both.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 404 " in both
    assert sent(b"GET /healthz HT") == b"", "a head that does not come in time is hung up on"
    idle = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(200)]
    assert get(port, "/healthz")[0] == 200, "who says nothing keeps nobody out"
    assert idle[0].recv(1) == b"", "the oldest made room"
    for sock in idle:
        sock.close()
