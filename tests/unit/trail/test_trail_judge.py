"""The whole chain: its score, its last trustworthy hop, and a verdict with reasons for each hop."""

import pytest

from fastrelay.config import parse
from fastrelay.errors import MisuseError
from fastrelay.trail.finding import WEIGHTS, Check
from fastrelay.trail.judge import SUSPICIOUS, Standing, Trail, Verdict, judge
from fastrelay.trail.known import Known, known_to
from fastrelay.trail.networks import network
from tests.peers.trails import CHAINS

WHEN = "; Wed, 25 Nov 2026 12:00:0{} +0000"


def chain(*lines: str) -> list[str]:
    """Oldest first, a second apart."""
    return [line + WHEN.format(number) for number, line in enumerate(lines)][::-1]


def checks(trail: Trail) -> set[Check]:
    return {one.check for one in trail.findings if one.weight > 0}


ORIGIN = "from pc ([192.168.1.2]) by mail.example.net with SMTP"
RELAY = "from mail.example.net (mail.example.net [203.0.113.1]) by mx.example.org with ESMTP"
ARRIVAL = "from mx.example.org (mx.example.org [198.51.100.1]) by in.example.com with ESMTP"
STRANGE = "from out.elsewhere.biz (out.elsewhere.biz [192.0.2.5]) by mx.somewhere.info with ESMTP"


@pytest.mark.parametrize("program", sorted(CHAINS))
def test_genuine_chains_of_every_format_are_consistent(program: str) -> None:
    trail = judge(CHAINS[program], now=1_800_000_000.0)
    assert not trail.suspicious and trail.score == 0, trail.findings


def test_a_chain_that_agrees() -> None:
    trail = judge(chain(ORIGIN, RELAY, ARRIVAL))
    assert [one.verdict for one in trail.hops] == [Verdict.OPEN, Verdict.AGREES, Verdict.AGREES]
    assert [one.why for one in trail.hops] == ["", "by name mail.example.net", "by name mx.example.org"]


def test_a_hop_that_is_missing() -> None:
    trail = judge(chain(ORIGIN, ARRIVAL))
    assert trail.suspicious and checks(trail) == {Check.BROKEN}
    assert trail.hops[1].verdict is Verdict.SUSPICIOUS


def test_a_hop_that_was_inserted() -> None:
    trail = judge(chain(ORIGIN, RELAY, STRANGE, ARRIVAL))
    assert checks(trail) >= {Check.BROKEN, Check.INSERTED}
    (inserted,) = (one for one in trail.findings if one.check is Check.INSERTED)
    assert inserted.hop == 3 and inserted.why == "hops 2 and 4 agree without it"


def test_hops_that_changed_places() -> None:
    trail = judge(chain(ORIGIN, ARRIVAL, RELAY))
    assert trail.suspicious and Check.BROKEN in checks(trail) and Check.MISPLACED in checks(trail)


@pytest.mark.parametrize(
    "line",
    [
        "from bank.example.com ([192.0.2.66]) by mail.bank.example.com (8.9.3/8.9.3) with SMTP id QAA12345",
        "from [192.0.2.66] by mx.google.com (Postfix) with ESMTP id 4A1B2C3D4E",
        "from a by mail.elsewhere.biz with esmtp (Exim 4.96) id 4A1B2C3D4E",
    ],
)
def test_a_line_added_by_hand_at_the_end(line: str) -> None:
    trail = judge(chain(line, "from mail.example.net (mail.example.net [203.0.113.1]) by mx.example.org with ESMTP"))
    assert trail.suspicious and trail.last_trusted == 2


def test_the_same_line_twice() -> None:
    twice = f"{RELAY}; Wed, 25 Nov 2026 12:00:01 +0000"
    assert Check.TWICE in checks(judge([twice, twice]))


def test_a_line_that_is_no_trace_field() -> None:
    trail = judge([*chain(RELAY)[:1], "this is not a trace field; Wed, 25 Nov 2026 11:59:00 +0000"])
    assert Check.UNFORMED in checks(trail) and not trail.suspicious


def test_saying_it_twice_does_not_make_it_twice_as_true() -> None:
    body = f"from x (y.example.net [0.1.2.3]) by b.example.org ([240.0.0.1]){WHEN.format(0)}"
    trail = judge([body])
    assert trail.score == WEIGHTS[Check.ADDRESS]


def test_light_findings_need_company() -> None:
    light = [one for one, weight in WEIGHTS.items() if weight < SUSPICIOUS]
    assert {Check.CLAIM, Check.ZONE, Check.LATE, Check.SPOKEN, Check.NO_DATE} <= set(light)


def test_nothing_but_a_date_is_still_judged() -> None:
    trail = judge(["; Wed, 25 Nov 2026 12:00:00 +0000"])
    assert len(trail.hops) == 1 and trail.last_trusted == 1


# -- whom to believe --------------------------------------------------------------------------------------------------

INSIDE = "from in.example.com (in.example.com [198.51.100.9]) by store.example.com with LMTP"


def standing(trail: Trail) -> list[Standing]:
    return [one.standing for one in trail.hops]


def test_the_receiver_alone_is_believed() -> None:
    trail = judge(chain(ORIGIN, RELAY, ARRIVAL, INSIDE))
    assert trail.last_trusted == 4
    assert standing(trail) == [Standing.SAID, Standing.SAID, Standing.SAID, Standing.LAST]


@pytest.mark.parametrize(
    "known",
    [Known((network("198.51.100.9"),)), Known(names=frozenset({"in.example.com"}))],
)
def test_hosts_we_know_are_believed_too(known: Known) -> None:
    trail = judge(chain(ORIGIN, RELAY, ARRIVAL, INSIDE), known=known)
    assert trail.last_trusted == 3
    assert standing(trail) == [Standing.SAID, Standing.SAID, Standing.LAST, Standing.OURS]


def test_a_name_in_helo_makes_nobody_one_of_ours() -> None:
    liar = "from in.example.com (dsl-7.example.net [203.0.113.7]) by store.example.com with ESMTP"
    trail = judge(chain(ORIGIN, RELAY, ARRIVAL, liar), known=Known(names=frozenset({"in.example.com"})))
    assert trail.last_trusted == 4


def test_a_hand_over_inside_the_receivers_network_is_believed() -> None:
    trail = judge(chain(ORIGIN, "from r (r.example.net [203.0.113.1]) by in.example.com with ESMTP",
                        "from in.example.com (in.example.com [10.0.0.5]) by store.example.com with LMTP"))  # fmt: skip
    assert trail.last_trusted == 2


def test_a_literal_in_helo_opens_no_way_inside() -> None:
    trail = judge(
        chain(ORIGIN, "from [127.0.0.1] (unknown [203.0.113.66]) by mx.example.com (Postfix) with SMTP id 4A1B2C3")
    )
    assert trail.last_trusted == 2


def test_what_our_own_hosts_wrote_is_shown_and_not_counted() -> None:
    odd = "from in.example.com (in.example.com [198.51.100.9]) by store.example.com (Postfix) with ESMTP id not-ours"
    assert judge(chain(ORIGIN, RELAY, ARRIVAL, odd)).suspicious
    trail = judge(chain(ORIGIN, RELAY, ARRIVAL, odd), known=Known((network("198.51.100.0/24"),)))
    (found,) = (one for one in trail.findings if one.check is Check.SHAPE)
    assert found.weight == 0 and not trail.suspicious


def test_known_from_the_configuration() -> None:
    config = parse(
        """
        [server]
        hostname = "relay.example.com"
        [delivery]
        hello = "Out.Example.com"
        [[listener]]
        relay_from = ["192.0.2.0/24", "::1"]
        """
    )
    known = known_to(config, ["2001:db8::/32"])
    assert known.names == {"relay.example.com", "out.example.com"}
    assert set(known.networks) == {network("192.0.2.0/24"), network("::1"), network("2001:db8::/32")}
    with pytest.raises(MisuseError, match="is not a network"):
        known_to(config, ["elsewhere"])


def test_a_private_client_is_ours_only_where_the_hop_before_it_is_the_receivers_too() -> None:
    inside = "from x (unknown [10.0.0.1]) by mx.example.com with SMTP"
    assert judge(chain(ORIGIN, "from r (r.example.net [203.0.113.1]) by out.elsewhere.biz", inside)).last_trusted == 3
    assert judge(chain(ORIGIN, "from r (r.example.net [203.0.113.1]) by in.example.com", inside)).last_trusted == 2
