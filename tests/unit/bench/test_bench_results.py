"""What is kept of a run: no place of the machine in it, read back as written, tables and plots made of it."""

from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
import pytest

from bench import plots, report, svg, tables
from bench.scenario import Scenario
from tests.unit.bench.test_bench_summary import made, run_of, scenario

FIRST, SECOND = scenario("one_per_connection"), scenario("kept_open", curves={"size": 5120})
LARGE = scenario("large", curves={"size": 102400})
ROUNDS = [
    made(relay, number, rate * number, name, latencies={"accept": {"p50": 1.0, "p99": 20.0, "max": 300.0}}, pss=2**20)
    for name in ("one_per_connection", "kept_open", "large")
    for relay, rate in (("fastrelay", 1000.0), ("postfix", 500.0))
    for number in (1, 2, 3)
]


def test_places_become_names_the_longest_first() -> None:
    places = {"folder": Path("/var/tmp/x"), "deep": Path("/var/tmp/x/y")}
    assert report.portable("a=/var/tmp/x/y/z b=/var/tmp/x/q", places) == "a={deep}/z b={folder}/q"


def test_a_run_is_read_back_as_written(tmp_path: Path) -> None:
    run = run_of(ROUNDS, FIRST, SECOND)
    report.write(run, tmp_path / "deep" / "run.json")
    assert report.read(tmp_path / "deep" / "run.json") == run


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(msgspec.ValidationError):
        report.read(tmp_path / "x.json")


def test_the_name_of_a_run_says_when_its_commit_is_not_all() -> None:
    run = run_of(ROUNDS, FIRST)
    assert run.name == "2026-01-02-0123456789ab"
    changed = msgspec.structs.replace(run, machine=msgspec.structs.replace(run.machine, changed=True))
    assert changed.name == "2026-01-02-0123456789ab-changed"


def test_a_table_has_the_columns_somebody_has_figures_for() -> None:
    heads, rows = report.table_of(run_of(ROUNDS, FIRST, SECOND), FIRST)
    shown = dict(zip(heads, rows[0], strict=True))
    assert shown["relay"] == "fastrelay"
    assert shown["delivered/s"] == "2,000"
    assert shown["lowest-highest"] == "1,000-3,000"
    assert shown["speed / postfix"] == "2.00"
    assert shown["CPU / postfix"] == "0.50"
    assert shown["accept p99 ms"] == "20.0"
    assert "loaded s" not in heads


def test_a_scenario_nobody_ran_has_no_rows() -> None:
    assert report.table_of(run_of(ROUNDS, FIRST, LARGE, scenario("other")), scenario("other"))[1] == []


def test_store_keeps_the_run_its_page_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "of_an_earlier_run.svg").write_text("x")
    path = tables.store(run_of(ROUNDS, FIRST, SECOND, LARGE))
    assert path == tmp_path / "2026-01-02-0123456789ab.json"
    page = (tmp_path / "latest.md").read_text()
    assert "| fastrelay | 2,000 |" in page
    for picture in tmp_path.glob("*.svg"):
        assert f"]({picture.name})" in page
        ElementTree.fromstring(picture.read_text())
    assert {picture.stem for picture in tmp_path.glob("*.svg")} == {
        "throughput", "cpu", "cost_by_size", "latency_accept_one_per_connection", "latency_accept_kept_open",
        "latency_accept_large",
    }  # fmt: skip


def test_the_table_of_the_readme_stands_between_its_markers() -> None:
    text = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    made_text = tables.between_markers(text, tables.excerpt(run_of(ROUNDS, FIRST, SECOND)))
    assert made_text.startswith("before\n") and made_text.endswith("\nafter\n")
    assert "| fastrelay 1 | 2,000 | 0.00 | 2,000 | 0.00 |" in made_text
    assert "old" not in made_text
    with pytest.raises(click.ClickException):
        tables.between_markers("no markers", "x")


def test_a_curve_needs_two_points() -> None:
    run = run_of(ROUNDS, FIRST, SECOND)
    assert "cost_by_size" not in plots.draw(run)


def test_words_of_a_plot_are_escaped() -> None:
    drawn = svg.bars("a < b & c", {"<g>": {"it's": 1.0}})
    root = ElementTree.fromstring(drawn)
    assert "a < b & c" in [element.text for element in root.iter() if element.text]


@pytest.mark.parametrize("log", [False, True])
def test_lines_stay_inside_the_picture(log: bool) -> None:
    drawn = svg.lines(
        "t", {"one": [(1.0, 0.5), (1e6, 2000.0)], "two": [(10.0, 3.0)]}, x_name="x", y_name="y", log_x=log, log_y=log
    )
    root = ElementTree.fromstring(drawn)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 3
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width and 0 <= float(circle.attrib["cy"]) <= height


def test_one_value_for_all_is_drawn() -> None:
    ElementTree.fromstring(svg.lines("t", {"one": [(5.0, 2.0), (5.0, 2.0)]}, x_name="x", y_name="y", log_y=True))


def test_plots_leave_out_what_was_not_run() -> None:
    empty = run_of([], Scenario(name="one_per_connection", title="t", order=1))
    assert plots.draw(empty) == {}
