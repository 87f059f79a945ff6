"""Kind "steady": an open loop at a share of full load, for latencies that a closed loop hides.

First a closed loop as fast as it goes (`scenario.sessions`), for a third of the duration: what then is delivered a
second is full load. Then messages come at `share` of that, each at its time whether or not earlier ones were answered,
and latencies count from that time. settings: share. latencies: accept (final dot -> 250) and end_to_end (offered ->
taken by the sink). more.full_per_second: full load as found; more.offered_per_second.
"""

import time
from typing import Any

import msgspec

from bench import load
from bench.kinds.flow import WARM
from bench.measure import Meter, Round, Running, Stage
from bench.processes import Broken
from bench.relay import Need, Wish

NEEDS: frozenset[Need] = frozenset()
FLOOR = False


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """share: of full load."""

    share: float


def run(stage: Stage) -> Round:
    """See the head."""
    full = _full(stage)
    rate = full * stage.scenario.settings_as(Settings).share
    sink = load.Sink(stage.tools)
    try:
        with stage.running(Wish(sink.port, stage.workers)) as relay:
            one = open_loop(stage, relay, sink, rate)
            return stage.round(**one, more={"full_per_second": full, "offered_per_second": rate})
    finally:
        sink.close()


def open_loop(stage: Stage, relay: Running, sink: load.Sink, rate: float, *words: str) -> dict[str, Any]:
    """The figures of messages that come at `rate` a second for the duration and must all arrive at `sink`."""
    messages = stage.amount.messages or int(rate * stage.amount.duration)
    meter, sink_cpu = Meter(relay), sink.program.cpu()
    start = time.monotonic()
    shown = load.Load(
        stage.tools, relay.port, "--rate", round(rate, 1), "--messages", messages, *_common(stage), *words
    ).wait(600)
    seconds = sink.wait_arrived(messages, relay.program) - start
    figures = meter.read(messages, seconds)
    seen = sink.look()
    if not messages == shown["accepted"] == seen["messages"]:
        raise Broken(f"{messages} were offered, {shown['accepted']} accepted, {seen['messages']} arrived")
    return figures | {
        "messages": messages,
        "seconds": seconds,
        "delivered_per_second": messages / seconds,
        "generator_cpu_ms": shown["cpu_seconds"] / messages * 1e3,
        "sink_cpu_ms": (sink.program.cpu() - sink_cpu) / messages * 1e3,
        "latencies": {
            "accept": load.milliseconds(shown["accept_ms"]),
            "end_to_end": load.milliseconds(seen["end_to_end_ms"]),
        },
    }


def _full(stage: Stage) -> float:
    """Delivered a second when every session sends as fast as it is answered."""
    sink = load.Sink(stage.tools, name="full-sink")
    try:
        with stage.running(Wish(sink.port, stage.workers)) as relay:
            load.Load(stage.tools, relay.port, "--messages", WARM, *_common(stage)).wait(120)
            sink.wait_arrived(WARM, relay.program)
            start = time.monotonic()
            seconds = f"{max(2.0, stage.amount.duration / 3):g}s"
            accepted = load.Load(stage.tools, relay.port, "--duration", seconds, *_common(stage)).wait(300)["accepted"]
            return float(accepted / (sink.wait_arrived(WARM + accepted, relay.program) - start))
    finally:
        sink.close()


def _common(stage: Stage) -> list[str]:
    scenario = stage.scenario
    reuse = ["--reuse"] if scenario.kept_open else []
    return ["--size", f"{scenario.size}B", "--sessions", str(scenario.sessions), *reuse]
