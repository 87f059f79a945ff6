"""reverse.py on a resolver of canned answers: which names an address has, and what is passed over."""

from collections.abc import Iterable

import pytest

from fastrelay.routing.answers import Answer, Status
from fastrelay.routing.reverse import MAX_CLAIMS, claim, verified_name


class Canned:
    """Answers from a table; whatever is not in it is no such name. asked: in order."""

    def __init__(self, table: dict[tuple[str, str], tuple[str, ...]], broken: bool = False) -> None:
        self.table = table
        self.broken = broken
        self.asked: list[tuple[str, str]] = []

    def query(self, name: str, rdtype: str) -> Answer:
        return self.query_all([(name, rdtype)])[0]

    def query_all(self, questions: Iterable[tuple[str, str]]) -> list[Answer]:
        answers = []
        for question in questions:
            self.asked.append(question)
            records = self.table.get(question, ())
            status = Status.FOUND if records else Status.FAILED if self.broken else Status.NO_NAME
            answers.append(Answer(*question, status, records))
        return answers


POINTER = ("4.3.2.1.in-addr.arpa", "PTR")
POINTER6 = ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR")


def name_of(client: str, table: dict[tuple[str, str], tuple[str, ...]]) -> str:
    return verified_name(Canned(table), client)  # type: ignore[arg-type]


def test_a_name_counts_where_it_leads_back() -> None:
    table = {POINTER: ("Mail.Client.Example.",), ("mail.client.example", "A"): ("192.0.2.9", "1.2.3.4")}
    assert name_of("1.2.3.4", table) == "mail.client.example"
    assert name_of("::ffff:1.2.3.4", table) == "mail.client.example"


@pytest.mark.parametrize("back", [(), ("1.2.3.5",), ("::1.2.3.4",), ("nonsense",)])
def test_a_claim_alone_counts_for_nothing(back: tuple[str, ...]) -> None:
    assert name_of("1.2.3.4", {POINTER: ("mail.bank.example.",), ("mail.bank.example", "A"): back}) == ""


def test_ipv6_however_it_is_written() -> None:
    table = {POINTER6: ("six.client.example.",), ("six.client.example", "AAAA"): ("2001:db8:0:0::1",)}
    assert name_of("2001:DB8::1", table) == "six.client.example"


def test_the_second_of_several_may_be_the_true_one() -> None:
    table = {POINTER: ("one.example.", "two.example."), ("two.example", "A"): ("1.2.3.4",)}
    assert name_of("1.2.3.4", table) == "two.example"


@pytest.mark.parametrize(
    "claim",
    [
        "evil\\010x-injected:.example.",
        "a b.example.",
        "a(comment).example.",
        "x;y.example.",
        "under_score.example.",
        "-dash.example.",
        "a..example.",
        "ü.example.",
        "[1.2.3.4]",
        "x" * 64 + ".example.",
        "a." * 130,
        ".",
        "",
    ],
)
def test_what_is_no_domain_name_is_not_even_asked_for(claim: str) -> None:
    resolver = Canned({POINTER: (claim,)})
    assert verified_name(resolver, "1.2.3.4") == ""  # type: ignore[arg-type]
    assert resolver.asked == [POINTER]


def test_a_host_of_a_thousand_names_costs_a_few_questions() -> None:
    resolver = Canned({POINTER: tuple(f"host{n}.example." for n in range(1000))})
    assert verified_name(resolver, "1.2.3.4") == ""  # type: ignore[arg-type]
    assert len(resolver.asked) == 1 + MAX_CLAIMS


def test_failing_servers_mean_no_name() -> None:
    assert verified_name(Canned({}, broken=True), "1.2.3.4") == ""  # type: ignore[arg-type]


@pytest.mark.parametrize("client", ["fe80::1%eth0", "unix", "", "1.2.3", "client.example"])
def test_what_has_no_place_in_dns_is_not_asked_for(client: str) -> None:
    resolver = Canned({})
    assert verified_name(resolver, client) == "" and resolver.asked == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "client", "found"),
    [
        ("mail.client.example", "1.2.3.4", "pass"),
        ("Mail.Client.Example.", "1.2.3.4", "pass"),
        ("mail.client.example", "::ffff:1.2.3.4", "pass"),
        ("mail.client.example", "1.2.3.5", "fail"),
        ("other.client.example", "1.2.3.4", "fail"),
        ("mail.client.example", "2001:db8::1", "fail"),
        ("six.client.example", "2001:db8::1", "pass"),
        ("[1.2.3.4]", "1.2.3.4", "pass"),
        ("[IPv6:2001:DB8:0::1]", "2001:db8::1", "pass"),
        ("[1.2.3.5]", "1.2.3.4", "fail"),
        ("1.2.3.4", "1.2.3.4", "fail"),
        ("under_score.example", "1.2.3.4", "fail"),
        ("mail.client.example", "unix", "fail"),
        ("mail.client.example", "fe80::1%eth0", "fail"),
    ],
)
def test_a_claim_in_helo_is_true_where_the_name_leads_to_the_client(name: str, client: str, found: str) -> None:
    table = {
        ("mail.client.example", "A"): ("9.9.9.9", "1.2.3.4"),
        ("six.client.example", "AAAA"): ("2001:db8::1",),
    }
    assert claim(Canned(table), name, client) == found  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["1.2.3.4", "1.2.3.4.", "mail.example.10", "1234"])
def test_what_ends_in_a_number_is_no_name_and_not_asked_for(name: str) -> None:
    resolver = Canned({}, broken=True)
    assert claim(resolver, name, "1.2.3.4") == "fail"  # type: ignore[arg-type]
    assert not resolver.asked


def test_a_claim_nobody_can_look_up_is_neither_true_nor_false() -> None:
    assert claim(Canned({}, broken=True), "mail.client.example", "1.2.3.4") == "temperror"  # type: ignore[arg-type]
    assert claim(Canned({}, broken=True), "[1.2.3.4]", "1.2.3.4") == "pass"  # type: ignore[arg-type]
