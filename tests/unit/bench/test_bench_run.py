"""How turns are carried out: what is broken is not run again there, what time does not allow is counted."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench import run
from bench.measure import Amount, Round, Stage
from bench.processes import Broken
from bench.turns import Turn
from tests.unit.bench.test_bench_summary import scenario

RELAY: Any = SimpleNamespace(name="one", offers=frozenset())
OTHER: Any = SimpleNamespace(name="other", offers=frozenset())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., run._Bench]:
    """A bench whose every kind is `carry_out`."""

    def make(carry_out: Callable[[Stage], Round], messages: int = 0) -> run._Bench:
        monkeypatch.setattr(run, "KINDS", {"flow": SimpleNamespace(run=carry_out)})
        return run._Bench(tmp_path, Amount(10.0, messages), 2, Console(file=io.StringIO()))

    return make


def test_what_broke_is_not_run_again_in_that_scenario(bench: Callable[..., run._Bench], tmp_path: Path) -> None:
    def carry_out(stage: Stage) -> Round:
        assert stage.relay is not None
        stage.config = f"queue in {stage.folder}/queue"
        if (stage.relay.name, stage.scenario.name) == ("one", "a"):
            raise Broken(f"lost in {stage.folder}")
        return stage.round(messages=1)

    one = bench(carry_out)
    one.carry_out([Turn(relay, scenario(name), n) for n in (1, 2) for name in "ab" for relay in (RELAY, OTHER)], 1000.0)
    assert [(done.relay, done.scenario, done.number) for done in one.found] == [
        ("other", "a", 1), ("one", "b", 1), ("other", "b", 1),
        ("other", "a", 2), ("one", "b", 2), ("other", "b", 2),
    ]  # fmt: skip
    assert one.broken == ["lost in {folder}"]
    assert one.configs["other"]["a"] == "queue in {folder}/queue"
    assert list(tmp_path.iterdir()) == []


def test_no_round_begins_after_the_limit(bench: Callable[..., run._Bench]) -> None:
    one = bench(lambda stage: stage.round(messages=1))
    one.carry_out([Turn(RELAY, scenario(), n) for n in (1, 2, 3)], -1.0)
    assert (one.found, one.left_out) == ([], 3)


def test_a_scenario_gets_its_share_of_the_duration(bench: Callable[..., run._Bench]) -> None:
    seen: list[Amount] = []

    def carry_out(stage: Stage) -> Round:
        seen.append(stage.amount)
        return stage.round()

    bench(carry_out, 700).carry_out([Turn(RELAY, scenario(share=0.5), 1)], 1000.0)
    assert seen == [Amount(5.0, 700)]


def test_an_amount_is_what_fits_or_what_was_said() -> None:
    assert Amount(10.0).fitting(300.0) == 3000
    assert Amount(10.0).fitting(1.0) == 500
    assert Amount(10.0, 700).fitting(300.0) == 700


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quick", "--relays", "sendmail"], "known are fastrelay"),
        (["quick", "--scenario", "kept_opn"], "known are one_per_connection"),
        (["quick", "--duration", "soon"], "--duration"),
        (["slow"], "quick"),
    ],
)
def test_words_that_are_not_understood_are_answered_before_anything_runs(words: list[str], said: str) -> None:
    done = CliRunner().invoke(run.main, words)
    assert done.exit_code == 2
    assert said in done.output
