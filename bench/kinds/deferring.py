"""Kind "deferring": as "flow", but the sink answers a share of the recipients with 4xx, and they come back.

settings: share. delivered/s is of the first nine tenths: the last ones wait for their next attempt, which says nothing
of speed. All are waited for, and counted. more.deferred_share: 4xx over arrivals, the refused repeats included.
"""

import time
from typing import Any

import msgspec

from bench import load, tools
from bench.kinds.flow import WARM
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish

NEEDS = frozenset({Need.RETRIES})
FLOOR = False
FIRST_RETRY = 1.0  # seconds
_MOST = 0.9  # of the messages


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """share: of recipients, as "5%"; "0%" is the baseline."""

    share: str


def run(stage: Stage) -> Round:
    """See the head."""
    share = stage.scenario.settings_as(Settings).share
    sink = load.Sink(stage.tools, "--defer", f"rcpt={share}")
    try:
        with stage.running(Wish(sink.port, stage.workers, first_retry=FIRST_RETRY)) as relay:
            scenario = stage.scenario
            how: dict[str, Any] = {
                "size": scenario.size,
                "sessions": scenario.sessions,
                "kept_open": scenario.kept_open,
            }
            start = time.monotonic()
            tools.source(relay.port, stage.tools, messages=WARM, **how).wait(120)
            messages = stage.amount.fitting(WARM / (time.monotonic() - start))
            sink.wait_arrived(WARM, relay.program)
            meter, sink_cpu, before = Meter(relay), sink.program.cpu(), sink.look()
            start = time.monotonic()
            source = tools.source(relay.port, stage.tools, messages=messages, **how)
            try:
                most = int(messages * _MOST)
                seconds = sink.wait_arrived(WARM + most, relay.program) - start
                generator_cpu = source.wait(600)
            finally:
                source.end()
            sink.wait_arrived(WARM + messages, relay.program)
            figures = meter.read(messages, time.monotonic() - start)
            after = sink.look()
            if after["messages"] != WARM + messages:
                raise Broken(f"{messages} messages were accepted, {after['messages'] - WARM} arrived")
            return stage.round(
                **figures,
                messages=messages,
                seconds=seconds,
                delivered_per_second=most / seconds,
                generator_cpu_ms=generator_cpu / messages * 1e3,
                sink_cpu_ms=(sink.program.cpu() - sink_cpu) / messages * 1e3,
                more={"deferred_share": (after["deferred"] - before["deferred"]) / messages},
            )
    finally:
        sink.close()
