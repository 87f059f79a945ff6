"""Does `by` of one hop agree with `from` of the next: by name, address, organisation, network, DNS, or not at all."""

import pytest

from fastrelay.trail.joints import Bond, joints
from fastrelay.trail.parse import hops
from tests.peers.trails import CHAINS, Dns

WHEN = "; Tue, 3 Sep 2002 10:36:32 +0000"


def bond(by: str, sender: str, dns: Dns | None = None, host: str = "mx.example.com") -> tuple[Bond, str]:
    chain = hops([f"from {sender} by {host} with SMTP{WHEN}", f"from pc by {by} with SMTP{WHEN}"])
    (joint,) = joints(chain, dns)
    return joint.bond, joint.why


@pytest.mark.parametrize(
    ("by", "sender", "wanted"),
    [
        # one host
        ("a.example.net", "a.example.net (a.example.net [203.0.113.1])", Bond.SAME),
        ("a.example.net", "helo.example.org (a.example.net [203.0.113.1])", Bond.SAME),
        ("a.example.net", "a.example.net (unknown [203.0.113.1])", Bond.SAME),
        ("a.example.net ([203.0.113.1])", "b.example.org (c.example.org [203.0.113.1])", Bond.SAME),
        ("203.0.113.1", "unknown (HELO x) (203.0.113.1)", Bond.SAME),
        ("lugh", "lugh.example.net (lugh.example.net [203.0.113.1])", Bond.SAME),
        # one house
        ("in3.example.net", "out7.example.net (out7.example.net [203.0.113.1])", Bond.KIN),
        ("mx.google.com", "mail-wr1.googlemail.com (mail-wr1.googlemail.com [203.0.113.1])", Bond.KIN),
        ("a.example.net ([203.0.113.1])", "x.example.org (y.example.org [203.0.113.77])", Bond.KIN),
        ("relay.kolibri.de", "out.kolibri.com (out.kolibri.com [203.0.113.1])", Bond.KIN),
        ("mx.example.com", "x (in.example.com [10.0.0.1])", Bond.KIN),
        # nothing to compare
        ("mailhost", "out.example.org (out.example.org [203.0.113.1])", Bond.OPEN),
        ("ex1.corp-a.com (10.1.2.3)", "gate.example.org (gate.example.org [203.0.113.1])", Bond.OPEN),
        ("a.example.net", "unknown", Bond.OPEN),
        ("a.example.net", "x (unknown [10.0.0.1])", Bond.OPEN),
        # only what the client says
        ("a.example.net", "a.example.net (dsl-7.provider.org [203.0.113.1])", Bond.CLAIM),
        # strangers
        ("a.example.net", "x.example.org (y.example.org [203.0.113.1])", Bond.BROKEN),
        ("a.example.net", "x (y.example.org [203.0.113.1])", Bond.BROKEN),
        ("a.example.net", "x (unknown [203.0.113.1])", Bond.FAINT),
        ("a.example.net", "localhost (localhost [127.0.0.1])", Bond.FAINT),
    ],
)
def test_bonds(by: str, sender: str, wanted: Bond) -> None:
    assert bond(by, sender)[0] is wanted


def test_dns_explains_what_names_do_not() -> None:
    stranger = "x.example.org (y.example.org [203.0.113.1])"
    assert bond("a.example.net", stranger)[0] is Bond.BROKEN
    assert bond("a.example.net", stranger, Dns({"a.example.net": "203.0.113.1"})) == (Bond.KIN, "by DNS")
    assert bond("a.example.net", stranger, Dns({"a.example.net": "203.0.77.1"}))[0] is Bond.KIN  # one large network
    assert bond("a.example.net", stranger, Dns({"a.example.net": "198.51.100.1"}))[0] is Bond.BROKEN
    assert bond("a.example.net", "x [203.0.113.1]", Dns(reverse={"203.0.113.1": "out.example.net"}))[0] is Bond.KIN


def test_dns_that_knows_nothing_changes_nothing() -> None:
    assert bond("a.example.net", "x.example.org (y.example.org [203.0.113.1])", Dns())[0] is Bond.BROKEN


def test_the_reason_names_both() -> None:
    why = bond("a.example.net", "x.example.org (y.example.org [203.0.113.1])")[1]
    assert why == "a.example.net had it, y.example.org handed it over"


def test_a_hop_without_names_is_looked_through() -> None:
    chain = hops([
        f"from a.example.net (a.example.net [203.0.113.1]) by mx.example.com with SMTP{WHEN}",
        f"(qmail 7 invoked from network){WHEN}",
        f"from pc by a.example.net with SMTP{WHEN}",
    ])  # fmt: skip
    (joint,) = joints(chain)
    assert (joint.older, joint.newer, joint.bond) == (0, 2, Bond.SAME)


def test_a_local_hop_of_another_house_was_sent_anew() -> None:
    chain = hops(
        [f"by list.example.org (Postfix, from userid 9) id 4A1B2C3D4E{WHEN}", f"from pc by a.example.net{WHEN}"]
    )
    (joint,) = joints(chain)
    assert joint.bond is Bond.OPEN


def test_mail_fetched_from_a_mailbox_is_not_compared() -> None:
    chain = hops(
        [f"from x [127.0.0.1] by localhost with POP3 (fetchmail-6.4){WHEN}", f"from pc by a.example.net{WHEN}"]
    )
    assert joints(chain)[0].bond is Bond.OPEN


@pytest.mark.parametrize("program", sorted(CHAINS))
def test_no_format_breaks_a_chain_of_its_own(program: str) -> None:
    broken = (Bond.BROKEN, Bond.FAINT, Bond.CLAIM)
    assert [one for one in joints(hops(CHAINS[program])) if one.bond in broken] == []


def test_a_content_filter_may_name_its_host_as_it_likes() -> None:
    taken = f"from out.example.net (out.example.net [203.0.113.1]) by inner.example.org (Postfix) id 4A1B2C3D4E{WHEN}"
    filtered = "from mail.brand.com ([203.0.113.9]) by localhost (inner.example.org [127.0.0.1])"
    bonds = joints(hops([f"{filtered} (amavisd-new, port 10024) with ESMTP id k8UsBTUjeiTe{WHEN}", taken]))
    assert bonds[0].bond is Bond.SAME
    bonds = joints(hops([f"{filtered} (Postfix) with ESMTP id 5B2C3D4E5F{WHEN}", taken]))
    assert bonds[0].bond is Bond.BROKEN
