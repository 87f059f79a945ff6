"""The rule of accepting, against every order in which the kernel may hand out connections."""

import pytest

from fastrelay.process.balance import may_accept


def outcomes(workers: int, sessions: int) -> set[tuple[int, ...]]:
    """Every way `sessions` persistent sessions can be spread when an adversary picks among those who may accept."""
    states = {(0,) * workers}
    for _ in range(sessions):
        following = set()
        for state in states:
            willing = [index for index, own in enumerate(state) if may_accept(own, min(state))]
            assert willing, f"all pause at {state}"
            for index in willing:
                grown = [*state]
                grown[index] += 1
                following.add(tuple(sorted(grown)))
        states = following
    return states


def test_twelve_sessions_over_four_workers_are_two_to_four_each_in_whatever_order() -> None:
    ends = outcomes(4, 12)
    assert (3, 3, 3, 3) in ends
    assert all(2 <= own <= 4 for end in ends for own in end), ends


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_nobody_is_ever_far_above_the_least(workers: int) -> None:
    for end in outcomes(workers, 6 * workers):
        assert max(end) <= min(end) * 1.2 + 2


def test_the_least_loaded_always_accepts() -> None:
    assert all(may_accept(count, count) for count in range(20_000))


def test_big_workers_may_differ_by_a_fifth() -> None:
    assert may_accept(1201, 1000)
    assert not may_accept(1202, 1000)
