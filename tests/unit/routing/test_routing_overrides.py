"""routing/overrides.py: forms of next hops, and which row decides."""

import pytest

from fastrelay.config import StaticRoute
from fastrelay.errors import ConfigError
from fastrelay.routing.overrides import LOCALHOST, Hop, Overrides, parse_hop


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("Smart.Example:587", Hop("smart.example", 587)),
        ("smart.example", Hop("smart.example", 0)),
        ("[smart.example]:25", Hop("smart.example", 25)),
        ("[smart.example]", Hop("smart.example", 0)),
        ("127.0.0.1:2526", Hop("127.0.0.1", 2526, ("127.0.0.1",))),
        ("[127.0.0.1]:2526", Hop("127.0.0.1", 2526, ("127.0.0.1",))),
        ("[2001:DB8::1]:25", Hop("2001:db8::1", 25, ("2001:db8::1",))),
        ("2001:db8::1", Hop("2001:db8::1", 0, ("2001:db8::1",))),
        ("localhost:25", Hop("localhost", 25, LOCALHOST)),
        ("unix:/run/lmtp", Hop("unix:/run/lmtp", 0, ("unix:/run/lmtp",), lmtp=True)),
        ("lmtp:unix:/run/lmtp", Hop("unix:/run/lmtp", 0, ("unix:/run/lmtp",), lmtp=True)),
        ("smtp:unix:/run/smtp", Hop("unix:/run/smtp", 0, ("unix:/run/smtp",))),
        ("lmtp:Store.Example", Hop("store.example", 24, lmtp=True)),
        ("lmtp:store.example:2003", Hop("store.example", 2003, lmtp=True)),
        ("lmtp:[2001:db8::1]:24", Hop("2001:db8::1", 24, ("2001:db8::1",), lmtp=True)),
        ("lmtp:127.0.0.1:2003", Hop("127.0.0.1", 2003, ("127.0.0.1",), lmtp=True)),
        ("lmtp:localhost", Hop("localhost", 24, LOCALHOST, lmtp=True)),
        ("smtp:store.example:26", Hop("store.example", 26)),
        ("lmtp:2003", Hop("lmtp", 2003)),
        ("smtp:25", Hop("smtp", 25)),
    ],
)
def test_forms(text: str, hop: Hop) -> None:
    assert parse_hop(text, "route[0].next_hop") == hop


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":25",
        "lmtp:",
        "lmtp:a:25",
        "lmtp:[::1]:25",
        "lmtp:lmtp:a",
        "lmtp:a:b:1",
        "unix:x",
        "a@b.test:25",
        "ä@b.test:25",
        "a.test:",
        "a.test:0",
        "a.test:65536",
        "a.test:x",
        "[a.test",
        "[::1]25",
        "[::1]:",
        "a b:25",
        "a:²",
    ],
)
def test_what_is_no_hop_names_its_row(text: str) -> None:
    with pytest.raises(ConfigError, match=r"route\[3\]\.next_hop"):
        parse_hop(text, "route[3].next_hop")


def test_the_closest_row_decides() -> None:
    rows = [("*", "any:25"), (".example", "wide:25"), (".a.example", "narrow:25"), ("b.a.example", "exact:25")]
    overrides = Overrides([StaticRoute(domain=domain, next_hop=(hop,)) for domain, hop in rows])

    def hop(domain: str) -> str:
        found = overrides.find(domain)
        assert found is not None
        return found.site

    assert hop("b.a.example") == "exact:25"
    assert hop("c.b.a.example") == hop("a.example") == "narrow:25"
    assert hop("example") == hop("x.example") == "wide:25"
    assert hop("else.test") == hop("[192.0.2.1]") == "any:25"


def test_rows_beyond_ascii_match_by_a_labels() -> None:
    overrides = Overrides([StaticRoute(domain=".Bücher.test", next_hop=("mx.müller.test:25",))])
    found = overrides.find("a.xn--bcher-kva.test")
    assert found is not None and found.hops[0].name == "mx.xn--mller-kva.test"


def test_without_rows_dns_decides() -> None:
    assert Overrides([]).find("a.test") is None
    assert Overrides([StaticRoute(domain="b.test", next_hop=("x:1",))]).find("a.b.test") is None


def test_several_hops_are_one_site() -> None:
    found = Overrides([StaticRoute(domain="A.test", next_hop=("x:1", "y:2"))]).find("a.test")
    assert found is not None and found.site == "x:1,y:2" and len(found.hops) == 2
