"""Postfix from Debian, unpacked in .peers (never the one of this machine), with a queue and a config of its own.

Set up for throughput as its own documentation advises; each setting names the page. What would change a promise stays
as it comes: each queue file is synced before the 250, and the log is on. Postfix's master must be started by root; its
other processes drop to an account of the machine (any will do that is not root's).
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

from bench.processes import Broken
from bench.relay import Need, Setup, Wish
from tests.peers import debian

HOME = debian.UNPACKED / "usr/lib/postfix"
RESOLVER = Path(__file__).parent / "with_resolver.py"
OWNER, OTHERS, GROUP = "nobody", "daemon", "mail"  # mail_owner, default_privs, setgid_group: on every Debian, unshared

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {sbin}
daemon_directory = {home}/sbin
shlib_directory = {home}
meta_directory = {meta}
mail_owner = {owner}
default_privs = {others}
setgid_group = {group}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
maillog_file_prefixes = {folder}
maillog_file = {folder}/log

myhostname = relay.invalid
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
{road}message_size_limit = 52428800

# TUNING_README, "Postfix SMTP server": no name lookups, the shortest access list that still guards the relay
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
# TUNING_README: "Doing more work with your SMTP server processes", "Tuning the number of Postfix processes"
default_process_limit = {processes}
max_use = 10000
# TUNING_README, "General mail receiving performance tips": 0 is the better for Postfix over both scenarios, see README
in_flow_delay = 0
# TUNING_README, "Tuning the number of simultaneous deliveries"; QSHAPE_README, "active queue"
initial_destination_concurrency = 50
smtp_destination_concurrency_limit = 50
qmgr_message_active_limit = 50000
# ADDRESS_REWRITING_README, postconf(5): nothing to rewrite, no maps, no UTF-8 probing
local_header_rewrite_clients =
smtputf8_enable = no
# TUNING_README, "Tuning the frequency of deferred mail delivery attempts": as the scenario wants it
minimal_backoff_time = {retry}s
queue_run_delay = {retry}s
"""

# CONNECTION_CACHE_README: deliveries to a busy destination reuse connections
SMART_HOST = """\
relayhost = [127.0.0.1]:{sink}
smtp_host_lookup = native
disable_dns_lookups = yes
smtp_connection_cache_destinations = [127.0.0.1]:{sink}
"""

# TLS_README, "Server-side certificate and private key configuration"
TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
"""

# TLS_README, "SMTP client TLS", "Client-side TLS connection reuse"
TLS_OUT = """\
smtp_tls_security_level = encrypt
smtp_tls_connection_reuse = yes
"""

# by MX, to a port of ours; connections are kept on demand, as it comes
BY_MX = """\
smtp_tcp_port = {port}
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One Postfix instance; its number of processes is its own way to use the processors, so `workers` is no matter."""

    name = "postfix"
    offers = frozenset({Need.RETRIES, Need.MX, Need.MX_BY_SYSTEM, Need.TLS_IN, Need.TLS_OUT})

    def missing(self) -> str:
        if not (HOME / "sbin/master").exists():
            return "Postfix is not in .peers: run .ci/peers"
        return "" if debian.is_root() else "Postfix's master must be started by root"

    def version(self) -> str:
        command = [str(debian.UNPACKED / "usr/sbin/postconf"), "-dh", "mail_version"]
        return subprocess.run(
            command, env=debian.environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        ).stdout.strip()

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        _check_reachable(HOME)
        _check_reachable(folder.parent)
        port, owner = debian.free_port(), pwd.getpwnam(OWNER).pw_uid
        config, queue = folder / "config", folder / "queue"
        config.mkdir()
        queue.mkdir()
        (queue / "pid").mkdir()
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
                     "public", "saved", "trace", "maildrop"):  # fmt: skip
            (queue / name).mkdir(mode=0o755 if name == "public" else 0o700)
            os.chown(queue / name, owner, -1)
        (folder / "data").mkdir()
        os.chown(folder / "data", owner, -1)
        by_mx = wish.name_server is not None
        road = BY_MX.format(port=wish.mail_port) if by_mx else SMART_HOST.format(sink=wish.sink)
        main = MAIN.format(
            folder=folder, sbin=debian.UNPACKED / "usr/sbin", home=HOME, meta=config, owner=OWNER, others=OTHERS,
            group=GROUP, road=road, processes=200, retry=int(wish.first_retry),
        )  # fmt: skip
        if wish.certificate is not None:
            main += TLS.format(certificate=wish.certificate[0], key=wish.certificate[1])
        if wish.tls_out:
            main += TLS_OUT
        master = MASTER.format(port=port)
        (config / "main.cf").write_text(main)
        (config / "master.cf").write_text(master)
        command = [str(HOME / "sbin/master"), "-c", str(config), "-s"]
        if wish.name_server is not None:
            command = [sys.executable, str(RESOLVER), wish.name_server[0], *command]
        return Setup(command, debian.environment(MAIL_CONFIG=str(config)), port, main + master, (folder / "log",))


def _check_reachable(folder: Path) -> None:
    """The account Postfix drops to must be able to walk to `folder`."""
    for path in (folder, *folder.parents):
        if not path.stat().st_mode & 0o001:
            raise Broken(
                f"{path} is closed to other accounts, and Postfix runs as {OWNER}: chmod o+x, or move the tree"
            )
