"""One Received field in the hand of each program: who handed over, who took it, how, when."""

from ipaddress import ip_address

import pytest

from fastrelay.trail.hop import Hop, Leap
from fastrelay.trail.parse import hop, hops
from tests.peers.trails import CHAINS

WHEN = "; Tue, 3 Sep 2002 10:36:32 +0000"


def sender_of(text: str) -> tuple[str, str, str]:
    sender = hop(f"{text} by mx.example.com{WHEN}").sender
    return sender.claimed, sender.name, str(sender.address or "")


@pytest.mark.parametrize(
    ("text", "claimed", "name", "address"),
    [
        # Postfix, Sendmail, OpenSMTPD, Haraka, ours
        ("from helo.example (rdns.example [192.0.2.1])", "helo.example", "rdns.example", "192.0.2.1"),
        ("from helo.example (unknown [192.0.2.1])", "helo.example", "", "192.0.2.1"),
        ("from helo.example (IDENT:joe@rdns.example [192.0.2.1])", "helo.example", "rdns.example", "192.0.2.1"),
        ("from h (root@localhost [127.0.0.1])", "h", "localhost", "127.0.0.1"),
        ("from h (rdns.example. [192.0.2.1])", "h", "rdns.example", "192.0.2.1"),
        ("from h (rdns.example [192.0.2.1] (may be forged))", "h", "rdns.example", "192.0.2.1"),
        ("from h (r.example [IPv6:2001:db8::1])", "h", "r.example", "2001:db8::1"),
        ("from h (r.example [::ffff:192.0.2.1])", "h", "r.example", "192.0.2.1"),
        ("from [10.0.0.1] (unknown [203.0.113.5])", "[10.0.0.1]", "", "203.0.113.5"),
        ("from [IPv6:2001:db8::5] (r.example [192.0.2.1])", "[2001:db8::5]", "r.example", "192.0.2.1"),
        # Exim
        ("from rdns.example ([192.0.2.1] helo=say.example)", "say.example", "rdns.example", "192.0.2.1"),
        ("from rdns.example ([192.0.2.1]:2213 helo=say.example ident=x)", "say.example", "rdns.example", "192.0.2.1"),
        ("from [192.0.2.1] (helo=say.example)", "say.example", "", "192.0.2.1"),
        ("from [192.0.2.1] (port=2525 helo=[10.0.0.9])", "[10.0.0.9]", "", "192.0.2.1"),
        ("from say.example ([192.0.2.1])", "say.example", "", "192.0.2.1"),
        # qmail
        ("from unknown (HELO say.example) (192.0.2.1)", "say.example", "", "192.0.2.1"),
        ("from rdns.example (HELO say) (joe@192.0.2.1 with login)", "say", "rdns.example", "192.0.2.1"),
        ("from rdns.example (192.0.2.1)", "rdns.example", "", "192.0.2.1"),
        ("from unknown (HELO x) ([192.0.2.1]) (envelope-sender <a@b.example>)", "x", "", "192.0.2.1"),
        # ZMailer
        ('from rdns.example ([192.0.2.1]:51810 "EHLO say.example" rhost-flags-OK-OK)', "say.example", "rdns.example",
         "192.0.2.1"),
        # fetchmail, IMail, gateways
        ("from pop.example [192.0.2.1]", "pop.example", "", "192.0.2.1"),
        ("from unknown(192.0.2.1)", "", "", "192.0.2.1"),
        ("from 192.0.2.1", "", "", "192.0.2.1"),
        ("from [192.0.2.1]", "", "", "192.0.2.1"),
        ("from ([192.0.2.1])", "", "", "192.0.2.1"),
        # Exchange
        ("from EX02.example (10.1.2.3)", "ex02.example", "", "10.1.2.3"),
        ("from EX02.example ([fe80::1c2d%4])", "ex02.example", "", "fe80::1c2d"),
        # nothing to know
        ("from unknown", "", "", ""),
        ("from user@example.org", "", "", ""),
        ("from", "", "", ""),
    ],
)  # fmt: skip
def test_who_handed_over(text: str, claimed: str, name: str, address: str) -> None:
    assert sender_of(text) == (claimed, name, address)


def test_the_servers_own_doubt_is_kept() -> None:
    assert hop(f"from h (r.example [192.0.2.1] (may be forged)) by x{WHEN}").sender.forged_note


@pytest.mark.parametrize(
    ("text", "names", "address"),
    [
        ("by mx.example.com (Postfix)", ("mx.example.com",), ""),
        ("by MX.Example.COM. (8.14.4/8.14.4)", ("mx.example.com",), ""),
        ("by 192.0.2.9 with SMTP", (), "192.0.2.9"),
        ("by 2002:a05:6402:1a4f:0:0:0:1 with SMTP", (), "2002:a05:6402:1a4f::1"),
        ("by localhost (mail.example.com [127.0.0.1]) (amavisd-new, port 10024)",
         ("mail.example.com", "localhost"), "127.0.0.1"),
        ("by mx.example.com ([203.0.113.9]) with SMTP", ("mx.example.com",), "203.0.113.9"),
        ("by pmta.example.com (KumoMTA 10.97.242.83)", ("pmta.example.com",), "10.97.242.83"),
        ("by mail.example.com(MailRouter V3.0n 44/32989362)", ("mail.example.com",), ""),
    ],
)  # fmt: skip
def test_who_took_it(text: str, names: tuple[str, ...], address: str) -> None:
    taker = hop(f"from a {text}{WHEN}").taker
    assert (taker.names, str(taker.address or "")) == (names, address)


@pytest.mark.parametrize(
    ("text", "leap"),
    [
        ("from a by b with SMTP", Leap.NETWORK),
        ("(from joe@localhost) by b (8.11.6/8.11.6) id g8N58OF19984", Leap.LOCAL),
        ("(qmail 1 invoked by uid 0)", Leap.LOCAL),
        ("(qmail 1 invoked from network)", Leap.LOCAL),
        ("by b (Postfix, from userid 1000) id 4A1B2C3D4E", Leap.LOCAL),
        ("from www-data by b with local (Exim 4.96) id 1qZ9aB-000123-0K", Leap.LOCAL),
        ("from mail pickup service by b with Microsoft SMTPSVC", Leap.LOCAL),
        ("from pop.example [192.0.2.1] by localhost with POP3 (fetchmail-6.4)", Leap.LOCAL),
        ("from a.example ([unix socket]) by a.example (Cyrus v2.4) with LMTPA", Leap.LOCAL),
        ("from list@example.org by mailhost with qmail-scanner-1.00", Leap.LOCAL),
        ("from [192.0.2.1] by web1.example.org with HTTP", Leap.LOCAL),
        ("from ours (local socket) by relay.example.com with ESMTP id x", Leap.LOCAL),
        ("by b with SMTP id x15csp123edz", Leap.UNKNOWN),
    ],
)
def test_how_it_came(text: str, leap: Leap) -> None:
    assert hop(f"{text}{WHEN}").leap is leap


def test_the_other_clauses() -> None:
    one = hop(f"from a by b via c with ESMTPS (TLS1.3) id <X.1@b> for <d@example.org>{WHEN}")
    assert (one.via, one.protocol, one.ident, one.recipient) == ("c", "ESMTPS", "<X.1@b>", "d@example.org")
    assert one.moment is not None and one.remarks == ()


def test_exchange_ends_with_via() -> None:
    text = "from a (10.0.0.1) by b (10.0.0.2) with Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.20.1.2"
    one = hop(f"{text} via Frontend Transport{WHEN}")
    assert (one.ident, one.via, one.protocol) == ("15.20.1.2", "Frontend", "Microsoft")
    assert "version=tls1_2" in one.software


def test_a_clause_word_may_be_a_value() -> None:
    one = hop(f"from with (rdns.example [192.0.2.1]) by b{WHEN}")
    assert one.sender.claimed == "with" and one.taker.claimed == "b"


def test_a_date_without_its_semicolon() -> None:
    assert hop("from a by b with SMTP id x Wed, 21 Jun 2023 22:33:14.503 +0000 (UTC)").moment is not None
    assert hop("by b with SMTP id x 2023-06-21 22:33:15.07 +0000 UTC m=+3.8").moment is not None


def test_a_semicolon_before_the_last_is_no_end() -> None:
    one = hop(f"from a by b (c; d) id x; for <e@f>{WHEN}")
    assert one.moment is not None and one.ident == "x"


def test_without_a_date() -> None:
    one = hop("from a by b with SMTP; 22/08/2002 10:25:57")
    assert one.moment is None and "no date" in one.remarks


def test_a_second_from_is_noted_and_the_first_counts() -> None:
    one = hop(f"from a.example by b.example from c.example by d.example{WHEN}")
    assert one.sender.claimed == "a.example" and one.taker.claimed == "b.example"
    assert 'a second "from"' in one.remarks


def test_hops_are_numbered_from_the_oldest() -> None:
    assert [(one.number, one.taker.claimed) for one in hops([f"by new{WHEN}", f"by old{WHEN}"])] == [
        (1, "old"),
        (2, "new"),
    ]


@pytest.mark.parametrize("program", sorted(CHAINS))
def test_every_format_has_its_date_and_its_parts(program: str) -> None:
    for one in hops(CHAINS[program]):
        assert one.moment is not None and one.moment.zoned, one.text
        assert one.remarks == ()
        assert knows_its_parts(one), one


def knows_its_parts(one: Hop) -> bool:
    lower = one.text.lower()
    if one.text.startswith("("):
        return one.leap is not Leap.NETWORK
    if " by " in f" {lower}" and not (one.taker.names or one.taker.addresses):
        return False
    if lower.startswith("from ") and one.leap is Leap.NETWORK:
        return bool(one.sender.names or one.sender.addresses)
    return True


def test_addresses_beyond_the_first_are_kept() -> None:
    one = hop(f"from mx.example (mx.example [192.0.2.1] [192.0.2.2]) by b{WHEN}")
    assert one.sender.addresses == (ip_address("192.0.2.1"), ip_address("192.0.2.2"))


@pytest.mark.parametrize(
    "text",
    [
        "from [203.0.113.5] (helo=[127.0.0.1])",
        "from [203.0.113.5] (helo=127.0.0.1)",
        "from unknown (HELO 127.0.0.1) (203.0.113.5)",
        "from unknown (HELO [127.0.0.1]) (203.0.113.5)",
        "from [127.0.0.1] (unknown [203.0.113.5])",
        "from [127.0.0.1] ([203.0.113.5])",
        "from 127.0.0.1 (203.0.113.5)",
        'from unknown ([203.0.113.5]:25 "EHLO [127.0.0.1]")',
    ],
)
def test_an_address_said_in_helo_is_not_the_one_that_was_seen(text: str) -> None:
    one = hop(f"{text} by mx.example.com{WHEN}")
    assert one.sender.addresses == (ip_address("203.0.113.5"),)
    assert one.sender.claimed == "[127.0.0.1]"
