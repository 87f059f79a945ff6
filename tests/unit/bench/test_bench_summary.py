"""From rounds to medians and ratios; a run held against an earlier one; who runs what."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench import against, report
from bench.machine import Disk, Machine
from bench.measure import Round
from bench.relay import Need
from bench.scenario import Scenario
from bench.summary import figures_of, summarise
from bench.turns import turns


def made(relay: str, number: int, rate: float, scenario: str = "s", **more: Any) -> Round:
    return Round(
        relay=relay, scenario=scenario, number=number, messages=1, seconds=1, delivered_per_second=rate,
        accepted_per_second=rate, cpu_ms=1 / rate, **more,
    )  # fmt: skip


def scenario(name: str = "s", **more: Any) -> Scenario:
    return Scenario(name=name, title=name, order=1, **more)


def run_of(rounds: list[Round], *scenarios: Scenario) -> report.Run:
    machine = Machine(
        commit="0123456789abcdef", changed=False, cpus=2, cpu="a CPU", memory_mb=1, kernel="6", virtual=True, load=0.0,
        versions={}, disk=Disk(filesystem="ext4", options="rw", sync_p50_us=1.0, sync_p99_us=2.0),
    )  # fmt: skip
    return report.Run(
        began="2026-01-02T03:04:05+00:00", suite="quick", duration=5.0, machine=machine, workers=2,
        versions={"fastrelay": "1"}, configs={}, scenarios=list(scenarios), rounds=rounds,
        summaries=summarise(rounds, list(scenarios)),
    )  # fmt: skip


def test_ratios_pair_rounds_of_the_same_number() -> None:
    rounds = [made("a", 1, 10), made("b", 1, 5), made("a", 2, 100), made("b", 2, 50), made("a", 3, 7)]
    mine, theirs = summarise(rounds, [scenario()])
    spread = mine.figures["delivered_per_second"]
    assert (mine.relay, spread.median, spread.lowest, spread.highest, mine.rounds) == ("a", 10, 7, 100, 3)
    assert mine.times["b"]["delivered_per_second"] == 2.0
    assert theirs.times["a"]["cpu_ms"] == 2.0


def test_figures_have_the_path_they_are_found_by() -> None:
    one = made("a", 2, 4.0, latencies={"accept": {"p99": 3.5}}, more={"loaded_s": 9.0})
    figures = figures_of(one)
    assert figures["latencies.accept.p99"] == 3.5
    assert figures["more.loaded_s"] == 9.0
    assert "number" not in figures and "relay" not in figures
    assert "pss" not in figures  # the floor has none, and zero would be a figure


def test_a_baseline_is_of_the_same_relay_and_round() -> None:
    rounds = [made("a", 1, 10, "base"), made("a", 1, 8, "with"), made("b", 1, 100, "base")]
    found = summarise(rounds, [scenario("base"), scenario("with", beside="base")])
    assert {one.scenario: one.beside.get("delivered_per_second") for one in found if one.relay == "a"} == {
        "base": None, "with": 0.8,
    }  # fmt: skip


def test_against_an_earlier_run_the_drift_of_the_yardstick_is_divided_out() -> None:
    before = run_of([made("fastrelay", 1, 100), made("bare", 1, 200)], scenario())
    after = run_of([made("fastrelay", 1, 120), made("bare", 1, 220)], scenario())
    rows = {(relay, path): (ratio, steady) for _, relay, path, _, _, ratio, steady in against.compare(before, after)}
    ratio, steady = rows["fastrelay", "delivered_per_second"]
    assert ratio == pytest.approx(1.2)
    assert steady == pytest.approx(1.2 / 1.1)
    assert rows["fastrelay", "cpu_ms"][0] == pytest.approx(1 / 1.2)


def test_against_says_nothing_of_what_only_one_run_has() -> None:
    before = run_of([made("fastrelay", 1, 100)], scenario())
    after = run_of([made("fastrelay", 1, 120), made("postfix", 1, 5)], scenario())
    assert {(row[1], row[6]) for row in against.compare(before, after)} == {("fastrelay", None)}


KINDS: Any = {
    "flow": SimpleNamespace(NEEDS=frozenset(), FLOOR=True),
    "deferring": SimpleNamespace(NEEDS=frozenset({Need.RETRIES}), FLOOR=False),
}
ABLE: Any = SimpleNamespace(name="able", offers=frozenset(Need))
BARE: Any = SimpleNamespace(name="bare", offers=frozenset())
THIRD: Any = SimpleNamespace(name="third", offers=frozenset())


def names(*args: Any, **options: Any) -> list[tuple[str, str, int]]:
    return [
        (turn.relay.name if turn.relay else "floor", turn.scenario.name, turn.number)
        for turn in turns(*args, **options)
    ]


def test_rounds_alternate_and_a_round_is_whole_before_the_next() -> None:
    found = names([scenario(floor=True)], [ABLE, BARE, THIRD], 3, KINDS, floor=True)
    assert [name for name, _, _ in found] == [
        "able", "bare", "third", "floor", "bare", "third", "able", "floor", "third", "able", "bare", "floor",
    ]  # fmt: skip
    assert [number for _, _, number in found] == [1] * 4 + [2] * 4 + [3] * 4


def test_a_relay_is_not_asked_for_what_it_does_not_offer() -> None:
    found = names([scenario("d", kind="deferring"), scenario("f")], [ABLE, BARE], 1, KINDS, floor=False)
    assert found == [("able", "d", 1), ("able", "f", 1), ("bare", "f", 1)]


def test_a_scenario_names_its_relays_unless_the_user_did() -> None:
    one = scenario(relays=("bare",))
    assert names([one], [ABLE, BARE], 1, KINDS, floor=False) == [("bare", "s", 1)]
    assert names([one], [ABLE, BARE], 1, KINDS, floor=False, as_asked=True) == [("able", "s", 1), ("bare", "s", 1)]
