"""The benchmark's own honesty: it counts every message, and gives no figures when one is lost or comes twice."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import measure, tools
from bench.measure import Amount, Round
from bench.ours import CONFIG, Bare
from bench.processes import Broken
from bench.relay import Relay, Setup
from bench.rivals.postfix import Postfix
from bench.scenario import Scenario, load_all
from fastrelay import config
from tests.peers import debian

SCENARIO = Scenario(name="few", title="few", order=1, sessions=5, size=2000)
TWO_HUNDRED = Amount(1.0, 200)


class Spoiled(Bare):
    """The bare relay with another `send` in its place."""

    def __init__(self, send: str) -> None:
        self._send = send

    def prepare(self, folder: Path, sink: int, workers: int) -> Setup:
        setup = super().prepare(folder, sink, workers)
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


def relayed(relay: Relay, folder: Path, scenario: Scenario = SCENARIO, workers: int = 1) -> Round:
    debian.need("smtp-source")
    debian.need("smtp-sink")
    return measure.relay_round(relay, scenario, 1, TWO_HUNDRED, folder, workers)[0]


@pytest.mark.parametrize(
    "scenario", [SCENARIO, Scenario(name="o", title="o", order=1, sessions=5, size=2000, kept_open=True)]
)
def test_the_bare_relay_delivers_all(folder: Path, scenario: Scenario) -> None:
    one = relayed(Bare(), folder, scenario, workers=2)
    assert one.messages == 200
    assert one.processes == 3
    assert one.cpu_ms > 0
    assert one.accepted_per_second >= one.delivered_per_second > 0
    assert not folder.exists()


def test_postfix_delivers_all(folder: Path) -> None:
    if why := Postfix().missing():
        pytest.skip(why)
    one = relayed(Postfix(), folder)
    assert one.messages == 200
    assert one.processes > 5


def test_a_lost_message_breaks_the_round(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "PATIENCE", 1.0)
    lossy = Spoiled("def spoiled(road, message):\n    seen.append(1)\n    len(seen) == 400 or send(road, message)")
    with pytest.raises(Broken, match=r"1 of 500 messages have not arrived"):
        relayed(lossy, folder)


def test_a_doubled_message_breaks_the_round(folder: Path) -> None:
    doubling = Spoiled(
        "def spoiled(road, message):\n    seen.append(1)\n    send(road, message)\n"
        "    if len(seen) == 400: send(road, message)"
    )
    with pytest.raises(Broken, match=r"200 messages were accepted, 201 arrived"):
        relayed(doubling, folder)


def test_a_refused_message_breaks_the_round(folder: Path) -> None:
    refusing = Spoiled("spoiled = send\nb.OK = b'451 4.3.0 not now\\r\\n'")
    with pytest.raises(Broken, match="smtp-source ended with 1"):
        relayed(refusing, folder)


def test_floor(folder: Path) -> None:
    debian.need("smtp-source")
    one = measure.floor_round(SCENARIO, 1, TWO_HUNDRED, folder)
    assert one.cpu_ms == pytest.approx(one.generator_cpu_ms + one.sink_cpu_ms)


def test_ratios_pair_rounds_of_the_same_number() -> None:
    def made(relay: str, number: int, rate: float) -> Round:
        return Round(
            relay=relay, scenario="s", number=number, messages=1, seconds=1, delivered_per_second=rate,
            accepted_per_second=rate, cpu_ms=1 / rate, generator_cpu_ms=0, sink_cpu_ms=0,
        )  # fmt: skip

    rounds = [made("a", 1, 10), made("b", 1, 5), made("a", 2, 100), made("b", 2, 50), made("a", 3, 7)]
    mine, theirs = measure.summarise(rounds)
    assert (mine.relay, mine.delivered_per_second, mine.lowest, mine.highest) == ("a", 10, 7, 100)
    assert mine.times_delivered == {"b": 2.0}
    assert theirs.times_cpu == {"a": 2.0}


def test_scenarios_and_our_config_can_be_read() -> None:
    assert [scenario.name for scenario in load_all() if scenario.quick] == ["one_per_connection", "kept_open"]
    parsed = config.parse(CONFIG.format(workers=2, folder="/f", port=1, sink=2, admin=3))
    assert parsed.spool.durability == "fsync"
    assert parsed.routes[0].next_hop == ("127.0.0.1:2",)
