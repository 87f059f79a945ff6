"""Who may log in: right, wrong, strange, too often; the same work for users and strangers; what is told."""

from typing import Any

from fastrelay.config import parse
from fastrelay.mail.reply import Reply
from fastrelay.reception.derivation import Derivation
from fastrelay.reception.failures import PER_ACCOUNT, PER_ADDRESS, WINDOW, Failures
from fastrelay.reception.logins import NOT_NOW, Logins, users_path
from fastrelay.smtp.events import AuthClaim
from fastrelay.smtp.sasl import scram
from fastrelay.smtp.sasl.scram import Keys, Verifier
from tests.peers.front_desk import FakeBuckets, FakeLog, FakeUsers, logins_of

CLIENT = "192.0.2.1"


class Counting:
    """Derives, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int]] = []

    def __call__(self, password: bytes, salt: bytes, iterations: int) -> Keys:
        self.asked.append((password, iterations))
        return scram.derive(password, salt, iterations)


def begun() -> tuple[Logins, FakeLog, Counting, list[float]]:
    log, counting, moment = FakeLog(), Counting(), [0.0]
    made = logins_of(log, FakeUsers(user="pencil"), derivation=Derivation(counting), now=lambda: moment[0])
    return made, log, counting, moment


def claim(user: str, password: str) -> AuthClaim:
    return AuthClaim(user, "PLAIN", password.encode())


def test_right_wrong_and_strange() -> None:
    logins, _, counting, _ = begun()
    assert logins.judge(claim("user", "pencil"), CLIENT) is True
    assert logins.judge(claim("user", "pencils"), CLIENT) is False
    assert logins.judge(claim("stranger", "pencil"), CLIENT) is False
    assert [iterations for _, iterations in counting.asked] == [4096, 4096, 4096]  # a stranger costs as much
    assert logins.knows("user") and not logins.knows("stranger")


def test_scram_is_judged_by_its_proof_and_a_stranger_never_wins() -> None:
    logins, _, counting, _ = begun()
    assert logins.judge(AuthClaim("user", "SCRAM-SHA-256", proved=True), CLIENT) is True
    assert logins.judge(AuthClaim("user", "SCRAM-SHA-256"), CLIENT) is False
    assert logins.judge(AuthClaim("stranger", "SCRAM-SHA-256", proved=True), CLIENT) is False
    assert counting.asked == []
    for name in ("user", "stranger"):
        assert isinstance(logins.verifier(name, CLIENT), Verifier)


def test_an_address_with_too_many_failures_is_not_heard_and_costs_nothing() -> None:
    logins, log, counting, moment = begun()
    for n in range(PER_ADDRESS):
        assert logins.judge(claim(f"guess{n}", "x"), CLIENT) is False
    (line,) = log.lines
    assert line.startswith("warning too many failed logins, by 192.0.2.1:") and "guess" not in line
    del counting.asked[:]
    assert logins.judge(claim("user", "pencil"), CLIENT) is NOT_NOW
    assert logins.verifier("user", CLIENT) is NOT_NOW
    assert counting.asked == [] and NOT_NOW.code == 454
    assert logins.judge(claim("user", "pencil"), "192.0.2.2") is True
    moment[0] += WINDOW + 1
    assert logins.judge(claim("user", "pencil"), CLIENT) is True


def test_what_others_failed_at_meanwhile_is_told_to_nobody() -> None:
    """Guesses under way at once: only so many verdicts are given, over all workers."""
    failed, log = FakeBuckets(), FakeLog()

    def slow(password: bytes, salt: bytes, iterations: int) -> Keys:
        for n in range(PER_ADDRESS):  # in another worker, meanwhile
            others.failed(CLIENT, f"guess{n}")
        return scram.derive(password, salt, iterations)

    for password in ("pencil", "x"):
        failed.full_at.clear()
        others = Failures(failed, FakeBuckets(), lambda: 0.0)
        logins = logins_of(
            log, FakeUsers(user="pencil"), derivation=Derivation(slow), now=lambda: 0.0, failed=failed
        )  # fmt: skip
        assert logins.judge(claim("user", password), CLIENT) is NOT_NOW


def test_it_is_told_once_in_a_while() -> None:
    logins, log, _, moment = begun()
    for _ in range(20):
        logins.judge(claim("guess", "x"), CLIENT)
        moment[0] += WINDOW / PER_ADDRESS
    assert len(log.lines) == 0
    for _ in range(30):
        logins.judge(claim("guess", "x"), CLIENT)
        moment[0] += WINDOW / PER_ADDRESS / 3
    assert len(log.lines) == 1 and "one every 60 seconds" in log.lines[0]


def test_an_account_is_closed_to_strangers_and_its_name_told_only_if_it_is_one() -> None:
    logins, log, _, _ = begun()
    assert logins.judge(claim("user", "pencil"), CLIENT) is True
    for n in range(PER_ACCOUNT):
        logins.judge(claim("user", "x"), f"198.51.100.{n}")
        logins.judge(claim("hunter2", "x"), f"203.0.113.{n}")
    assert logins.judge(claim("user", "pencil"), "192.0.2.99") is NOT_NOW
    assert logins.judge(claim("user", "pencil"), CLIENT) is True
    assert any("by user user:" in line for line in log.lines)
    assert not any("hunter2" in line for line in log.lines)


def test_an_ipv6_customer_is_one_client() -> None:
    logins, _, _, _ = begun()
    for n in range(PER_ADDRESS):
        logins.judge(claim("guess", "x"), f"2001:db8::{n:x}")
    assert logins.judge(claim("user", "pencil"), "2001:db8::ffff") is NOT_NOW


def test_too_many_derivations_are_a_reply() -> None:
    logins, _, _, _ = begun()
    logins._derivation.under_way = 10_000
    answer = logins.judge(claim("user", "pencil"), CLIENT)
    assert isinstance(answer, Reply)
    assert (answer.code, answer.enhanced) == (454, "4.7.0") and answer is not NOT_NOW


def test_a_reload_names_the_file_where_a_listener_needs_it() -> None:
    logins, _, _, _ = begun()
    asked: list[Any] = []
    logins._users.renew = lambda *given: asked.append(given)  # type: ignore[method-assign]
    text = '[auth]\nusers = "/u"\niterations = 5000\n'
    logins.renew(parse(text))
    logins.renew(parse(text + '[[listener]]\nauth = "required"\nauth_plaintext = true'))
    assert asked == [("", 5000), ("/u", 5000)]
    assert users_path(parse(text)) == ""
