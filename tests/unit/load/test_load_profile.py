import pytest

from fastrelay.errors import FastrelayError
from fastrelay.load.profile import PHASES, REPLIES, Rule, Verdict, parse


def test_words_of_the_command_line() -> None:
    profile = parse(latency=["50ms", "mail=2s"], defer=["5%"], reject=["rcpt=1%"], disconnect=["100%"])
    assert profile == {
        "dot": Rule(latency=0.05, disconnect=1.0),
        "mail": Rule(latency=2.0),
        "rcpt": Rule(defer=0.05, reject=0.01),
    }
    assert parse() == {}


@pytest.mark.parametrize(
    "words",
    [
        {"defer": ["noon=5%"]},
        {"defer": ["5"]},
        {"defer": ["x%"]},
        {"reject": ["101%"]},
        {"latency": ["5%"]},
        {"defer": ["dot=60%"], "reject": ["dot=60%"]},
    ],
)
def test_what_is_not_understood(words: dict[str, list[str]]) -> None:
    with pytest.raises(FastrelayError):
        parse(**words)


def test_one_draw_divides_the_whole() -> None:
    rule = Rule(defer=0.5, reject=0.25, disconnect=0.125)
    verdicts = [rule.judge(n / 64) for n in range(64)]
    assert [verdicts.count(v) for v in (Verdict.DISCONNECT, Verdict.REJECT, Verdict.DEFER)] == [8, 16, 32]
    assert Rule().judge(0.0) is Verdict.ACCEPT


def test_every_phase_has_its_refusals() -> None:
    for phase in PHASES:
        assert REPLIES[phase, Verdict.DEFER].startswith(b"4")
        assert REPLIES[phase, Verdict.REJECT].startswith(b"5")
