"""Listening sockets as the master opens them: families, files, permissions, what is in the way."""

import os
import socket
import stat
from pathlib import Path

import pytest

from fastrelay.errors import ConfigError, MachineShort
from fastrelay.process.privileges import STAY
from fastrelay.process.sockets import Passed, bind, close_all, name_of, open_all, remove_files


def test_both_families_share_a_port() -> None:
    four = bind("0.0.0.0:0", STAY)
    port = four.getsockname()[1]
    six = bind(f"[::]:{port}", STAY)  # would fail were it not for IPv6 alone
    assert name_of(four) == f"0.0.0.0:{port}" and name_of(six) == f"[::]:{port}"
    assert not four.getblocking() and not six.getblocking()
    close_all([four, six])


def test_a_taken_address_says_how_to_find_who_has_it() -> None:
    first = bind("127.0.0.1:0", STAY)
    with pytest.raises(MachineShort, match=r"cannot listen on 127\.0\.0\.1:\d+: address already in use; .*ss -ltnp"):
        bind(name_of(first), STAY)
    first.close()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"listener\.address: 192\.0\.2\.1:25 is no address of this machine"):
        bind("192.0.2.1:25", STAY)


def test_all_or_none() -> None:
    first = bind("127.0.0.1:0", STAY)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(MachineShort):
        open_all(["127.0.0.1:0", name_of(first)], STAY, Passed({}))
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_a_unix_socket_is_for_its_user_and_group(tmp_path: Path) -> None:
    path = tmp_path / "door"
    sock = bind(f"unix:{path}", STAY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660 and name_of(sock) == f"unix:{path}"
    private = bind(f"unix:{path}.2", STAY, mode=0o600)
    assert stat.S_IMODE(Path(f"{path}.2").stat().st_mode) == 0o600
    close_all([sock, private])
    remove_files([f"unix:{path}", "127.0.0.1:25"])
    assert not path.exists()


def test_what_a_dead_house_left_is_replaced_and_what_lives_is_not(tmp_path: Path) -> None:
    path = tmp_path / "door"
    bind(f"unix:{path}", STAY).close()
    second = bind(f"unix:{path}", STAY)
    with pytest.raises(MachineShort, match="address already in use"):
        bind(f"unix:{path}", STAY)
    assert socket.socket(socket.AF_UNIX).connect_ex(str(path)) == 0
    second.close()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "door").write_text("precious")
    with pytest.raises(ConfigError, match="is there and is no socket"):
        bind(f"unix:{tmp_path}/door", STAY)
    assert (tmp_path / "door").read_text() == "precious"


def test_a_path_too_long_or_in_no_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"listener\.address: cannot listen on unix:.*: no such file"):
        bind(f"unix:{tmp_path}/nowhere/door", STAY)
    with pytest.raises(ConfigError, match=r"server\.runtime_dir: .*too long"):
        bind(f"unix:{tmp_path}/{'x' * 120}", STAY, key="server.runtime_dir")
