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


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),  # the other normal form
        ("παράδειγμα.δοκιμή", "xn--hxajbheg2az3al.xn--jxalpdlp"),  # RFC 9476's cousin: IANA's test names
        ("faß.de", "xn--fa-hia.de"),  # RFC 5894 7.2: not fass.de
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("नी\u200d.example", "xn--l2b2c924h.example"),
        ("plain.example", "plain.example"),
    ],
)
def test_a_labels_are_those_of_idna_2008(name: str, encoded: str) -> None:
    assert address.a_labels(name) == encoded
    assert address.domain_of(f"x@{name}.") == encoded


@pytest.mark.parametrize("name", ["ü" * 60, "日本。jp", "ｗｉｄｅ.de", "a\u200b.de", "xn--ü.de", "\u00ad\u00e9.de"])
def test_what_another_name_would_come_of_has_no_a_labels(name: str) -> None:
    with pytest.raises(ValueError):
        address.a_labels(name)
    assert address.domain_of(f"x@{name}") == name.lower(), "and fails in routing"


@pytest.mark.parametrize("one", "\0\t\r\n\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\uffff")
def test_clean_leaves_nothing_that_ends_a_line_or_steers_a_terminal(one: str) -> None:
    assert headers.clean(f"a{one}b é") == "a?b é"


def test_reply_repeats_code_and_enhanced_code_on_every_line() -> None:
    assert reply(250, "2.1.0", "a", "b").to_wire() == b"250-2.1.0 a\r\n250 2.1.0 b\r\n"
    assert reply(354, "", "Go").to_wire() == b"354 Go\r\n"


def test_received_fields_of_the_top_header_alone_are_counted() -> None:
    content = b"Received: a\r\n b\r\nX-Received: n\r\nRECEIVED : c\r\n\r\nReceived: body\r\n"
    assert headers.received_count(content) == 2
    assert headers.received_count(b"\r\nReceived: body\r\n") == 0
    assert headers.clean("a\r\nb\x00") == "a??b?"
