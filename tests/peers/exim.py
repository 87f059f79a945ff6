"""A real Exim with a certificate, as tests deliver to it: what its configurations have in common, and its process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import debian
from tests.peers.certificates import Leaf

OWNER = 1990  # the account debian.exim_environment shows Exim
HEAD = """\
exim_path = {exim}
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
primary_hostname = mx.exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
host_lookup =
rfc1413_hosts =
"""


class Exim:
    """mx.exim.test on `port`, in a folder the account it changes to can enter (pytest's are closed to it).

    config: what stands behind HEAD, with {folder} in it. Its log is log/mainlog, and box is there for its mail.
    """

    def __init__(self, folder: Path, leaf: Leaf, config: str) -> None:
        self.port = debian.free_port()
        self._folder = folder
        self._program = debian.need("exim4")
        self._config = folder / "exim.conf"
        head = HEAD.format(
            exim=self._program, folder=folder, port=self.port, certificate=leaf.certificate, key=leaf.key
        )
        self._config.write_text(head + config.replace("{folder}", str(folder)))
        for name in ("spool", "log", "box"):
            (folder / name).mkdir()
        for path in (folder, folder / "spool", folder / "log", folder / "box", leaf.key):
            os.chown(path, OWNER, OWNER)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the end of the block."""
        env = debian.exim_environment(self._folder)
        command = [self._program, "-C", self._config, "-bdf"]
        with debian.running(command, ready=lambda: debian.listens(self.port), env=env):
            yield
