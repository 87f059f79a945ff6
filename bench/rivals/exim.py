"""Exim from Debian, unpacked in .peers, with a spool and a config of its own.

Set up for throughput as its specification advises; each setting names the chapter. It syncs each message's two files
before the 250 and logs, as it comes. Each connection and each delivery is a process of its own, deliveries outlive
the process that forked them: bench/reaper.py keeps them in the family, so that their CPU counts. It is started by
root, because it changes to the account it was built for, which nss_wrapper shows it.
"""

import os
from pathlib import Path

from bench.processes import Broken
from bench.relay import Need, Setup, Wish
from tests.peers import debian

OWNER, OWNER_GROUP = 1990, 1990  # as tests/peers/debian.py shows the account it was built for

CONFIG = """\
exim_path = {exim}
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
primary_hostname = relay.invalid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept hosts = 127.0.0.0/8
message_size_limit = 50M
tls_advertise_hosts =
# not setuid here: deliveries stay what the daemon has become (spec, "Security considerations")
deliver_drop_privilege = true
# spec, "Incoming SMTP messages over TCP/IP": no limit on connections, nor on messages in one; backlog of the socket
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_reserve = 0
smtp_connect_backlog = 1024
# the same chapter: deliver at once, however many messages came in one connection and whatever the load
smtp_accept_queue_per_connection = 0
# spec, "Main configuration": sub-directories for a spool that may be long; no look-ups of who calls
split_spool_directory = true
host_lookup =
rfc1413_hosts =
# spec, "Main configuration": runs of the queue at a time, for what was put off
queue_run_max = 10

begin acl

begin routers
smart_host:
  driver = manualroute
  transport = remote
  route_list = * 127.0.0.1::{sink}
  self = send

begin transports
remote:
  driver = smtp
  hosts_avoid_tls = *
  hosts_avoid_pipelining =
  # spec, "The smtp transport": messages that wait for the same host go over one connection
  connection_max_messages = 500
  max_rcpt = 1000

begin retry
* * F,5d,{retry}s
"""


class Exim:
    """One daemon; its number of processes is its own way to use the processors, so Wish.workers is no matter."""

    name = "exim"
    offers = frozenset({Need.RETRIES})

    def missing(self) -> str:
        if debian.find("exim4") is None or debian.find("libnss_wrapper.so") is None:
            return "exim4-daemon-light or libnss-wrapper is not there: run .ci/peers"
        return "" if debian.is_root() else "Exim must be started by root"

    def version(self) -> str:
        program = debian.find("exim4")
        assert program is not None
        folder = debian.UNPACKED.parent
        said = debian.run([program, "-bV", "-C", "/dev/null"], env=debian.exim_environment(folder)).stdout.decode()
        return said.split()[2] if said.startswith("Exim version") else "unknown"

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        port, program = debian.free_port(), debian.find("exim4")
        if program is None:
            raise Broken("exim4 is not there")
        text = CONFIG.format(exim=program, folder=folder, port=port, sink=wish.sink, retry=int(wish.first_retry))
        config = folder / "exim.conf"
        config.write_text(text)
        for name in ("spool", "log"):
            (folder / name).mkdir()
            os.chown(folder / name, OWNER, OWNER_GROUP)
        command = [str(program), "-C", str(config), "-bdf", f"-q{int(wish.first_retry)}s"]
        env = debian.exim_environment(folder)
        return Setup(command, env, port, text, (folder / "log/mainlog", folder / "log/paniclog"), orphans=True)
