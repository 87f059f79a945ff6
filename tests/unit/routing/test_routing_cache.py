"""routing/cache.py: fresh, stale, negative and failed answers, each for its time."""

from fastrelay.routing.answers import Answer, Question, Status, failure
from fastrelay.routing.cache import FAILURE_TTL, STALE_TTL, AnswerCache

MX = Question("example.test", "MX")


def make(size: int = 10) -> AnswerCache:
    return AnswerCache(size, min_ttl=5.0, max_ttl=1000.0, negative_ttl=60.0, stale=500.0)


def found(ttl: int = 100, name: str = "example.test") -> Answer:
    return Answer(name, "MX", Status.FOUND, ("10 mx.test",), ttl=ttl)


def test_fresh_for_its_ttl_and_no_longer() -> None:
    cache = make()
    served = cache.keep(MX, found(100), 1000.0)
    assert (served.ttl, served.expires) == (100, 1100.0)
    assert cache.fresh(MX, 1099.9) is served
    assert cache.fresh(MX, 1100.0) is None
    assert cache.usable(MX, 1100.0) is served
    assert cache.usable(MX, 1599.9) is served
    assert cache.usable(MX, 1600.0) is None


def test_floor_and_ceiling() -> None:
    cache = make()
    assert cache.keep(MX, found(0), 0.0).ttl == 5
    assert cache.keep(MX, found(10**9), 0.0).ttl == 1000
    negative = Answer("example.test", "MX", Status.NO_NAME, ttl=900)
    assert cache.keep(MX, negative, 0.0).ttl == 60


def test_a_failure_is_kept_briefly() -> None:
    cache = make()
    served = cache.keep(MX, failure(MX, "SERVFAIL"), 0.0)
    assert served.failed
    assert cache.fresh(MX, FAILURE_TTL - 0.1) is served
    assert cache.fresh(MX, FAILURE_TTL) is None
    assert cache.usable(MX, 1.0) is None


def test_where_asking_fails_the_old_answer_serves_until_it_is_dead() -> None:
    cache = make()
    cache.keep(MX, found(100), 0.0)
    served = cache.keep(MX, failure(MX, "timed out"), 200.0)
    assert served.found and served.stale and served.reason == "timed out"
    assert served.expires == 200.0 + STALE_TTL
    again = cache.keep(MX, failure(MX, "timed out"), 590.0)
    assert again.stale and again.expires == 600.0
    assert cache.keep(MX, failure(MX, "timed out"), 601.0).failed


def test_an_answer_ends_staleness() -> None:
    cache = make()
    cache.keep(MX, found(100), 0.0)
    cache.keep(MX, failure(MX, "timed out"), 200.0)
    assert not cache.keep(MX, found(100), 240.0).stale


def test_bounded_and_forgetful() -> None:
    cache = make(size=3)
    for n in range(10):
        cache.keep(Question(f"n{n}.test", "MX"), found(100, f"n{n}.test"), 0.0)
    assert len(cache) == 3
    cache.forget()
    assert len(cache) == 0


def test_the_type_belongs_to_the_key() -> None:
    cache = make()
    cache.keep(MX, found(), 0.0)
    assert cache.fresh(Question("example.test", "A"), 1.0) is None
