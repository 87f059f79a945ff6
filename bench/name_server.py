"""A real authoritative name server (nsd) with a zone made for the purpose: many domains over fewer mail servers.

Domain `dN.<zone>` has one MX, `mxM.<zone>` with M = N modulo the number of hosts; `mxM` has an address of its own
in 127.64.0.0/10. All answers live an hour: what is measured are cold caches, not short ones.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import tools
from bench.processes import Broken, Program
from tests.peers import debian

ZONE = "bench.test"
SYSTEM = "127.127.0.53"
_CONFIG = """\
server:
 ip-address: {address}@{port}
 username: ""
 chroot: ""
 database: ""
 zonesdir: "{folder}"
 pidfile: "{folder}/nsd.pid"
 xfrdfile: "{folder}/xfrd"
 xfrdir: "{folder}"
 zonelistfile: "{folder}/zonelist"
 server-count: 1
remote-control:
 control-enable: no
zone:
 name: {zone}
 zonefile: zone
"""


@contextmanager
def running(folder: Path, domains: int, hosts: int, *, by_system: bool = False) -> Iterator[tuple[str, int]]:
    """nsd with `domains` over `hosts`, from the moment it answers: its (address, port).

    by_system: at port 53 of an address of its own, for those who cannot ask at another port.
    """
    address, port = (SYSTEM, 53) if by_system else ("127.0.0.1", debian.free_port())
    folder.mkdir()
    (folder / "zone").write_text(zone(domains, hosts))
    (folder / "nsd.conf").write_text(_CONFIG.format(address=address, port=port, folder=folder, zone=ZONE))
    program = Program([tools.find("nsd"), "-d", "-c", folder / "nsd.conf"], folder / "output", debian.environment())
    try:
        latest = time.monotonic() + 10
        while not debian.listens(port, address):
            program.check_alive()
            if time.monotonic() > latest:
                raise Broken("nsd does not answer after 10 s")
            time.sleep(0.01)
        yield address, port
    finally:
        program.end()


def zone(domains: int, hosts: int) -> str:
    """The zone file."""
    lines = [f"$TTL 3600\n@ SOA ns.{ZONE}. root.{ZONE}. 1 3600 3600 3600 3600\n@ NS ns\nns A 127.0.0.1"]
    lines += [f"mx{n} A 127.64.{n // 250}.{n % 250 + 1}" for n in range(hosts)]
    lines += [f"d{n} MX 10 mx{n % hosts}" for n in range(domains)]
    return "\n".join(lines) + "\n"
