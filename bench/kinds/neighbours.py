"""Kind "neighbours": ten destinations; do the healthy ones feel that one is dead and one crawls?

An open loop over ten domains of equal weight. Eight go to a healthy sink. With settings.ill, one of the other two
leads to a server that takes connections and never says a word, one to a sink that waits `crawl` before each answer;
without (the baseline) both are sinks as good as the first. settings: ill, crawl, rate (messages a second in all).
latencies.end_to_end: of the eight healthy domains alone, from the moment a message was to be offered to its arrival.
Mail of the two others is not waited for; more.crawled: how many the crawling one took meanwhile.
"""

import socket
import time

import msgspec

from bench import load
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish
from tests.peers import debian

NEEDS = frozenset({Need.ROUTES})
FLOOR = False
_HEALTHY = tuple(f"healthy{n}.test" for n in range(8))
_DEAD, _CRAWLING = "dead.test", "crawling.test"
_SEED = 1  # of the generator's draw: how many messages each domain gets is asked of its result


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """crawl: a duration, as "1s"."""

    ill: bool
    rate: float
    crawl: str = "1s"


def run(stage: Stage) -> Round:
    """See the head."""
    scenario = stage.scenario
    settings = scenario.settings_as(Settings)
    slow = [word for phase in ("ehlo", "mail", "rcpt", "dot") for word in ("--latency", f"{phase}={settings.crawl}")]
    healthy = load.Sink(stage.tools)
    others: load.Sink | None = None
    mute = socket.create_server(("127.0.0.1", debian.free_port()), backlog=1024)
    try:
        others = load.Sink(stage.tools, *(slow if settings.ill else []), name="other-sink")
        dead = mute.getsockname()[1] if settings.ill else others.port
        hops = dict.fromkeys(_HEALTHY, ("127.0.0.1", healthy.port))
        hops |= {_DEAD: ("127.0.0.1", dead), _CRAWLING: ("127.0.0.1", others.port)}
        with stage.running(Wish(0, stage.workers, next_hops=hops, connections=20)) as relay:
            messages = stage.amount.messages or int(settings.rate * stage.amount.duration)
            meter, sink_cpu = Meter(relay), healthy.program.cpu()
            start = time.monotonic()
            generator = load.Load(
                stage.tools, relay.port, "--rate", settings.rate, "--messages", messages,
                "--sessions", scenario.sessions, "--size", f"{scenario.size}B",
                "--seed", _SEED, "--pairs", stage.tools / "pairs",
                "--domains", ",".join((*_HEALTHY, _DEAD, _CRAWLING)), *(["--reuse"] if scenario.kept_open else []),
            )  # fmt: skip
            shown = generator.wait(600)
            if shown["accepted"] != messages:
                raise Broken(f"{messages} were offered, {shown['accepted']} accepted")
            pairs = (stage.tools / "pairs").read_text().split("\n")
            expected = sum(pair.rpartition("@")[2] in _HEALTHY for pair in pairs)
            seconds = healthy.wait_arrived(expected, relay.program) - start
            figures = meter.read(messages, seconds)
            seen = healthy.look()
            if seen["messages"] != expected:
                raise Broken(f"{expected} were for the healthy domains, {seen['messages']} arrived there")
            return stage.round(
                **figures,
                messages=messages,
                seconds=seconds,
                delivered_per_second=expected / seconds,
                generator_cpu_ms=shown["cpu_seconds"] / messages * 1e3,
                sink_cpu_ms=(healthy.program.cpu() - sink_cpu) / messages * 1e3,
                latencies={
                    "accept": load.milliseconds(shown["accept_ms"]),
                    "end_to_end": load.milliseconds(seen["end_to_end_ms"]),
                },
                more={"crawled": others.arrived()},
            )
    finally:
        mute.close()
        healthy.close()
        if others is not None:
            others.close()
