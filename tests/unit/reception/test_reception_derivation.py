"""Derivation beside the loop: at most four at once, a bounded line, 454 beyond; what proved right is remembered."""

import threading

import pytest

from fastrelay.errors import MachineShort
from fastrelay.reception.derivation import AT_ONCE, MAX_WAITING, REMEMBERED, Derivation
from fastrelay.runtime import tasks
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.scram import Keys
from tests.unit.rooms import until

VERIFIER = scram.make_verifier(b"pencil", 4096)
PATIENCE = 20.0


class Slow:
    """Derives when told to; counts how many do so at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.lock = threading.Lock()
        self.now = self.most = self.calls = 0

    def __call__(self, password: bytes, salt: bytes, iterations: int) -> Keys:
        with self.lock:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
        assert self.go.wait(PATIENCE)
        with self.lock:
            self.now -= 1
        return scram.derive(password, salt, iterations)


def test_four_at_once_a_line_behind_them_and_no_more() -> None:
    slow = Slow()
    derivation = Derivation(slow)
    answers: list[bool] = []
    over = tasks.Event()

    def ask(n: int) -> None:
        answers.append(derivation.proves(b"pencil" if n % 2 else b"wrong%d" % n, VERIFIER))
        if len(answers) == AT_ONCE + MAX_WAITING:
            over.set()

    for n in range(AT_ONCE + MAX_WAITING):
        tasks.spawn(ask, n)
    tasks.run_loop_once()
    assert derivation.under_way == AT_ONCE + MAX_WAITING
    with pytest.raises(MachineShort) as caught:
        derivation.proves(b"pencil", VERIFIER)
    assert (caught.value.code, caught.value.enhanced) == (454, "4.7.0")
    assert answers == []  # nobody held the loop up: it is we who run
    until(lambda: slow.now == AT_ONCE, "as many threads as may derive at once")
    slow.go.set()
    assert over.wait(PATIENCE)
    assert sum(answers) == len(answers) // 2
    assert slow.most == AT_ONCE and derivation.under_way == 0


def test_a_password_that_proved_right_is_not_derived_again_a_wrong_one_always_is() -> None:
    slow = Slow()
    slow.go.set()
    moment = [0.0]
    derivation = Derivation(slow, lambda: moment[0])
    assert derivation.proves(b"pencil", VERIFIER) and derivation.proves(b"pencil", VERIFIER)
    assert slow.calls == 1
    assert not derivation.proves(b"pencils", VERIFIER) and not derivation.proves(b"pencils", VERIFIER)
    assert slow.calls == 3
    moment[0] += REMEMBERED + 1
    assert derivation.proves(b"pencil", VERIFIER)
    assert slow.calls == 4


def test_another_verifier_is_another_question() -> None:
    slow = Slow()
    slow.go.set()
    derivation = Derivation(slow)
    assert derivation.proves(b"pencil", VERIFIER)
    assert not derivation.proves(b"pencil", scram.make_verifier(b"other", 4096))
    assert slow.calls == 2


def test_no_password_is_kept() -> None:
    derivation = Derivation(scram.derive)
    derivation.proves(b"pencil", VERIFIER)
    assert "pencil" not in repr(list(derivation._proved.items()))
