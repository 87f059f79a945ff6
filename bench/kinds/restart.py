"""Kind "restart": a start on a backlog that is not in the page cache.

settings: queued. The spool is filled by bench/seed.py and dropped from the page cache (posix_fadvise, file by file).
more.accepting_s: from the start to the greeting; more.loaded_s: until all is scheduled (looked for every 50 ms);
more.octets_per_message: private memory of all processes then, less that of the same relay on an empty spool;
more.read_mb: what the spool holds. cpu_ms: of the whole start, per message loaded.
"""

import time

import msgspec

from bench.backlog import drop_from_cache
from bench.measure import Round, Running, Stage
from bench.processes import Broken
from bench.relay import Need, Wish
from tests.peers import debian

NEEDS = frozenset({Need.BACKLOG})
FLOOR = False
PATIENCE = 600.0  # seconds
_LOOK = 0.05


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """queued: messages."""

    queued: int


def run(stage: Stage) -> Round:
    """See the head."""
    queued = stage.scenario.settings_as(Settings).queued
    spool = stage.backlogs.of(queued)
    nowhere = debian.free_port()  # nothing of the backlog is due
    with stage.running(Wish(nowhere, stage.workers)) as relay:
        empty = relay.program.private()
    octets = drop_from_cache(spool)
    with stage.running(Wish(nowhere, stage.workers, spool=spool), seconds=PATIENCE) as relay:
        loaded = relay.greeted + wait_loaded(relay, queued)
        cpu = relay.program.cpu()
        rss, pss = relay.program.memory()
        return stage.round(
            messages=queued,
            seconds=loaded,
            cpu_ms=cpu / queued * 1e3,
            rss=rss,
            pss=pss,
            more={
                "accepting_s": relay.greeted,
                "loaded_s": loaded,
                "octets_per_message": (relay.program.private() - empty) / queued,
                "read_mb": octets / 1e6,
            },
        )


def wait_loaded(relay: Running, queued: int) -> float:
    """Until all of the backlog is scheduled; the seconds it took."""
    began = time.monotonic()
    while (now_there := relay.queued()) != queued:
        relay.program.check_alive()
        if time.monotonic() - began > PATIENCE:
            raise Broken(f"{now_there} of {queued} messages are loaded after {PATIENCE:.0f} s")
        time.sleep(_LOOK)
    return time.monotonic() - began
