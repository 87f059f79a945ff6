"""What integration tests share: relays as processes, ended with the test whatever it does, and audited."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import SinkProcess


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Callable[..., RelayProcess]]:
    """Makes relays in the test's folder; arguments as RelayProcess takes them."""
    made: list[RelayProcess] = []

    def make(**settings: object) -> RelayProcess:
        made.append(RelayProcess(tmp_path, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.kill()
    for one in made:
        assert not any(orphans for _, orphans in one.audits()), one.said()


@pytest.fixture
def sink() -> Iterator[Callable[..., SinkProcess]]:
    """Start `fastrelay sink` as often as wanted; all are ended with the test."""
    started: list[SinkProcess] = []

    def start(*words: str | Path) -> SinkProcess:
        started.append(SinkProcess(*words))
        return started[-1]

    yield start
    for one in started:
        one.kill()
