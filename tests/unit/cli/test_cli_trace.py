"""`fastrelay trace`: a line for a person."""

from fastrelay.cli.trace import drawn

LINE = {
    "at": 1.25, "took": 0.0123, "side": "in", "session": "s-1", "address": "192.0.2.1", "from": "server",
    "text": "550 no\x1b[2J",
}  # fmt: skip


def test_a_line_says_when_who_and_what() -> None:
    plain = drawn(LINE, colour=False)
    assert ".250     12.3 ms in  s-1        192.0.2.1       S: 550 no [2J" in plain and "\x1b" not in plain
    assert drawn({**LINE, "from": ""}, colour=False).endswith("-- 550 no [2J")
    assert "C: 550" in drawn({**LINE, "from": "client"}, colour=False)


def test_colours_are_ours_alone_and_end_with_the_line() -> None:
    bad, good = drawn(LINE, colour=True), drawn({**LINE, "text": "250 ok"}, colour=True)
    assert "\x1b[31mS: 550" in bad and "\x1b[32mS: 250" in good and "\x1b[2J" not in bad
    assert bad.endswith("\x1b[0m")
