"""Kind "encrypted": our generator behind STARTTLS (TLS 1.3, ECDSA P-256), the relay, our sink in plaintext.

With connections that are kept a message costs the cipher; with one message per connection it costs a handshake too.
settings: outward, the other way round: the generator in plaintext, the relay behind STARTTLS with the sink, over
connections it keeps as it likes. The floor of the other kinds has no counterpart here: smtp-source speaks no TLS.
"""

import time

import msgspec

from bench import load
from bench.kinds.flow import WARM
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish
from tests.peers.certificates import Authority

NEEDS = frozenset({Need.TLS_IN, Need.TLS_OUT})
FLOOR = False


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See the head."""

    outward: bool = False


def run(stage: Stage) -> Round:
    """See the head."""
    leaf = Authority(stage.tools).issue("relay.invalid")
    pair = (leaf.certificate, leaf.key)
    outward = stage.scenario.settings_as(Settings).outward
    sink = load.Sink(stage.tools, *(("--certificate", str(pair[0]), "--key", str(pair[1])) if outward else ()))
    wish = Wish(sink.port, stage.workers, certificate=None if outward else pair, tls_out=outward)
    try:
        with stage.running(wish) as relay:
            began = time.monotonic()
            _send(stage, relay.port, WARM)
            rate = WARM / (sink.wait_arrived(WARM, relay.program) - began)
            meter, sink_cpu = Meter(relay), sink.program.cpu()
            start = time.monotonic()
            messages = stage.amount.fitting(rate)
            generator_cpu = _send(stage, relay.port, messages)
            seconds = sink.wait_arrived(WARM + messages, relay.program) - start
            figures = meter.read(messages, seconds)
            seen = sink.look()
            if (arrived := int(seen["messages"]) - WARM) != messages:
                raise Broken(f"{messages} messages were accepted, {arrived} arrived")
            if outward and not seen["encrypted"]:
                raise Broken("nothing went out in TLS")
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
    words = ["--size", f"{scenario.size}B", "--sessions", str(scenario.sessions), "--messages", messages]
    words += [] if scenario.settings_as(Settings).outward else ["--tls"]
    words += ["--reuse"] if scenario.kept_open else []
    shown = load.Load(stage.tools, port, *words).wait(600)
    if shown["accepted"] != messages:
        raise Broken(f"{messages} messages were offered, {shown['accepted']} accepted")
    return float(shown["cpu_seconds"])
