import itertools

import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.plan import Plan, Result


def test_only_this_machine_unless_owned() -> None:
    for host in ("127.0.0.1", "::1", "unix:/run/x", "127.8.8.8"):
        Plan(host, 25).check()
    for host in ("192.0.2.1", "2001:db8::1", "mx.example.com", "127.0.0.1.example"):
        with pytest.raises(MisuseError, match="--i-own-this-target"):
            Plan(host, 25).check()
        Plan(host, 25).check(own_target=True)


def test_nothing_to_do_is_an_error() -> None:
    with pytest.raises(MisuseError):
        Plan("::1", 25, messages=None).check()
    with pytest.raises(MisuseError):
        Plan("::1", 25, domains=(("x", 0.0),)).check()


@pytest.mark.parametrize(("processes", "sessions", "messages"), [(1, 5, 7), (3, 10, 100), (4, 3, 2), (2, 50, None)])
def test_split_loses_and_doubles_nothing(processes: int, sessions: int, messages: int | None) -> None:
    parts = Plan("::1", 25, sessions=sessions, messages=messages, seconds=1).split(processes)
    assert sum(part.sessions for part in parts) == sessions and all(part.sessions for part in parts)
    if messages is None:
        assert len({part.first for part in parts}) == len(parts)
    else:
        numbers = [n for part in parts for n in range(part.first, part.first + (part.messages or 0))]
        assert sorted(numbers) == list(range(messages))


def test_recipients_follow_the_weights_and_differ_within_a_message() -> None:
    plan = Plan("::1", 25, recipients=5, domains=(("often.example", 9), ("seldom.example", 1)), seed=3)
    messages = list(itertools.islice(plan.addresses(), 1000))
    assert all(len(set(one)) == 5 for one in messages)
    often = sum(address.endswith("@often.example") for one in messages for address in one)
    assert 0.87 < often / 5000 < 0.93
    assert messages == list(itertools.islice(plan.addresses(), 1000))


def test_result_travels_and_merges() -> None:
    one, two = Result(), Result()
    for result, start in ((one, 10.0), (two, 9.0)):
        result.accepted, result.refused, result.started, result.ended = 3, 1, start, start + 2
        result.accept.add(0.5)
        result.error("452 4.3.1 Full")
        result.pairs = [f"r-{start} a@x"]
    one.merge(Result.from_wire(two.to_wire()))
    assert (one.done, one.errors, len(one.pairs)) == (8, {"452 4.3.1 Full": 2}, 2)
    shown = one.statistics()
    assert shown["seconds"] == 3.0 and shown["messages_per_second"] == 2.0 and shown["accept_ms"]["count"] == 2


def test_error_texts_are_bounded() -> None:
    result = Result()
    for n in range(1000):
        result.error(f"text {n}")
    assert len(result.errors) == 101 and result.errors["other"] == 900
