"""Kind "encrypted": our generator behind STARTTLS (TLS 1.3, ECDSA P-256), the relay, our sink in plaintext.

With connections that are kept a message costs the cipher; with one message per connection it costs a handshake too.
The floor of the other kinds has no counterpart here: smtp-source speaks no TLS.
"""

import time

from bench import load
from bench.kinds.flow import WARM
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish
from tests.peers.certificates import Authority

NEEDS = frozenset({Need.TLS_IN})
FLOOR = False


def run(stage: Stage) -> Round:
    """See the head."""
    leaf = Authority(stage.tools).issue("relay.invalid")
    sink = load.Sink(stage.tools)
    try:
        with stage.running(Wish(sink.port, stage.workers, certificate=(leaf.certificate, leaf.key))) as relay:
            began = time.monotonic()
            _send(stage, relay.port, WARM)
            rate = WARM / (sink.wait_arrived(WARM, relay.program) - began)
            meter, sink_cpu = Meter(relay), sink.program.cpu()
            start = time.monotonic()
            messages = stage.amount.fitting(rate)
            generator_cpu = _send(stage, relay.port, messages)
            seconds = sink.wait_arrived(WARM + messages, relay.program) - start
            figures = meter.read(messages, seconds)
            if (arrived := sink.arrived() - WARM) != messages:
                raise Broken(f"{messages} messages were accepted, {arrived} arrived")
            return stage.round(
                **figures,
                messages=messages,
                seconds=seconds,
                delivered_per_second=messages / seconds,
                generator_cpu_ms=generator_cpu / messages * 1e3,
                sink_cpu_ms=(sink.program.cpu() - sink_cpu) / messages * 1e3,
            )
    finally:
        sink.close()


def _send(stage: Stage, port: int, messages: int) -> float:
    """CPU seconds of the generator for so many, all accepted."""
    scenario = stage.scenario
    words = ["--size", f"{scenario.size}B", "--sessions", str(scenario.sessions), "--tls", "--messages", messages]
    words += ["--reuse"] if scenario.kept_open else []
    shown = load.Load(stage.tools, port, *words).wait(600)
    if shown["accepted"] != messages:
        raise Broken(f"{messages} messages were offered, {shown['accepted']} accepted")
    return float(shown["cpu_seconds"])
