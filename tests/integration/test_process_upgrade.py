"""A new program takes the house over, or does not; and either of the two masters is killed at each step of it.

The workers are toys (house_program.py); both programs say what they have to say on the same stderr.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.house_process import PATIENCE, House, houses, service_manager


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    with houses(tmp_path) as start:
        yield start


def upgraded(one: House) -> int:
    """USR2 to the master; the pid of the new one, once it has started."""
    os.kill(one.master, signal.SIGUSR2)
    return int(one.expect(r"upgrade: process \d+ starts").split("process ")[1].split()[0])


def serves(one: House, *, but: set[int] = frozenset()) -> set[int]:  # type: ignore[assignment]
    """Somebody answers: the pids of two workers, none of which is among `but`; these may, until they notice that their
    master is gone."""
    found: dict[int, socket.socket] = {}
    until = time.monotonic() + PATIENCE
    with contextlib.ExitStack() as open_ones:
        while len(found) < 2:
            sock, _, pid = one.call()
            if pid in but:
                sock.close()
                assert time.monotonic() < until
                continue
            open_ones.callback(sock.close)
            found[pid] = sock
    return set(found)


def ends(one: House) -> None:
    """TERM to whoever is the master; everybody goes, and leaves nothing."""
    master = one.master
    os.kill(master, signal.SIGTERM)
    one.expect(rf"\[{master}\]: stopped")
    one.wait()
    assert not one.socket.exists() and one.master == 0
    assert [path.name for path in (one.folder / "run").iterdir()] in (
        ["metrics", "fastrelay.pid"],
        ["fastrelay.pid", "metrics"],
    )


def test_a_new_program_takes_over_and_the_old_one_ends(house: Callable[..., House]) -> None:
    one = house("accepting", "admin").ready()
    old, before = one.master, serves(one)
    new = upgraded(one)
    one.expect(rf"process {new} has taken over; process {old} drains")
    one.ready()
    assert one.process.wait(PATIENCE) == 0
    assert one.master == new
    serves(one, but=before)
    assert upgraded(one) != new  # and once more, from the one that took over
    one.ready()
    ends(one)


@pytest.mark.parametrize("behaviour", ["failing", "hesitant"])
def test_a_new_program_that_ends_before_it_is_ready_changes_nothing(
    house: Callable[..., House], behaviour: str
) -> None:
    one = house("patient").ready()
    old = one.master
    before = serves(one)
    one.next_is(behaviour)
    new = upgraded(one)
    if behaviour == "hesitant":
        debian.wait_until((one.folder / "spool" / "hesitating").exists, PATIENCE, "a worker in its slot")
        os.kill(new, signal.SIGKILL)
    how = "was killed by SIGKILL" if behaviour == "hesitant" else "ended with exit code 75"
    one.expect(rf"upgrade refused: process {new} {how} before it was ready: nothing was changed")
    assert one.master == old and serves(one) == before
    one.next_is("patient")  # the slots of the one that failed are free again
    new = upgraded(one)
    one.ready()
    assert one.master == new
    ends(one)


def test_a_new_program_that_is_not_ready_in_time_changes_nothing(
    house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSE_PATIENCE", "0.5")
    one = house("accepting").ready()
    one.next_is("hesitant")
    new = upgraded(one)
    one.expect(rf"upgrade refused: process {new} was not ready after 0.5 s and was ended: nothing was changed")
    serves(one)
    ends(one)


def test_a_program_that_cannot_be_run_changes_nothing(house: Callable[..., House]) -> None:
    one = house("accepting").ready()
    config = one.folder / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("/spool'", "/other'"))
    new = upgraded(one)
    one.expect(r"spool.path: .* is not that of the running relay")
    one.expect(rf"upgrade refused: process {new} ended with exit code 78 before it was ready")
    serves(one)
    ends(one)


@pytest.mark.parametrize("drains", [False, True])
def test_the_old_master_killed_leaves_the_house_to_the_new_one(house: Callable[..., House], drains: bool) -> None:
    one = house("patient").ready()
    old = one.master
    held, _, worker = one.call()
    if drains:
        new = upgraded(one)
        one.expect(rf"process {new} has taken over")
        os.kill(old, signal.SIGKILL)
    else:
        one.next_is("hesitant")
        new = upgraded(one)
        os.kill(old, signal.SIGKILL)
        one.expect(rf"upgrade: process {new} takes the place of process {old}")
        (one.folder / "spool" / "go").touch()
    one.ready()
    assert one.master == new
    serves(one, but={worker})
    held.close()
    debian.wait_until(lambda: debian.is_gone(worker), PATIENCE, "the old worker's end")
    ends(one)


def test_the_new_master_killed_while_the_old_one_drains_gives_the_house_back(house: Callable[..., House]) -> None:
    one = house("patient", "admin").ready()
    old = one.master
    held, _, _ = one.call()
    new = upgraded(one)
    one.expect(rf"process {new} has taken over")
    one.ready()
    os.kill(new, signal.SIGKILL)
    one.expect(rf"upgrade: process {new} was killed by SIGKILL; process {old} serves again")
    one.ready()
    assert one.master == old
    serves(one)
    held.close()
    ends(one)
    assert one.process.returncode == 0


def test_a_stop_of_the_new_master_stops_the_old_one_too(house: Callable[..., House]) -> None:
    one = house("patient").ready()
    held, _, _ = one.call()
    new = upgraded(one)
    one.ready()
    os.kill(new, signal.SIGTERM)
    one.expect(rf"\[{new}\]: stopped")
    debian.wait_until(lambda: debian.is_gone(new), PATIENCE, "the new master's end")
    assert one.process.poll() is None, "the session that is left is waited for"
    held.close()
    one.wait()
    assert one.process.returncode == 0 and one.master == 0
    assert not any("serves again" in line for line in one.lines)


def test_a_stop_while_the_new_program_starts_ends_both(house: Callable[..., House]) -> None:
    one = house("accepting").ready()
    one.next_is("hesitant")
    new = upgraded(one)
    one.process.send_signal(signal.SIGTERM)
    one.expect(rf"upgrade refused: process {new} was killed by SIGKILL|the house is told to stop: nothing was changed")
    one.expect("stopped")
    one.wait()
    assert one.process.returncode == 0 and one.master == 0


def test_the_service_manager_learns_who_the_master_is(
    house: Callable[..., House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service_manager(tmp_path) as manager:
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
        one = house("accepting").ready()
        new = upgraded(one)
        one.ready()
        heard = [manager.recv(4096).decode()]
        while heard[-1].count(f"MAINPID={new}") == 0 or "READY=1" not in heard[-1]:
            heard.append(manager.recv(4096).decode())
        assert f"MAINPID={new}" in heard, "from the old master, whom the manager believes"
        assert not any("STOPPING" in one for one in heard)
        ends(one)
