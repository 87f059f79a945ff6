import msgspec

from fastrelay.load.message import UNMEASURED
from fastrelay.load.tally import Tally


def _seen(*messages: tuple[str, list[bytes]]) -> Tally:
    tally = Tally(keep_pairs=True)
    for n, (ident, recipients) in enumerate(messages):
        tally.arrived(100.0 + n, 1000, recipients, ident, 99.0)
    return tally


def test_difference_names_what_is_lost_doubled_and_unknown() -> None:
    tally = _seen(("r-1", [b"a@x", b"b@x"]), ("r-1", [b"a@x"]), ("r-9", [b"a@x"]))
    difference = tally.difference(["r-1 a@x", "r-1 b@x", "r-2 a@x"])
    assert difference == (["r-2 a@x"], {"r-1 a@x": 2}, ["r-9 a@x"])


def test_merged_over_processes_finds_what_each_saw_once() -> None:
    one, two = _seen(("r-1", [b"a@X"])), _seen(("r-1", [b"a@X"]), ("", [b"b@y"]))
    one.merge(Tally.from_wire(msgspec.json.decode(msgspec.json.encode(two.to_wire()))))
    shown = one.statistics()
    assert (shown["messages"], shown["unmarked"], shown["unique"], shown["duplicates"]) == (3, 1, 1, 1)
    assert shown["domains"] == {"x": 2, "y": 1}
    assert shown["seconds"] == 1.0 and shown["end_to_end_ms"]["count"] == 2


def test_an_empty_tally_does_not_move_the_times() -> None:
    tally = _seen(("r-1", [b"a@x"]))
    tally.merge(Tally())
    assert (tally.started, tally.ended) == (100.0, 100.0)


def test_messages_of_a_warmup_are_not_measured() -> None:
    tally = _seen(("r-1", [b"a@x"]))
    tally.arrived(101.0, 1000, [b"a@x"], "r-2", UNMEASURED)
    assert (tally.messages, tally.unmarked, tally.latencies.count) == (2, 0, 1)
