"""control/transcript.py: lines as they pass, secrets and content never, however the octets are cut."""

import random

import pytest

from fastrelay.control.transcript import LONGEST, Transcript

SECRET = b"AHVzZXIAc2VjcmV0"

Step = tuple[str, bytes]

PLAIN: list[Step] = [
    ("S", b"220 relay ESMTP\r\n"),
    ("C", b"EHLO c\r\n"),
    ("S", b"250-relay\r\n250 AUTH PLAIN LOGIN\r\n"),
    ("C", b"auth plain " + SECRET + b"\r\n"),
    ("S", b"235 2.7.0 ok\r\n"),
    ("C", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
    ("S", b"250 ok\r\n250 ok\r\n354 go\r\n"),
    ("C", b"Subject: x\r\n\r\nhello " + SECRET + b"\r\n.\r\n"),
    ("S", b"250 queued\r\n"),
    ("C", b"QUIT\r\n"),
    ("S", b"221 bye\r\n"),
]
LOGIN: list[Step] = [
    ("S", b"220 relay\r\n"),
    ("C", b"AUTH LOGIN\r\n"),
    ("S", b"334 VXNlcm5hbWU6\r\n"),
    ("C", SECRET + b"\r\n"),
    ("S", b"334 UGFzc3dvcmQ6\r\n"),
    ("C", SECRET + b"\r\n"),
    ("S", b"535 5.7.8 no\r\n"),
    ("C", b"NOOP\r\n"),
    ("S", b"250 ok\r\n"),
]
EAGER: list[Step] = [  # a client that does not wait to be asked, behind a command that is not answered yet
    ("S", b"220 relay\r\n"),
    ("C", b"EHLO c\r\nAUTH LOGIN\r\n" + SECRET + b"\r\n"),
    ("S", b"250 relay\r\n"),
    ("C", SECRET + b"\r\n"),
    ("S", b"334 x\r\n334 y\r\n235 ok\r\n"),
    ("C", b"NOOP\r\n"),
]
BDAT: list[Step] = [
    ("S", b"220 relay\r\n"),
    ("C", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 20 LAST\r\n" + SECRET + b"\r\n\r\nNOOP\r\n"),
    ("S", b"250 ok\r\n250 ok\r\n250 queued\r\n250 ok\r\n"),
]


LONG: list[Step] = [  # RFC 4954 4.: 12,288 octets; a line that comes in pieces is known by its beginning
    ("S", b"220 relay\r\n"),
    ("C", b"AUTH PLAIN " + SECRET * 200 + b"\r\n"),
    ("S", b"334 " + SECRET * 200 + b"\r\n"),
    ("C", SECRET * 200 + b"\r\n"),
    ("S", b"535 5.7.8 no\r\n"),
]


DEAF: list[Step] = [  # one that goes on although it was told that there is no AUTH
    ("S", b"220 relay\r\n"),
    ("C", b"AUTH LOGIN\r\n"),
    ("S", b"503 5.5.1 no\r\n"),
    ("C", SECRET + b"\r\n"),
    ("S", b"500 5.5.1 what?\r\n"),
    ("C", b"noop\r\n"),
    ("S", b"250 ok\r\n"),
]


def told(steps: list[Step], cut: int = 10_000) -> list[str]:
    lines: list[str] = []
    script = Transcript(lambda client, text: lines.append(f"{'C' if client else 'S'}: {text}"))
    for who, octets in steps:
        for start in range(0, len(octets), cut):
            (script.client if who == "C" else script.server)(octets[start : start + cut])
    return lines


@pytest.mark.parametrize("cut", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    "steps", [PLAIN, LOGIN, EAGER, BDAT, LONG, DEAF], ids=["plain", "login", "eager", "bdat", "long", "deaf"]
)
def test_no_secret_and_no_content_at_any_cut(steps: list[Step], cut: int) -> None:
    lines = told(steps, cut)
    assert not any(SECRET.decode() in line or "Subject" in line or "VXNl" in line for line in lines)
    assert lines == told(steps)


def test_what_is_shown() -> None:
    assert told(PLAIN) == [
        "S: 220 relay ESMTP",
        "C: EHLO c",
        "S: 250-relay",
        "S: 250 AUTH PLAIN LOGIN",
        "C: auth plain ***",
        "S: 235 2.7.0 ok",
        "C: MAIL FROM:<a@b>",
        "C: RCPT TO:<c@d>",
        "C: DATA",
        "S: 250 ok",
        "S: 250 ok",
        "S: 354 go",
        "C: (41 octets of content)",
        "S: 250 queued",
        "C: QUIT",
        "S: 221 bye",
    ]
    assert told(LOGIN)[-2:] == ["C: NOOP", "S: 250 ok"], "after the exchange all is shown again"
    assert told(DEAF)[3:] == ["C: ***", "S: 500 5.5.1 what?", "C: noop", "S: 250 ok"]
    assert told([("C", b"WHAT now\r\n")]) == ["C: WHAT now"]
    assert "C: NOOP" in told(EAGER) and told(EAGER).count("C: ***") == 2
    assert told(BDAT)[3:5] == ["C: BDAT 20 LAST", "C: (20 octets of content)"] and "C: NOOP" in told(BDAT)


def test_lines_without_an_end_are_bounded() -> None:
    lines = told([("C", b"x" * 100_000), ("C", b"\r\n"), ("S", b"250 " + b"y" * 5000 + b"\r\n")])
    assert [len(line) - 3 for line in lines] == [LONGEST, LONGEST]


def test_garbage_at_random_raises_nothing() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    script = Transcript(lambda client, text: None)
    pieces = (
        b"AUTH PLAIN x\r\n",
        b"BDAT 5\r\n",
        b"354 go\r\n",
        b"\r\n",
        b"250 ok\r\n",
        b"\xff\n",
        b"BDAT 99999999999999999999\r\n",
    )
    for _ in range(2000):
        octets = chance.choice(pieces) if chance.random() < 0.7 else chance.randbytes(chance.randrange(30))
        chance.choice((script.client, script.server))(octets)
