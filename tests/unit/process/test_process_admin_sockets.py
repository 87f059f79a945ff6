"""process/admin_sockets.py where not all sockets are our own; the rest stands in test_admin_house.py."""

import socket
from pathlib import Path
from typing import Any, cast

from fastrelay.config import Config, parse
from fastrelay.process.admin_sockets import AdminSockets
from fastrelay.process.privileges import STAY


class Passed:
    """A service manager that passed admin.sock alone."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(address.removeprefix("unix:"))
        self.socket.listen()

    def take(self, address: str) -> socket.socket | None:
        return self.socket if address == self.address else None

    def ours(self, address: str) -> bool:
        return address != self.address


def config(folder: Path, address: str) -> Config:
    return parse(f'[server]\nruntime_dir = "{folder}"\n[admin]\naddress = "{address}"\n', "file")


def test_a_passed_api_socket_is_handed_on_and_its_file_is_never_ours_to_remove(tmp_path: Path) -> None:
    api = f"unix:{tmp_path}/admin.sock"
    said: list[str] = []
    one = AdminSockets(config(tmp_path, ""), STAY, cast(Any, Passed(api)), said.append, 0.0)
    assert one.files == [] and one.handed == {api: one.api.fileno()}
    one.renew(config(tmp_path, f"unix:{tmp_path}/http.sock"), 1.0)
    assert one.files == [f"unix:{tmp_path}/http.sock"] and set(one.handed) == {api, f"unix:{tmp_path}/http.sock"}
    one.renew(config(tmp_path, ""), 2.0)
    assert one.files == [] and one.http is None and not (tmp_path / "http.sock").exists()
    one.close()
    assert (tmp_path / "admin.sock").exists() and said == []


def test_an_address_that_cannot_be_had_after_a_reload_is_one_line_and_asked_for_again(tmp_path: Path) -> None:
    said: list[str] = []
    one = AdminSockets(config(tmp_path, ""), STAY, cast(Any, Passed(f"unix:{tmp_path}/admin.sock")), said.append, 0.0)
    one.renew(config(tmp_path, f"unix:{tmp_path}/none/http.sock"), 1.0)
    assert not one.look(2.0) and not one.look(20.0) and len(said) == 1 and "going on without /metrics" in said[0]
    (tmp_path / "none").mkdir()
    assert one.look(40.0) and one.http is not None and "listening on" in said[1]
    one.close()
