"""What all tests share: one printed seed for everything random, certificates made once a run, deadlines that end."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.runtime import clock, stream, tasks
from fastrelay.smtp import server
from tests.peers.certificates import Authority

SEED = int(os.environ.get("FASTRELAY_SEED", random.SystemRandom().randrange(2**32)))


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {SEED} (repeat with FASTRELAY_SEED={SEED})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With the hot path compiled (`make test-compiled`) a test cannot put its own in the place of a function there."""
    if Path(str(server.__file__)).suffix == ".py":
        return
    for item in items:
        if item.get_closest_marker("interpreted"):
            item.add_marker(pytest.mark.skip("the hot path is compiled"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With -q there is no header: who has to repeat a failure must find the seed all the same."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(pytest_report_header(terminalreporter.config))


@pytest.fixture
def chance() -> random.Random:
    """A random source of the run's seed; a failing test is repeated with FASTRELAY_SEED."""
    return random.Random(SEED)


@pytest.fixture
def turning_wheel() -> Iterator[None]:
    """Deadlines of streams end, as in a worker: for tests that run its loop without one."""
    ticker = tasks.Ticker(clock.TICK, lambda: stream.wheel.turn(clock.now()))
    yield
    ticker.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the run."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return Authority(folder)
