"""Tables and quantities for people."""

import pytest

from fastrelay.cli import columns


def test_columns_align_and_numbers_stand_right() -> None:
    table = columns.lines(("NAME", "COUNT", "NOTE"), [("a", 5, "x"), ("longer", 12345, "")])
    assert table == ["NAME     COUNT  NOTE", "a            5  x", "longer  12,345"]


def test_a_column_with_a_gap_still_stands_right_and_an_empty_table_has_its_head() -> None:
    assert columns.lines(("N",), [("",), (10,)]) == ["N".rjust(2), "", "10"]
    assert columns.lines(("A", "B"), []) == ["A  B"]


def test_a_terminal_too_narrow_by_little_gets_narrow_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("abc", "def", "ghi")]
    for room, second in ((0, "abc  def  ghi"), (13, "abc  def  ghi"), (12, "abc def ghi"), (3, "abc def ghi")):
        monkeypatch.setattr(columns, "room", lambda room=room: room)
        assert columns.lines(("A", "B", "C"), rows)[1] == second


def test_output_that_is_no_terminal_has_all_the_room() -> None:
    assert columns.room() == 0


def test_what_strangers_wrote_cannot_steer_the_terminal() -> None:
    assert columns.lines(("X",), [("a\x1b[31mb\r\nc",)])[1] == "a [31mb  c"
    assert columns.clean("a\u202eb") == "a b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (4800, "1h 20m"),
     (3601, "1h"), (86400 * 4 + 7300, "4d 2h")],
)  # fmt: skip
def test_span(seconds: float, text: str) -> None:
    assert columns.span(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0B"), (999, "999B"), (1000, "1.0KB"), (5_120_000, "5.1MB"), (10**13, "10000.0GB")]
)
def test_size(octets: int, text: str) -> None:
    assert columns.size(octets) == text


def test_one_of_a_kind_and_many() -> None:
    assert [columns.counted(n, "message") for n in (0, 1, 2000)] == ["0 messages", "1 message", "2,000 messages"]
