"""One round: a fresh relay, one scenario, every message counted at the sink.

After a warm-up of its own (connections, caches, processes forked) a round takes, up to the last message at the sink:
delivered/s, CPU of all the relay's processes up to a moment after it (what is done behind a delivery belongs to the
message), memory then. It breaks, instead of giving figures, when a message was refused, lost or came twice.
"""

import shutil
import statistics
import time
from pathlib import Path

import msgspec

from bench import processes, tools
from bench.processes import Broken, Program
from bench.relay import Relay, Setup
from bench.scenario import Scenario

FLOOR = "floor"
_WARM = 300  # messages; also tells how many fit in the wanted duration
_FEWEST = 500


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One relay, one scenario. Seconds are of the wall; CPU milliseconds are per message; memory in octets."""

    relay: str
    scenario: str
    number: int
    messages: int
    seconds: float
    delivered_per_second: float
    accepted_per_second: float
    cpu_ms: float
    generator_cpu_ms: float
    sink_cpu_ms: float
    rss: int = 0
    pss: int = 0
    processes: int = 0


class Amount(msgspec.Struct, frozen=True):
    """How many messages a round sends: `messages` where given, else what `duration` seconds hold by the warm-up."""

    duration: float
    messages: int = 0

    def fitting(self, rate: float) -> int:
        """`rate`: messages a second of the warm-up, which is slower than what follows."""
        return self.messages or max(_FEWEST, int(rate * self.duration))


def relay_round(
    relay: Relay, scenario: Scenario, number: int, amount: Amount, folder: Path, workers: int
) -> tuple[Round, Setup]:
    """A round in the empty `folder`, which is removed again. Broken says what went wrong."""
    sink = tools.Sink(_fresh(folder / "tools"))
    try:
        setup = relay.prepare(_fresh(folder / relay.name), sink.port, workers)
        with processes.running(setup.command, folder / "output", setup.env) as program:
            try:
                tools.wait_greeting(setup.port, program)
                return _measured(relay.name, program, setup.port, sink, scenario, number, amount, folder), setup
            except Broken as error:
                raise Broken(f"{relay.name}, {scenario.title}: {error}{_last_words(program, setup)}") from None
    finally:
        sink.close()
        shutil.rmtree(folder, ignore_errors=True)


def floor_round(scenario: Scenario, number: int, amount: Amount, folder: Path) -> Round:
    """smtp-source to smtp-sink: what the two halves of relaying cost in C without a spool. Its CPU is both together."""
    sink = tools.Sink(_fresh(folder / "tools"))
    try:
        one = _measured(FLOOR, None, sink.port, sink, scenario, number, amount, folder)
        return msgspec.structs.replace(one, cpu_ms=one.generator_cpu_ms + one.sink_cpu_ms)
    finally:
        sink.close()
        shutil.rmtree(folder, ignore_errors=True)


def _measured(
    name: str, program: Program | None, port: int, sink: tools.Sink, scenario: Scenario, number: int, amount: Amount,
    folder: Path,
) -> Round:  # fmt: skip
    start = time.monotonic()
    tools.source(scenario, _WARM, port, folder / "tools").wait(120)
    warm = sink.wait_arrived(_WARM, program) - start
    messages = amount.fitting(_WARM / warm)
    cpu, sink_cpu = program.cpu() if program else 0.0, sink.program.cpu()
    start = time.monotonic()
    source = tools.source(scenario, messages, port, folder / "tools")
    try:
        generator_cpu = source.wait(600)
        accepted = time.monotonic() - start
        seconds = sink.wait_arrived(_WARM + messages, program) - start
    finally:
        source.end()
    processes.settle()
    if (arrived := sink.arrived() - _WARM) != messages:
        raise Broken(f"{messages} messages were accepted, {arrived} arrived")
    rss, pss = program.memory() if program else (0, 0)
    return Round(
        relay=name,
        scenario=scenario.name,
        number=number,
        messages=messages,
        seconds=seconds,
        delivered_per_second=messages / seconds,
        accepted_per_second=messages / accepted,
        cpu_ms=((program.cpu() if program else 0.0) - cpu) / messages * 1e3,
        generator_cpu_ms=generator_cpu / messages * 1e3,
        sink_cpu_ms=(sink.program.cpu() - sink_cpu) / messages * 1e3,
        rss=rss,
        pss=pss,
        processes=len(program.family()) if program else 0,
    )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the rounds of one relay in one scenario."""

    relay: str
    scenario: str
    rounds: int
    delivered_per_second: float
    lowest: float
    highest: float
    accepted_per_second: float
    cpu_ms: float
    pss: float
    times_delivered: dict[
        str, float
    ] = {}  # other relay -> delivered/s of this over the other's, median of paired rounds
    times_cpu: dict[str, float] = {}  # other relay -> CPU per message of this over the other's


def summarise(rounds: list[Round]) -> list[Summary]:
    """One Summary for each (scenario, relay), in the order met. Ratios pair the rounds of the same number."""
    grouped: dict[tuple[str, str], dict[int, Round]] = {}
    for one in rounds:
        grouped.setdefault((one.scenario, one.relay), {})[one.number] = one
    found = []
    for (scenario, relay), mine in grouped.items():
        delivered = [one.delivered_per_second for one in mine.values()]
        others = {name: theirs for (where, name), theirs in grouped.items() if where == scenario and name != relay}
        found.append(
            Summary(
                relay=relay,
                scenario=scenario,
                rounds=len(mine),
                delivered_per_second=statistics.median(delivered),
                lowest=min(delivered),
                highest=max(delivered),
                accepted_per_second=statistics.median([one.accepted_per_second for one in mine.values()]),
                cpu_ms=statistics.median([one.cpu_ms for one in mine.values()]),
                pss=statistics.median([one.pss for one in mine.values()]),
                times_delivered={name: _ratio(mine, theirs, "delivered_per_second") for name, theirs in others.items()},
                times_cpu={name: _ratio(mine, theirs, "cpu_ms") for name, theirs in others.items()},
            )
        )
    return found


def _ratio(mine: dict[int, Round], theirs: dict[int, Round], field: str) -> float:
    pairs = [(getattr(mine[n], field), getattr(theirs[n], field)) for n in mine if n in theirs]
    ratios = [a / b for a, b in pairs if b]
    return statistics.median(ratios) if ratios else 0.0


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _last_words(program: Program, setup: Setup) -> str:
    said = ""
    for path in (program.output, *setup.logs):
        if path.exists() and (tail := path.read_bytes()[-1000:].decode("utf-8", "replace").strip()):
            said += f"\n--- end of {path.name}\n{tail}"
    return said
