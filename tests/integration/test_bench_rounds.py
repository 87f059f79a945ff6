"""The benchmark's own honesty: it counts every message, and gives no figures when one is lost or comes twice."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import measure, processes, tools
from bench.backlog import Backlogs
from bench.cgroup import Group
from bench.kinds import calls, deferring, flow, steady
from bench.kinds.table import KINDS
from bench.measure import Amount, Round, Stage
from bench.ours import Bare, Fastrelay
from bench.processes import Broken, Program
from bench.relay import Need, Relay, Setup, Wish
from bench.rivals.exim import Exim
from bench.rivals.haraka import Haraka
from bench.rivals.postfix import Postfix
from bench.rivals.slimta import Slimta
from bench.scenario import Part, Scenario
from tests.peers import debian

SCENARIO = Scenario(name="few", title="few", order=1, sessions=5, size=2000)
TWO_HUNDRED = Amount(1.0, 200)
ROOT = Path(__file__).resolve().parents[2]


class Spoiled(Bare):
    """The bare relay with another `send` in its place."""

    def __init__(self, send: str) -> None:
        self._send = send

    def prepare(self, folder: Path, wish: Wish) -> Setup:
        setup = super().prepare(folder, wish)
        program = (
            f"import bench.bare_relay as b\nsend, seen = b.Road.send, []\n{self._send}\nb.Road.send = spoiled\nb.main()"
        )
        return Setup([sys.executable, "-c", program, *setup.command[2:]], setup.env, setup.port, setup.config)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where every account can walk to; pytest's own folder is closed to others."""
    made = Path(tempfile.mkdtemp(prefix="fastrelay-bench-test-"))
    made.chmod(0o755)
    yield made / "round"
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement waits for what belongs to it; a test has no figures to get right."""
    monkeypatch.setattr(processes, "SETTLED", 0.2)
    monkeypatch.setattr(measure, "FLUSHED", 0.0)
    for kind in (flow, deferring, steady, calls):
        monkeypatch.setattr(kind, "WARM", 50)


@pytest.fixture
def relayed(folder: Path) -> Callable[..., Round]:
    def run(
        relay: Relay | None, scenario: Scenario = SCENARIO, workers: int = 1, amount: Amount = TWO_HUNDRED
    ) -> Round:
        debian.need("smtp-source")
        debian.need("smtp-sink")
        stage = Stage(relay, scenario, 1, amount, folder, workers)
        try:
            one: Round = KINDS[scenario.kind].run(stage)
            return one
        finally:
            stage.close()

    return run


def of_kind(kind: str, **settings: Any) -> Scenario:
    return Scenario(name=kind, title=kind, order=1, kind=kind, sessions=5, size=2000, kept_open=True, settings=settings)


@pytest.mark.parametrize(
    "scenario", [SCENARIO, Scenario(name="o", title="o", order=1, sessions=5, size=2000, kept_open=True)]
)
def test_the_bare_relay_delivers_all(relayed: Callable[..., Round], folder: Path, scenario: Scenario) -> None:
    one = relayed(Bare(), scenario, workers=2)
    assert one.messages == 200
    assert one.processes == 3
    assert one.cpu_ms > 0
    assert one.accepted_per_second >= one.delivered_per_second > 0
    assert one.sync_p50_us > 0
    assert not folder.exists()


@pytest.mark.parametrize("relay", [Postfix(), Exim(), Haraka(), Slimta()], ids=lambda relay: relay.name)
def test_a_rival_delivers_all(relayed: Callable[..., Round], relay: Relay) -> None:
    """Haraka takes 6 s: its node starts for three."""
    if why := relay.missing():
        pytest.skip(why)
    one = relayed(
        relay, Scenario(name="t", title="t", order=1, sessions=5, size=2000, recipients=3), amount=Amount(1.0, 100)
    )
    assert one.messages == 100
    assert one.cpu_ms > 0
    assert relay.version() not in ("", "unknown")


def test_fastrelay_tells_of_its_batches(relayed: Callable[..., Round], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SETTLED", 1.5)
    one = relayed(Fastrelay(), workers=2)
    assert one.messages == 200
    assert one.batches_per_second > 0
    assert 1 <= one.messages_per_batch <= 256


def test_parts_are_sent_together_in_their_shares(relayed: Callable[..., Round]) -> None:
    parts = (Part(size=1000, share=0.9, sessions=3), Part(size=200_000, share=0.1, sessions=2))
    one = relayed(Bare(), Scenario(name="p", title="p", order=1, parts=parts))
    assert one.messages == 180 + 20


def test_calls(relayed: Callable[..., Round]) -> None:
    one = relayed(Bare(), of_kind("calls"))
    assert one.messages == 200
    assert one.more["calls_per_second"] > 0
    assert 0 < one.latencies["call"]["p50"] <= one.latencies["call"]["max"]


def test_deferred_recipients_come_back_and_are_counted(relayed: Callable[..., Round]) -> None:
    one = relayed(Fastrelay(), of_kind("deferring", share="10%"))
    assert one.messages == 200
    assert 0 < one.more["deferred_share"] < 0.3


def test_an_open_loop_at_half_of_full_load(relayed: Callable[..., Round]) -> None:
    """Some 6 s: full load has to be found first, for two."""
    one = relayed(Fastrelay(), of_kind("steady", share=0.5))
    assert one.messages == 200
    assert one.more["offered_per_second"] == pytest.approx(one.more["full_per_second"] / 2)
    assert 0 < one.latencies["accept"]["p50"] <= one.latencies["end_to_end"]["max"]


@pytest.mark.parametrize("relay", [Fastrelay(), Postfix()], ids=lambda relay: relay.name)
def test_domains_are_found_by_a_real_name_server(relayed: Callable[..., Round], relay: Relay) -> None:
    debian.need("nsd")
    if why := relay.missing():
        pytest.skip(why)
    one = relayed(relay, of_kind("domains", domains=20, hosts=4))
    assert one.messages == 200


def test_the_healthy_of_ten_destinations_are_counted_alone(relayed: Callable[..., Round]) -> None:
    one = relayed(Fastrelay(), of_kind("neighbours", ill=True, rate=100, crawl="50ms"))
    assert one.messages == 200
    assert one.latencies["end_to_end"]["p99"] > 0
    assert one.more["crawled"] > 0


def test_a_backlog_is_loaded_and_stays_behind_what_flows(relayed: Callable[..., Round]) -> None:
    loaded = relayed(Fastrelay(), of_kind("restart", queued=500), workers=2)
    assert loaded.messages == 500
    assert 0 < loaded.more["accepting_s"] <= loaded.more["loaded_s"]
    flowed = relayed(Fastrelay(), of_kind("behind", queued=500), workers=2)
    assert flowed.messages == 200


def test_a_backlog_that_a_relay_has_changed_is_given_to_nobody(folder: Path) -> None:
    folder.mkdir()
    backlogs = Backlogs(folder / "backlogs", 1)
    spool = backlogs.of(10)
    assert backlogs.of(10) == spool
    segment = next(spool.rglob("*.log"))
    segment.write_bytes(segment.read_bytes() + b"x")
    with pytest.raises(Broken, match="changed the segments"):
        backlogs.of(10)


def test_idle_clients(relayed: Callable[..., Round], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KINDS["idle"], "QUIET", 0.1)
    one = relayed(Bare(), of_kind("idle", clients=50))
    assert one.more["clients"] == 50
    assert one.more["last_answers_ms"] > 0


def test_a_lost_message_breaks_the_round(relayed: Callable[..., Round], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "PATIENCE", 1.0)
    lossy = Spoiled("def spoiled(road, message):\n    seen.append(1)\n    len(seen) == 200 or send(road, message)")
    with pytest.raises(Broken, match=r"1 of 250 messages have not arrived"):
        relayed(lossy)


def test_a_doubled_message_breaks_the_round(relayed: Callable[..., Round]) -> None:
    doubling = Spoiled(
        "def spoiled(road, message):\n    seen.append(1)\n    send(road, message)\n"
        "    if len(seen) == 200: send(road, message)"
    )
    with pytest.raises(Broken, match=r"200 messages were accepted, 201 arrived"):
        relayed(doubling)


def test_a_refused_message_breaks_the_round(relayed: Callable[..., Round]) -> None:
    refusing = Spoiled("spoiled = send\nb.OK = b'451 4.3.0 not now\\r\\n'")
    with pytest.raises(Broken, match="smtp-source ended with 1"):
        relayed(refusing)


def test_floor(relayed: Callable[..., Round]) -> None:
    one = relayed(None)
    assert one.cpu_ms == pytest.approx(one.generator_cpu_ms + one.sink_cpu_ms)


def test_a_bare_relay_is_not_asked_for_what_it_cannot_do() -> None:
    assert not Bare.offers >= KINDS["deferring"].NEEDS
    assert Fastrelay.offers == frozenset(Need) - {Need.MX_BY_SYSTEM}


ORPHANING = """
import os, signal
def burn():
    while os.times().user < 0.3: pass
    os._exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    burn()  # a child nobody waits for
if os.fork() == 0:
    if os.fork() == 0:
        burn()  # an orphan at once
    os._exit(0)
signal.pause()
"""


def test_the_cpu_of_those_nobody_waits_for_is_counted(tmp_path: Path) -> None:
    group = Group.make("fastrelay-bench-test")
    if group is None:
        pytest.skip("no control group to be had here")
    group.remove()
    program = Program([sys.executable, "-c", ORPHANING], tmp_path / "output", debian.environment(), orphans=True)
    try:
        debian.wait_until(lambda: program.cpu() >= 0.6, 30, "the CPU time of both to be seen")
        debian.wait_until(lambda: len(program.family()) == 2, 30, "both to be gone")
        assert program.cpu() >= 0.6
    finally:
        program.end()
    assert not Path(f"/proc/{program.pid}").exists()


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder where a run may measure: not in memory, as temporary ones can be."""
    with tempfile.TemporaryDirectory(prefix="fastrelay-bench-test-", dir="/var/tmp") as made:
        yield Path(made)


def test_a_run_that_is_ended_leaves_nothing_behind(disk: Path, tmp_path: Path) -> None:
    program = Program(
        [sys.executable, ROOT / "bench/run.py", "quick", "--relays", "bare", "--folder", disk, "--duration", "60s"],
        tmp_path / "output", debian.environment(PYTHONUNBUFFERED="1"),
    )  # fmt: skip
    family: list[int] = []
    try:
        debian.wait_until(lambda: any(disk.glob("fastrelay-bench-*/round/bare")), 60, "a round to be under way")
        debian.wait_until(lambda: len(program.family()) >= 4, 60, "relay, sink and generator to run")
        family = program.family()
        program.signal(signal.SIGTERM)
        debian.wait_until(lambda: not Path(f"/proc/{program.pid}/exe").exists(), 60, "the run to end")
        assert not [pid for pid in family if Path(f"/proc/{pid}/exe").exists()]
        assert not list(disk.iterdir())
    finally:
        program.end()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
