"""Kind "domains": mail to many domains over many mail servers, found through a real name server with cold caches.

settings: domains, hosts, messages (sent in every round, whatever the duration). No warm-up, so that nothing is known
when it begins; the sink is one smtp-sink on every address. more.domains, more.hosts; delivered/s is over all messages.
The baseline has one domain and one host, by the same name server and generator.
"""

import time

import msgspec

from bench import load, name_server, tools
from bench.measure import Meter, Round, Stage
from bench.processes import Broken
from bench.relay import Need, Wish

NEEDS = frozenset({Need.MX})
FLOOR = False


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """messages: 0 = as many as --messages says, or at 1,000 a second fit into the duration."""

    domains: int
    hosts: int
    messages: int = 0


def run(stage: Stage) -> Round:
    """See the head."""
    scenario = stage.scenario
    settings = scenario.settings_as(Settings)
    messages = stage.amount.messages or settings.messages or int(1000 * stage.amount.duration)
    sink = tools.Sink(stage.tools, everywhere=True)
    try:
        by_system = stage.relay is not None and Need.MX_BY_SYSTEM in stage.relay.offers
        names = name_server.running(stage.tools / "names", settings.domains, settings.hosts, by_system=by_system)
        with names as server:
            wish = Wish(0, stage.workers, name_server=server, mail_port=sink.port)
            with stage.running(wish) as relay:
                meter, sink_cpu = Meter(relay), sink.program.cpu()
                start = time.monotonic()
                shown = load.Load(
                    stage.tools, relay.port, "--messages", messages, "--sessions", scenario.sessions, "--size",
                    f"{scenario.size}B", "--domains", f"{settings.domains}:{name_server.ZONE}",
                    *(["--reuse"] if scenario.kept_open else []),
                ).wait(1200)  # fmt: skip
                accepted = time.monotonic() - start
                seconds = sink.wait_arrived(messages, relay.program) - start
                figures = meter.read(messages, seconds)
                if (arrived := sink.arrived()) != messages:
                    raise Broken(f"{messages} messages were accepted, {arrived} arrived")
                return stage.round(
                    **figures,
                    messages=messages,
                    seconds=seconds,
                    delivered_per_second=messages / seconds,
                    accepted_per_second=messages / accepted,
                    generator_cpu_ms=shown["cpu_seconds"] / messages * 1e3,
                    sink_cpu_ms=(sink.program.cpu() - sink_cpu) / messages * 1e3,
                    more={"domains": settings.domains, "hosts": settings.hosts},
                )
    finally:
        sink.close()
