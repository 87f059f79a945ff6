"""Kind "flow": smtp-source, the relay, smtp-sink; as many messages as fit into the duration. Also the floor.

With `parts` one smtp-source for each part runs at the same time; their messages are in the given shares, and all end
together only as far as sessions were dealt out well.
"""

import time

from bench import tools
from bench.measure import Meter, Round, Stage
from bench.processes import Broken, Program
from bench.relay import Need, Wish
from bench.scenario import Part

NEEDS: frozenset[Need] = frozenset()
FLOOR = True
WARM = 300  # messages of the warm-up, which also tells how many fit into the wanted duration


def run(stage: Stage) -> Round:
    """See the head."""
    sink = tools.Sink(stage.tools)
    try:
        if stage.relay is None:
            one = measured(stage, sink, Meter(None), None, sink.port)
            return stage.round(**one, cpu_ms=one["generator_cpu_ms"] + one["sink_cpu_ms"])
        with stage.running(Wish(sink.port, stage.workers)) as relay:
            began = time.monotonic()
            rate = warm(stage, sink, relay.program, relay.port, began)
            return stage.round(**measured(stage, sink, Meter(relay), relay.program, relay.port, rate))
    finally:
        sink.close()


def _parts(stage: Stage) -> tuple[Part, ...]:
    scenario = stage.scenario
    return scenario.parts or (Part(size=scenario.size, share=1.0, sessions=scenario.sessions),)


def warm(stage: Stage, sink: tools.Sink, relay: Program | None, port: int, began: float) -> float:
    """Messages a second of a first load."""
    sent = _send(stage, port, WARM)[0]
    return sent / (sink.wait_arrived(sent, relay) - began)


def _send(stage: Stage, port: int, messages: int) -> tuple[int, float]:
    """All sources from start to end: how many messages they sent, and their CPU seconds."""
    scenario, sent, sources = stage.scenario, 0, []
    cpu = 0.0
    try:
        for part in _parts(stage):
            count = max(1, round(messages * part.share))
            sent += count
            sources.append(
                tools.source(
                    port, stage.tools, messages=count, size=part.size, sessions=part.sessions,
                    recipients=scenario.recipients, kept_open=scenario.kept_open,
                )
            )  # fmt: skip
        for source in sources:
            cpu += source.wait(600)
    finally:
        for source in sources:
            source.end()
    return sent, cpu


def measured(
    stage: Stage, sink: tools.Sink, meter: Meter, relay: Program | None, port: int, rate: float = 0.0
) -> dict[str, float]:
    rate = rate or warm(stage, sink, relay, port, time.monotonic())
    before, sink_cpu = sink.arrived(), sink.program.cpu()
    start = time.monotonic()
    messages, generator_cpu = _send(stage, port, stage.amount.fitting(rate))
    accepted = time.monotonic() - start
    seconds = sink.wait_arrived(before + messages, relay) - start
    figures = meter.read(messages, seconds)
    if (arrived := sink.arrived() - before) != messages:
        raise Broken(f"{messages} messages were accepted, {arrived} arrived")
    return figures | {
        "messages": messages,
        "seconds": seconds,
        "delivered_per_second": messages / seconds,
        "accepted_per_second": messages / accepted,
        "generator_cpu_ms": generator_cpu / messages * 1e3,
        "sink_cpu_ms": (sink.program.cpu() - sink_cpu) / messages * 1e3,
    }
