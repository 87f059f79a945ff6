"""Addresses in one spelling."""

import pytest

from fastrelay.errors import ConfigError
from fastrelay.process.privileges import STAY
from fastrelay.process.sockets import Passed, bind, canonical


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("127.0.0.1:25", "127.0.0.1:25"),
        ("127.0.0.1:0025", "127.0.0.1:25"),
        ("[::0]:25", "[::]:25"),
        ("[2001:DB8:0::1]:587", "[2001:db8::1]:587"),
        ("unix:/run/a", "unix:/run/a"),
        ("localhost:25", "localhost:25"),
    ],
)
def test_one_spelling_per_address(address: str, same: str) -> None:
    assert canonical(address) == same


def test_names_are_not_looked_up() -> None:
    with pytest.raises(ConfigError, match=r"admin\.address: 'localhost' is no IP address"):
        bind("localhost:25", STAY, key="admin.address")


@pytest.mark.parametrize("pid", ["", "1", "x"])
def test_sockets_meant_for_another_process_are_left_alone(pid: str) -> None:
    environment = {"LISTEN_PID": pid, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c", "PATH": "/bin"}
    passed = Passed(environment)
    assert environment == {"PATH": "/bin"}
    assert passed.take("127.0.0.1:25") is None and passed.ours("127.0.0.1:25")
