import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.plan import Plan


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


def test_the_turns_of_processes_interleave() -> None:
    parts = Plan("::1", 25, rate=100.0, messages=10).split(4)
    assert [(part.offset, part.stride, part.rate) for part in parts] == [(n, 4, 100.0) for n in range(4)]


def test_no_process_without_a_message() -> None:
    assert [part.messages for part in Plan("::1", 25, messages=2).split(8)] == [1, 1]


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"warmup": 1.0}, {"warmup": -0.1}])
def test_what_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(MisuseError):
        Plan("::1", 25, **wrong).check()  # type: ignore[arg-type]
