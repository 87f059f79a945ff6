"""The trail under any header section: a verdict or Unreadable, the same whatever stands around the fields, never a
score for what our own hosts wrote, and never trust that a stranger's text opened."""

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.trail.fields import Unreadable, received_fields
from fastrelay.trail.judge import Standing, judge
from fastrelay.trail.known import Known
from fastrelay.trail.networks import network
from tests.fuzz.effort import effort
from tests.peers.trails import CHAINS

BODIES = [body for chain in CHAINS.values() for body in chain]
SPLINTERS = st.sampled_from([
    "from ", " by ", " with ", " id ", " for ", ";", "(", ")", "[", "]", "<", '"', "helo=", "HELO ", "127.0.0.1",
    "[10.0.0.1]",
    "(Postfix)", "in.example.com", "Mon, 1 Jan 2001 00:00:00 +0000", "\t", "\x00", "é", "\u202e",
]) | st.text(max_size=6)  # fmt: skip
MADE = st.lists(SPLINTERS, max_size=30).map("".join)
BENT = st.tuples(st.sampled_from(BODIES), st.integers(0, 400), st.integers(0, 40), SPLINTERS).map(
    lambda one: one[0][: one[1]] + one[3] + one[0][one[1] + one[2] :]
)
FIELD = st.sampled_from(BODIES) | MADE | BENT
SECTION = st.lists(FIELD, min_size=1, max_size=8)
WHEN = "; Wed, 25 Nov 2026 12:00:00 +0000"
ARRIVAL = "from x (unknown [203.0.113.66]) by in.example.com (Postfix) with SMTP id 4A1B2C3D4E" + WHEN
HOUSE = Known((network("10.0.0.0/8"), network("127.0.0.0/8")), frozenset({"in.example.com"}))


def octets_of(bodies: list[str], ends: bytes = b"\r\n") -> bytes:
    """As a header section; what would end a line is a space."""
    flat = [" ".join(body.split()) for body in bodies]
    return b"".join(b"Received: " + body.encode("utf-8", "replace") + ends for body in flat)


@effort(40)
@given(SECTION, st.floats(0, 4e9))
def test_a_verdict_for_every_section(bodies: list[str], now: float) -> None:
    trail = judge(received_fields(octets_of(bodies)), known=HOUSE, now=now)
    assert len(trail.hops) == len(bodies) and 1 <= trail.last_trusted <= len(bodies)
    assert trail.score >= 0 and [one.hop.number for one in trail.hops] == list(range(1, len(bodies) + 1))
    assert trail.suspicious == (trail.score >= 1)


@effort(30)
@given(SECTION)
def test_line_ends_and_other_fields_change_nothing(bodies: list[str]) -> None:
    plain = judge(received_fields(octets_of(bodies)))
    other = judge(
        received_fields(b"X-A: b\n c\n" + octets_of(bodies, b"\nX-Received: by evil.example; x\n") + b"\nReceived: no")
    )
    assert (plain.score, [one.hop for one in plain.hops]) == (other.score, [one.hop for one in other.hops])


@effort(40)
@given(SECTION)
def test_nothing_a_stranger_wrote_is_believed(bodies: list[str]) -> None:
    """Our newest line tells of a stranger at a public address: whatever it brought along stays what it said."""
    trail = judge(received_fields(octets_of([ARRIVAL, *bodies])), known=HOUSE)
    assert trail.last_trusted == len(trail.hops)
    assert all(one.standing is Standing.SAID for one in trail.hops[:-1])


@effort(40)
@given(SECTION)
def test_what_stands_above_the_border_does_not_count(bodies: list[str]) -> None:
    trail = judge(received_fields(octets_of(bodies)), known=HOUSE)
    assert all(not found.weight for one in trail.hops if one.hop.number > trail.last_trusted
               and one.standing is Standing.OURS for found in one.findings)  # fmt: skip


@effort(40)
@given(st.binary(max_size=600) | SECTION.map(octets_of))
def test_any_octets(octets: bytes) -> None:
    try:
        bodies = received_fields(octets)
    except Unreadable:
        return
    assert bodies and all(char.isprintable() for body in bodies for char in body)
    judge(bodies)
