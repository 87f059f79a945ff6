import msgspec
import pytest

from fastrelay.load.result import Result


def test_travels_and_merges() -> None:
    one, two = Result(), Result()
    for result, start in ((one, 10.0), (two, 9.0)):
        result.accepted, result.refused, result.begun, result.started, result.ended = 3, 1, start, start, start + 2
        result.accept.add(0.5)
        result.error("452 4.3.1 Full")
        result.pairs = [f"r-{start} a@x"]
        result.cpu, result.busiest, result.stopped = 0.5, start / 20, start == 9.0
    one.merge(Result.from_wire(msgspec.json.decode(msgspec.json.encode(two.to_wire()))))
    assert (one.done, one.errors, len(one.pairs)) == (8, {"452 4.3.1 Full": 2}, 2)
    assert (one.begun, one.busiest, one.stopped) == (9.0, 0.5, True)
    shown = one.statistics()
    assert shown["seconds"] == 3.0 and shown["messages_per_second"] == 2.0 and shown["accept_ms"]["count"] == 2
    assert shown["generator_cpu_ms"] == pytest.approx(1000 / 6, abs=1e-3)


def test_error_texts_are_bounded() -> None:
    result = Result()
    for n in range(1000):
        result.error(f"text {n}")
    assert len(result.errors) == 101 and result.errors["other"] == 900


def test_a_warmup_is_not_measured_but_its_faults_are() -> None:
    measured, warm = Result(), Result()
    measured.accepted, warm.accepted, warm.failed = 90, 9, 1
    warm.accept.add(9.0)
    warm.error("gone")
    warm.pairs, measured.pairs = ["w a@x"], ["m a@x"]
    measured.follow(warm)
    assert (measured.accepted, measured.warmed, measured.failed, measured.done) == (90, 9, 1, 100)
    assert measured.accept.count == 0 and measured.errors == {"gone": 1} and measured.pairs == ["w a@x", "m a@x"]
    assert not measured.good


@pytest.mark.parametrize("name", ["refused", "failed", "refused_recipients", "missed"])
def test_good_is_all_or_nothing(name: str) -> None:
    result = Result()
    result.accepted = 1000
    assert result.good
    setattr(result, name, 1)
    assert not result.good
