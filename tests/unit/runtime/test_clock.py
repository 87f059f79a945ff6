"""runtime/clock.py: the wheel ends what is due, no earlier, and follows deadlines that move."""

from fastrelay.runtime.clock import AHEAD, NEVER, DeadlineWheel


class Entry:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.bucket = 0
        self.ended: list[float] = []
        self.at = 0.0

    def perish(self) -> None:
        self.ended.append(self.at)
        self.deadline = NEVER


def run(wheel: DeadlineWheel, entries: list[Entry], start: float, seconds: float) -> None:
    for quarter in range(int(seconds * 4)):
        for entry in entries:
            entry.at = start + quarter / 4
        wheel.turn(start + quarter / 4)


def test_met_within_a_second_and_a_tick_and_never_early() -> None:
    wheel = DeadlineWheel(at=1000.0)
    entries = [Entry(1000 + n / 3) for n in range(100)]
    for entry in entries:
        wheel.watch(entry)
    deadlines = [entry.deadline for entry in entries]
    run(wheel, entries, 1000.0, 40)
    for entry, deadline in zip(entries, deadlines, strict=True):
        assert len(entry.ended) == 1 and deadline <= entry.ended[0] <= deadline + 1.25


def test_a_deadline_that_moves_later_is_followed_without_watch() -> None:
    wheel = DeadlineWheel(at=0.0)
    entry = Entry(2.0)
    wheel.watch(entry)
    entry.deadline = 10.5
    run(wheel, [entry], 0.0, 10)
    assert entry.ended == []
    run(wheel, [entry], 10.0, 3)
    assert len(entry.ended) == 1


def test_a_deadline_brought_forward_needs_watch_and_ends_once() -> None:
    wheel = DeadlineWheel(at=0.0)
    entry = Entry(25.0)
    wheel.watch(entry)
    entry.deadline = 3.0
    wheel.watch(entry)
    run(wheel, [entry], 0.0, 40)
    assert len(entry.ended) == 1 and entry.ended[0] < 4.5


def test_a_forgotten_entry_leaves_the_wheel() -> None:
    wheel = DeadlineWheel(at=0.0)
    entry = Entry(2.0)
    wheel.watch(entry)
    wheel.forget(entry)
    run(wheel, [entry], 0.0, 40)
    assert entry.ended == [] and wheel.statistics()["entries"] == 0


def test_what_has_ended_is_let_go_long_before_its_deadline() -> None:
    wheel = DeadlineWheel(at=0.0)
    entries = [Entry(300.0 + n) for n in range(50)]
    for entry in entries:
        wheel.watch(entry)
        wheel.forget(entry)
    wheel.turn(AHEAD)
    assert wheel.statistics() == {"entries": 0, "buckets": 0}
