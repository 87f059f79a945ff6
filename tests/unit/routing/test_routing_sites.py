"""routing/sites.py: one name for what is one destination."""

from fastrelay.config import Site
from fastrelay.routing.sites import MAX_NAME, Sites

GOOGLE = ("aspmx.l.google.com", "alt1.aspmx.l.google.com")


def test_all_hosts_of_best_preference_must_match() -> None:
    sites = Sites([])
    assert sites.name("a.test", GOOGLE[:1], GOOGLE) == "google"
    assert sites.name("a.test", (*GOOGLE, "mx.a.test"), GOOGLE) == ",".join(sorted(GOOGLE))
    assert sites.name("a.test", ("mx.a.test",), ("mx.a.test", *GOOGLE)) == ",".join(sorted(("mx.a.test", *GOOGLE)))


def test_suffixes_end_at_a_dot() -> None:
    sites = Sites([Site(name="mine", mx_suffix=("mx.Example",))])
    assert sites.name("a.test", ("mx.example",), ("mx.example",)) == "mine"
    assert sites.name("a.test", ("1.mx.example",), ("1.mx.example",)) == "mine"
    assert sites.name("a.test", ("notmx.example",), ("notmx.example",)) == "notmx.example"


def test_the_operators_rows_come_first_and_in_order() -> None:
    rows = [
        Site(name="vip", domain=("vip.test", ".big.test")),
        Site(name="mine", mx_suffix=(".google.com",)),
        Site(name="late", domain=("late.test",)),
    ]
    sites = Sites(rows)
    assert sites.name("vip.test", GOOGLE, GOOGLE) == "vip"
    assert sites.name("x.big.test", ("mx.test",), ("mx.test",)) == sites.name("big.test", (), ()) == "vip"
    assert sites.name("late.test", GOOGLE, GOOGLE) == "mine"
    assert sites.name("late.test", ("mx.test",), ("mx.test",)) == "late"
    assert {"vip", "mine", "late", "google"} <= sites.names


def test_rows_beyond_ascii_match_by_a_labels() -> None:
    sites = Sites([Site(name="books", domain=("Bücher.test",)), Site(name="all", domain=(".Müller.test",))])
    assert sites.name("xn--bcher-kva.test", ("mx.test",), ("mx.test",)) == "books"
    assert sites.name("x.xn--mller-kva.test", ("mx.test",), ("mx.test",)) == "all"


def test_the_set_of_hosts_is_sorted_and_each_once() -> None:
    assert Sites([]).name("a.test", ("b.test",), ("c.test", "b.test", "c.test")) == "b.test,c.test"


def test_long_names_are_cut_and_stay_distinct() -> None:
    hosts = [f"mx-number-{n}.a-rather-long-name.test" for n in range(30)]
    one, two = Sites([]).name("a.test", hosts[:1], hosts), Sites([]).name("a.test", hosts[:1], hosts[:-1])
    assert len(one) == len(two) == MAX_NAME and one != two
