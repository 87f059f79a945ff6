"""A whole house as processes: ready, balanced, replaced, drained, quick-stopped; orphans and second starts."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.house_process import PATIENCE, House, houses, service_manager


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    with houses(tmp_path) as start:
        yield start


def test_persistent_sessions_spread_over_the_workers(house: Callable[..., House]) -> None:
    one = house(workers=4).ready()
    calls = [one.call() for _ in range(12)]
    spread = Counter(slot for _, slot, _ in calls)
    assert len(spread) == 4 and all(2 <= count <= 4 for count in spread.values()), spread
    for sock, _, _ in calls:
        sock.close()


def test_a_drain_ends_well_and_the_master_has_neither_hub_nor_threads(house: Callable[..., House]) -> None:
    one = house("accepting", "admin").ready()
    assert one.end(signal.SIGTERM) == 0
    assert any("draining" in line for line in one.lines) and any("stopped" in line for line in one.lines)
    assert one.lines[-1].endswith("master ends: hub None, threads (1, 1)")
    assert not one.socket.exists() and (one.folder / "run/fastrelay.pid").read_text() == ""


def test_a_quick_stop_ends_well(house: Callable[..., House]) -> None:
    one = house().ready()
    assert one.end(signal.SIGINT) == 0
    assert any("stopping now" in line for line in one.lines)


def test_a_killed_worker_is_replaced_and_siblings_go_on(house: Callable[..., House]) -> None:
    one = house().ready()
    calls = [one.call() for _ in range(4)]
    victim = calls[0][2]
    others = [sock for sock, _, pid in calls if pid != victim]
    assert others
    os.kill(victim, signal.SIGKILL)
    one.expect(rf"process {victim}, slot .\) was killed by SIGKILL; replaced in 1 s")
    pids: set[int] = set()
    while len(pids - {victim}) < 2:
        sock, _, pid = one.call()
        pids.add(pid)
        calls.append((sock, 0, pid))
    assert victim not in pids
    for sock in others:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
    for sock, _, _ in calls:
        sock.close()


def test_no_worker_ever_ready_ends_the_house_with_its_error(house: Callable[..., House]) -> None:
    one = house("failing")
    assert one.wait() == 75
    text = "\n".join(one.lines)
    assert "the spool is on fire" in text and "no worker became ready: giving up" in text


def test_one_worker_that_fails_does_not_end_the_house(house: Callable[..., House]) -> None:
    one = house("one_fails").ready()
    one.expect("worker 1 .* ended with exit code 75; replaced in")
    one.call()[0].close()
    assert one.end(signal.SIGTERM) == 0


def test_a_hung_worker_shows_its_stacks_and_is_replaced(house: Callable[..., House]) -> None:
    one = house("hanging", hang_timeout="2s").ready()
    one.expect("worker 0 .* has not beaten for 2 s")
    one.expect("Fatal Python error: Aborted")
    one.expect("in hanging")
    one.expect("was killed by SIGABRT; replaced in 1 s")
    assert one.end(signal.SIGTERM) == 0


def test_a_stopped_worker_that_even_abort_does_not_end_is_killed_and_mourned(house: Callable[..., House]) -> None:
    one = house("accepting", workers=2, hang_timeout="2s").ready()
    _, _, victim = one.call()
    os.kill(victim, signal.SIGSTOP)
    one.expect(rf"process {victim}\) has not beaten for 2 s")
    one.expect(rf"process {victim}\) does not end: killing it")
    one.expect(rf"process {victim}, slot .\) was killed by SIGKILL; replaced in 1 s")
    assert one.end(signal.SIGTERM) == 0


def test_a_worker_that_does_not_stop_is_killed(house: Callable[..., House]) -> None:
    one = house("stubborn", workers=1, drain_timeout="500ms").ready()
    assert one.end(signal.SIGTERM) == 0
    assert any("does not end: killing it" in line for line in one.lines)


def test_more_and_fewer_workers(house: Callable[..., House]) -> None:
    one = house(workers=1).ready()
    one.process.send_signal(signal.SIGTTIN)
    one.expect("one worker more: 2")
    calls = [one.call()]
    while len({pid for _, _, pid in calls}) < 2:
        calls.append(one.call())
    one.process.send_signal(signal.SIGTTOU)
    one.expect("one worker less: 1")
    one.process.send_signal(signal.SIGTTOU)
    one.expect("the last one stays")
    for sock, _, _ in calls:
        sock.close()
    assert one.end(signal.SIGTERM) == 0


def test_a_machine_without_processes_is_asked_again(house: Callable[..., House]) -> None:
    """For a worker as well as for a new program, which then changes nothing."""
    one = house().ready()
    marker = one.folder / "spool" / "no-forks"
    marker.touch()
    _, _, victim = one.call()
    os.kill(victim, signal.SIGKILL)
    one.expect("cannot start worker .: Resource temporarily unavailable; trying again in 2 s")
    one.process.send_signal(signal.SIGUSR2)
    one.expect("upgrade refused: cannot start the new program: Resource temporarily unavailable: nothing was changed")
    marker.unlink()
    calls = [one.call()]
    while len({pid for _, _, pid in calls} - {victim}) < 2:
        calls.append(one.call())
    for sock, _, _ in calls:
        sock.close()
    assert one.end(signal.SIGTERM) == 0


def test_a_second_start_says_who_is_there(house: Callable[..., House]) -> None:
    first = house().ready()
    second = house()
    assert second.wait() == 75
    assert f"already running: process {first.process.pid} holds" in second.lines[0]
    first.call()[0].close()


def test_a_second_start_on_the_same_spool_alone_says_who_is_there(house: Callable[..., House], tmp_path: Path) -> None:
    first = house().ready()
    (tmp_path / "other").mkdir()
    second = house(runtime_dir=str(tmp_path / "other"))
    assert second.wait() == 75
    assert f"already running: process {first.process.pid} holds {tmp_path / 'spool'}" in second.lines[0]
    assert (tmp_path / "run/fastrelay.pid").read_text() == f"{first.process.pid}\n"
    assert first.end(signal.SIGTERM) == 0
    third = house(runtime_dir=str(tmp_path / "other")).ready()
    assert third.end(signal.SIGTERM) == 0


def test_signals_that_tell_something_end_nobody(house: Callable[..., House]) -> None:
    one = house("accepting", "admin").ready()
    sock, _, pid = one.call()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        os.kill(pid, number)
    one.process.send_signal(signal.SIGUSR1)
    again, _, _ = one.call()
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    again.close()
    sock.close()
    assert one.end(signal.SIGTERM) == 0
    assert not any("was killed" in line for line in one.lines)


def test_the_service_managers_socket_is_taken_over_and_left_in_place(tmp_path: Path) -> None:
    """LISTEN_PID must be the house's own pid, so a shell says it of itself and becomes the house."""
    with socket.socket(socket.AF_UNIX) as passed, houses(tmp_path) as start:
        passed.bind(str(tmp_path / "door"))
        passed.listen()
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(tmp_path / "door"))  # before the house is there: nothing is refused
        one = start("accepting", passed=passed.fileno()).ready()
        waiting.settimeout(PATIENCE)
        assert waiting.recv(100)
        waiting.close()
        assert one.end(signal.SIGTERM) == 0
        assert (tmp_path / "door").exists(), "the socket unit's file is not ours to remove"


def test_orphans_end_by_themselves_and_a_new_master_waits_for_them(house: Callable[..., House]) -> None:
    one = house().ready()
    sock, _, orphan = one.call()
    one.process.kill()
    one.process.wait(PATIENCE)
    two = house()
    two.ready()
    assert debian.is_gone(orphan), "no worker starts while an orphan may still write"
    sock.close()
    assert two.end(signal.SIGTERM) == 0


def test_a_killed_workers_counts_are_cleared_before_the_next(house: Callable[..., House]) -> None:
    one = house("holding", workers=1).ready()
    sock, _, pid = one.call()
    os.kill(pid, signal.SIGKILL)
    one.expect("was killed by SIGKILL")
    sock.close()
    again, _, successor = one.call()
    assert successor != pid
    again.close()
    assert (one.folder / "spool/taken").read_text().splitlines() == ["0 3 3", "0 3 3"]


def test_a_message_in_hand_at_three_crashes_is_named_to_the_next_worker(house: Callable[..., House]) -> None:
    one = house("poisoned", workers=1)
    one.expect("message 000102030405060708090a0b0c0d0e0f was in hand at three crashes")
    one.call()[0].close()
    assert one.end(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_workers_become_the_user_and_cannot_go_back(house: Callable[..., House], tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(0o755)
    one = house("who", workers=1, user="nobody").ready()
    status = dict(line.split(":\t", 1) for line in (one.folder / "spool/who").read_text().splitlines() if ":\t" in line)
    uid = (one.folder / "spool/who").stat().st_uid
    assert uid != 0 and status["Uid"].split() == [str(uid)] * 4
    assert status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0
    assert (one.folder / "spool").stat().st_uid == uid and (one.folder / "run").stat().st_uid == uid
    assert one.socket.stat().st_uid == uid
    assert Path(f"/proc/{one.process.pid}").stat().st_uid == 0
    assert one.end(signal.SIGTERM) == 0


def test_an_address_that_is_taken_is_one_line(house: Callable[..., House], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "door"))
        taken.listen()
        one = house()
        assert one.wait() == 75
    assert "cannot listen on unix:" in one.lines[0] and "address already in use" in one.lines[0]


def test_the_service_manager_hears_ready_alive_and_stopping(
    house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service_manager(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "1000000")
        one = house(workers=1)
        heard: list[bytes] = []
        while not heard or b"READY=1" not in heard[-1]:
            heard.append(manager.recv(4096))
        assert f"MAINPID={one.process.pid}".encode() in heard[-1]
        while heard[-1] != b"WATCHDOG=1":
            heard.append(manager.recv(4096))
        one.process.send_signal(signal.SIGTERM)
        while b"STOPPING=1" not in heard[-1]:
            heard.append(manager.recv(4096))
        assert one.wait() == 0
