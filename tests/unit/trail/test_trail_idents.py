"""Queue ids: the shape each program gives them, and the time many write into them."""

import pytest

from fastrelay.trail import idents
from fastrelay.trail.finding import Check
from fastrelay.trail.parse import hop
from fastrelay.trail.places import foreign
from tests.peers.trails import CHAINS


def stamped(text: str) -> tuple[str, float] | None:
    one = hop(text)
    found = idents.stamp(one)
    assert one.moment is not None
    return None if found is None else (found.program, abs(found.at - one.moment.at))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("Sendmail", "from a by b (8.11.6/8.11.6) with ESMTP id g8N5D2C01926; Mon, 23 Sep 2002 06:13:06 +0100"),
        ("Sendmail", "from a by b (8.14.4/8.14.4) with ESMTP id o5Q0qPCF006767; Fri, 25 Jun 2010 18:52:26 -0600"),
        ("Exim", "from a by b with esmtp (Exim 3.36 #1) id 17outV-0000l4-00; Tue, 10 Sep 2002 19:58:09 -0400"),
        ("Postfix", "from a by b (Postfix) with ESMTP id 46sNb25LJNz5nbPF0; Mon, 14 Oct 2019 16:01:18 +0000"),
        ("InterMail", "from a by b (InterMail vM.4) id <20020403160608.EQZZ19155.b@a>; Wed, 3 Apr 2002 11:06:08 -0500"),
        ("Mailgun", "from a by mxa.mailgun.org with ESMTP id 4f68d3e9.4ddcdf0-luna; Tue, 20 Mar 2012 19:00:57 +0000"),
        ("SendGrid", "by recvd with SMTP id recvd-b6w8z-1-64937AAA-5C; Wed, 21 Jun 2023 22:33:15 +0000"),
        ("KumoMTA", "from a by b (KumoMTA 192.0.2.1) with ESMTP id 459cb2c1903011f19f1302c9fa07781d;"
                    " Tue, 4 Aug 2026 18:14:02 +0000"),
        ("Gmail", "by 2002:a05:0:0:0:0:0:1 with SMTP id s18mr1234567wrb.12.1577972645123;"
                  " Thu, 02 Jan 2020 05:44:05 -0800"),
        ("Gmail", "from a by mx.google.com with ESMTPS id z129-v6si8080952wmg.157.2018.10.01.07.01.38;"
                  " Mon, 01 Oct 2018 07:01:38 -0700 (PDT)"),
    ],
)  # fmt: skip
def test_the_time_in_an_id_is_that_of_its_field(program: str, text: str) -> None:
    found = stamped(text)
    assert found is not None and found[0] == program and found[1] < 3600, found


@pytest.mark.parametrize(
    "text",
    [
        "from a by b (Postfix) with ESMTP id 4A1B2C3D4E; Mon, 14 Oct 2019 16:01:18 +0000",
        "from a by b (8.9.3/8.9.3) with ESMTP id BAA09815; Mon, 23 Sep 2002 01:08:17 -0400",
        "from a by b with SMTP; Mon, 23 Sep 2002 01:08:17 -0400",
        "from a by b (OpenSMTPD) with ESMTP id 5a6b7c8d; Mon, 23 Sep 2002 01:08:17 -0400",
        "from a by b (8.11.6/8.11.6) with ESMTP id gzzzzzz01926; Mon, 23 Sep 2002 06:13:06 +0100",
        "from a by b (KumoMTA 192.0.2.1) id 00000000000000000000000000000000; Mon, 23 Sep 2002 06:13:06 +0100",
    ],
)
def test_ids_without_a_time(text: str) -> None:
    assert stamped(text) is None


def checks(text: str) -> list[Check]:
    return [one.check for one in foreign(hop(f"{text}; Wed, 25 Nov 2026 12:00:00 +0000"))]


@pytest.mark.parametrize(
    "text",
    [
        "from a by b (Postfix) with ESMTP id g8N5D2C01926",
        "from a by b (Postfix) with ESMTP id 4a1b2c3d4e",
        "from a by b (8.14.4/8.14.4) with ESMTP id 4A1B2C3D4E",
        "from a by b (8.14.4/8.14.4) with ESMTP id 1qZ9aB-000123-0K",
        "from a by b with esmtp (Exim 4.96) id 4A1B2C3D4E",
        "from a by b (OpenSMTPD) with ESMTP id 4A1B2C3D4E",
        "from a by b (Haraka/3.0.3) with ESMTP id 4A1B2C3D4E",
        "from a by b with Microsoft SMTP Server (TLS) id 4A1B2C3D4E",
        "from a by b (Postfix) with esmtpa (Exim 4.86) id 4CA80EAC911C",
    ],
)
def test_no_program_writes_the_id_of_another(text: str) -> None:
    assert Check.SHAPE in checks(text)


@pytest.mark.parametrize(
    "text",
    [
        "from a by mx.google.com (Postfix) with ESMTP id 4A1B2C3D4E",
        "from a by mx.google.com with ESMTP id 4A1B2C3D4E",
        "from a by x.prod.outlook.com (Postfix) with ESMTP id 4A1B2C3D4E",
        "from a by x.mail.protection.outlook.com with ESMTP (qmail) id 7",
        "from a by mail.example.com with Microsoft SMTP Server (version=TLS1_2) id 15.20.8632.22",
        "from a by mail.example.com with ESMTPS id z129si8080952wmg.157.2018.10.01.07.01.38",
        "by 203.0.113.9 with SMTP id s18mr1234567wrb.12.1577972645123",
    ],
)
def test_what_cannot_run_there(text: str) -> None:
    assert Check.PLACE in checks(text)


@pytest.mark.parametrize("program", sorted(CHAINS))
def test_nothing_is_foreign_in_a_chain_of_its_own(program: str) -> None:
    for body in CHAINS[program]:
        assert list(foreign(hop(body))) == [], body


def test_a_name_is_not_enough_to_be_foreign() -> None:
    assert checks("from a by walnut.corp.google.com (Postfix, from userid 7) id 1F65025772D") == []
    assert checks("from a by mx.example.com with ESMTP id anything-at-all") == []
    assert checks("from a by mx.example.com (Postfix) with ESMTP") == []  # before-queue filters write none
