"""mail/: ids sort and never repeat, states and envelopes survive the disk, replies and headers stay one line each."""

import sys
import tracemalloc

import pytest

from fastrelay.errors import MisuseError
from fastrelay.mail import address, envelope, headers, ident, state
from fastrelay.mail.reply import reply


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    source = ident.IdentSource()
    ids = [source.fresh(wall=1_000 + n / 1000) for n in range(2_000)]
    assert len(set(ids)) == 2_000 and ids == sorted(ids)
    assert ident.born(ids[5]) == pytest.approx(1_000.005)


def test_an_id_survives_its_text_and_a_bad_one_is_named() -> None:
    one = ident.IdentSource().fresh()
    assert ident.from_text(ident.to_text(one)) == one
    with pytest.raises(MisuseError, match="'nonsense' is not a message id"):
        ident.from_text("nonsense")


def test_an_encoded_envelope_takes_the_memory_of_its_octets() -> None:
    envelope.encode(envelope.Envelope("a" * 400, (), 1.5))  # its room is there
    for length in range(0, 400, 7):
        octets = envelope.encode(envelope.Envelope("a" * length, (), 1.5))
        assert envelope.decode(octets).sender == "a" * length
        assert sys.getsizeof(octets) == sys.getsizeof(b"") + len(octets)
        tracemalloc.start()
        kept = envelope.encode(envelope.Envelope("a" * length, (), 1.5))
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken <= sys.getsizeof(kept) + 8, "the allocator rounds up, the encoder must not"


def test_envelope_survives_and_unknown_keys_are_passed_over() -> None:
    import msgspec

    one = envelope.Envelope(
        "a@b.test", (envelope.Recipient("c@D.test", orcpt="rfc822;x"),), 1.5, helo="h", arriving=0.25
    )
    octets = envelope.encode(one)
    assert envelope.decode(octets) == one
    later = msgspec.msgpack.decode(octets) | {"tenant": "t1"}
    assert envelope.decode(msgspec.msgpack.encode(later)) == one
    assert one.recipients[0].domain == "d.test"


def test_state_survives_and_an_ended_recipient_takes_one_octet() -> None:
    one = state.State(3, (int(state.Status.DELIVERED), state.Waiting(2, 99.5, "451 later")), "why")
    assert state.decode(state.encode(one)) == one and not one.ended
    many = state.State(1, (int(state.Status.DELIVERED),) * 1000)
    assert len(state.encode(many)) < 1_020 and many.ended


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("a@B.Test.", "b.test"),
        ('"x@y"@c.test', "c.test"),
        ("a@[192.0.2.1]", "[192.0.2.1]"),
        ("a@bücher.test", "xn--bcher-kva.test"),
    ],
)
def test_domain_of(text: str, domain: str) -> None:
    assert address.domain_of(text) == domain


def test_reply_repeats_code_and_enhanced_code_on_every_line() -> None:
    assert reply(250, "2.1.0", "a", "b").to_wire() == b"250-2.1.0 a\r\n250 2.1.0 b\r\n"
    assert reply(354, "", "Go").to_wire() == b"354 Go\r\n"


def test_received_fields_of_the_top_header_alone_are_counted() -> None:
    content = b"Received: a\r\n b\r\nX-Received: n\r\nRECEIVED : c\r\n\r\nReceived: body\r\n"
    assert headers.received_count(content) == 2
    assert headers.received_count(b"\r\nReceived: body\r\n") == 0
    assert headers.clean("a\r\nb\x00") == "a??b?"
