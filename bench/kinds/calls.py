"""Kind "calls": connect, EHLO, QUIT and nothing else, by bench/caller.py. A message is a call here.

more.calls_per_second; latencies.call: from connect to the answer to QUIT. The floor is the caller against smtp-sink.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bench import tools
from bench.measure import Meter, Round, Stage
from bench.processes import Broken, Program
from bench.relay import Need, Wish
from tests.peers import debian

NEEDS: frozenset[Need] = frozenset()
FLOOR = True
WARM = 500  # calls
_CALLER = Path(__file__).parents[1] / "caller.py"


def run(stage: Stage) -> Round:
    """See the head."""
    sink = tools.Sink(stage.tools)
    try:
        if stage.relay is None:
            figures = _measured(stage, Meter(None), sink.port)
            return stage.round(**figures, cpu_ms=figures["generator_cpu_ms"])
        with stage.running(Wish(sink.port, stage.workers)) as relay:
            warm = _call(stage, relay.port, WARM)
            return stage.round(**_measured(stage, Meter(relay), relay.port, warm))
    finally:
        sink.close()


def _measured(stage: Stage, meter: Meter, port: int, warm: dict[str, Any] | None = None) -> dict[str, Any]:
    warm = warm or _call(stage, port, WARM)
    calls = stage.amount.fitting(WARM / warm["seconds"])
    found = _call(stage, port, calls)
    return meter.read(calls, found["seconds"]) | {
        "messages": calls,
        "seconds": found["seconds"],
        "generator_cpu_ms": found["cpu_seconds"] / calls * 1e3,
        "latencies": {"call": found["call_ms"]},
        "more": {"calls_per_second": calls / found["seconds"]},
    }


def _call(stage: Stage, port: int, calls: int) -> dict[str, Any]:
    words = ["--port", str(port), "--sessions", str(stage.scenario.sessions), "--calls", str(calls)]
    program = Program([sys.executable, _CALLER, *words], stage.tools / "caller", debian.environment())
    try:
        program.wait(600)
        found: dict[str, Any] = json.loads(program.output.read_bytes())
    finally:
        program.end()
    if found["calls"] != calls:
        raise Broken(f"{calls} calls were to be made, {found['calls']} were")
    return found
