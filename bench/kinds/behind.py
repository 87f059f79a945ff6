"""Kind "behind": as "flow", with a backlog queued behind what flows; does a message cost more for it?

settings: queued. The relay starts on a spool filled by bench/seed.py, none of it due; when all is loaded the load
begins. cpu_ms is the figure; the kind of scenario it is beside has the smallest backlog.
"""

import time

from bench import tools
from bench.kinds import flow
from bench.kinds.restart import PATIENCE, Settings, wait_loaded
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish

NEEDS = frozenset({Need.BACKLOG})
FLOOR = False


def run(stage: Stage) -> Round:
    """See the head."""
    queued = stage.scenario.settings_as(Settings).queued
    spool = stage.backlogs.of(queued)
    sink = tools.Sink(stage.tools)
    try:
        with stage.running(Wish(sink.port, stage.workers, spool=spool), seconds=PATIENCE) as relay:
            wait_loaded(relay, queued)
            rate = flow.warm(stage, sink, relay.program, relay.port, time.monotonic())
            figures = flow.measured(stage, sink, Meter(relay), relay.program, relay.port, rate)
            if (left := relay.queued()) != queued:
                raise Broken(f"{queued} messages were queued behind, {left} are in the end")
            return stage.round(**figures, more={"queued": queued})
    finally:
        sink.close()
