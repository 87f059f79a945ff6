"""A child's life as a table: what TERM, INT, silence and time ask for in every phase."""

import math
import signal

import pytest

from fastrelay.process.children import (
    ABORT_SECONDS,
    PROVEN,
    QUIT_SECONDS,
    Child,
    Kind,
    Phase,
    Post,
    Step,
    backoff,
    drain,
    next_step,
    quit_now,
)
from fastrelay.process.heartbeat import Row, State

HANG = 60.0


def child(phase: Phase = Phase.STARTING, deadline: float = math.inf, started: float = 0.0) -> Child:
    one = Child(100, started, -1)
    one.enter(Step(phase, None, deadline))
    return one


def row(state: State = State.READY, beat: float = 0.0) -> Row:
    return Row(0, 100, state, beat, 0, 0, 0, ())


def test_a_pause_doubles_up_to_a_minute() -> None:
    assert [backoff(n) for n in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff(10_000) == 60


def test_a_long_life_is_replaced_at_once_and_short_ones_ever_later() -> None:
    post = Post(Kind.WORKER, 0)
    for pause in (1, 2, 4):
        post.child = child()
        assert post.vacated(100.0) == pause
        assert post.not_before == 100.0 + pause
    post.child = child(Phase.READY)
    post.child.ready_since = 100.0
    assert post.vacated(100.0 + PROVEN) == 0
    post.child = child(Phase.READY)
    post.child.ready_since = 100.0
    assert post.vacated(99.0 + PROVEN) == 1, "almost long is short, and counting begins anew"


def test_names_for_people() -> None:
    assert Post(Kind.WORKER, 3).name == "worker 3"
    assert Post(Kind.ADMIN, 0).name == "admin"


@pytest.mark.parametrize("phase", Phase)
def test_term_drains_the_living_alone(phase: Phase) -> None:
    living = phase in (Phase.STARTING, Phase.READY)
    assert drain(child(phase), 5.0, 30.0) == (Step(Phase.DRAINING, signal.SIGTERM, 35.0) if living else None)


@pytest.mark.parametrize("phase", Phase)
def test_int_hurries_the_living_and_the_draining(phase: Phase) -> None:
    hears = phase in (Phase.STARTING, Phase.READY, Phase.DRAINING)
    wanted = Step(Phase.QUITTING, signal.SIGINT, 5.0 + QUIT_SECONDS) if hears else None
    assert quit_now(child(phase), 5.0) == wanted


@pytest.mark.parametrize(
    ("phase", "then", "number", "patience"),
    [
        (Phase.DRAINING, Phase.QUITTING, signal.SIGINT, QUIT_SECONDS),
        (Phase.QUITTING, Phase.KILLED, signal.SIGKILL, math.inf),
        (Phase.ABORTED, Phase.KILLED, signal.SIGKILL, math.inf),
    ],
)
def test_time_ends_what_was_asked_to_end(phase: Phase, then: Phase, number: signal.Signals, patience: float) -> None:
    one = child(phase, deadline=10.0)
    assert next_step(one, row(), 9.9, HANG, 0.0) is None
    assert next_step(one, row(), 10.0, HANG, 0.0) == Step(then, number, 10.0 + patience)


def test_nothing_follows_kill() -> None:
    assert next_step(child(Phase.KILLED), None, 1e9, HANG, 0.0) is None


def test_ready_is_what_the_row_says() -> None:
    assert next_step(child(), row(), 1.0, HANG, 0.0) == Step(Phase.READY, None, math.inf)
    for silent in (None, row(State.STARTING), row(State.DRAINING)):
        assert next_step(child(), silent, 1.0, HANG, 0.0) is None
    assert next_step(child(Phase.READY), row(), 1.0, HANG, 0.0) is None, "once"


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY])
def test_silence_beyond_the_timeout_is_aborted(phase: Phase) -> None:
    abort = Step(Phase.ABORTED, signal.SIGABRT, 161.0 + ABORT_SECONDS)
    assert next_step(child(phase, started=100.0), row(State.STARTING, 100.0), 160.0, HANG, 0.0) is None
    assert next_step(child(phase, started=100.0), row(State.STARTING, 100.0), 161.0, HANG, 0.0) == abort
    assert next_step(child(phase, started=100.0), None, 161.0, HANG, 0.0) == abort, "nor did it ever claim a row"
    assert next_step(child(phase, started=100.0), row(State.STARTING, 101.5), 161.0, HANG, 0.0) is None, "it beat"


def test_silence_while_the_master_slept_too_proves_nothing() -> None:
    one = child(Phase.READY, started=0.0)
    assert next_step(one, row(beat=10.0), 1000.0, HANG, awake_since=1000.0) is None
    step = next_step(one, row(beat=10.0), 1061.0, HANG, awake_since=1000.0)
    assert step is not None and step.phase is Phase.ABORTED


def test_only_drain_and_quit_are_asked_for() -> None:
    one = child(Phase.ABORTED)
    one.enter(Step(Phase.KILLED, signal.SIGKILL, math.inf))
    assert not one.asked, "a hung one that had to be killed is mourned"
    for phase in (Phase.DRAINING, Phase.QUITTING):
        one = child(phase)
        one.enter(Step(Phase.KILLED, signal.SIGKILL, math.inf))
        assert one.asked
