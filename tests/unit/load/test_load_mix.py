import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.mix import DOMAINS, Mix, parse_domains


def test_recipients_follow_the_weights_and_differ_within_a_message() -> None:
    mix = (("often.example", 9.0), ("seldom.example", 1.0))
    drawn = Mix(mix, seed=3)
    messages = [drawn.draw(5) for _ in range(1000)]
    assert all(len(set(one)) == 5 for one in messages)
    often = sum(address.endswith("@often.example") for one in messages for address in one)
    assert 0.87 < often / 5000 < 0.93
    again = Mix(mix, seed=3)
    assert messages == [again.draw(5) for _ in range(1000)]


def test_a_single_domain_needs_no_draw() -> None:
    mix = Mix(DOMAINS, seed=1, first=998)
    assert mix.draw(3) == ["user998@load.invalid", "user999@load.invalid", "user0@load.invalid"]
    assert len(set(Mix(DOMAINS, seed=1).draw(1000))) == 1000


def test_every_domain_of_many_is_met() -> None:
    mix = Mix(parse_domains(["300:load.test"]), seed=5)
    met = {address.partition("@")[2] for _ in range(6000) for address in mix.draw(1)}
    assert met == {f"d{n}.load.test" for n in range(300)}


def test_words_of_the_command_line() -> None:
    assert parse_domains([]) == DOMAINS
    assert parse_domains(["a.test=3,b.test=1", "c.test"]) == (("a.test", 3.0), ("b.test", 1.0), ("c.test", 1.0))
    assert parse_domains(["2"]) == (("d0.load.invalid", 1.0), ("d1.load.invalid", 1.0))
    assert parse_domains(["1:x.test", "4u.test=2", "163.com"]) == (
        ("d0.x.test", 1.0),
        ("4u.test", 2.0),
        ("163.com", 1.0),
    )


@pytest.mark.parametrize(
    "word", ["a.test=x", "a.test=0", "a.test=-1", "=1", "", "0", "9999999999", "3:", "a b", "3x", "a@b"]
)
def test_what_is_not_understood(word: str) -> None:
    with pytest.raises(MisuseError, match="--domains"):
        parse_domains([word])
