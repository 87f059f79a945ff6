"""docs/ and README.md hold: commands run and print what the pages show, settings are read, names and links exist.

FASTRELAY_DOCS=write writes the outputs of this run into the pages, where they parted from what stands there.
"""

import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from fastrelay.cli.main import Commands
from fastrelay.config import Listener, parse, reading
from fastrelay.metrics import METRICS
from tests.peers import debian, pages
from tests.peers.pages import DOCS, ROOT, Reader

WRITE = "FASTRELAY_DOCS"
ALL = [*pages.pages(), ROOT / "README.md"]
KEYS = {name: reading.keys_of(kind) for name, kind in {**reading.TABLES, "listener": Listener}.items()}
SECTIONS = tuple(KEYS)
TOGETHER = [DOCS / f"{name}.md" for name in pages.ORDER]


def indented(text: str) -> Iterator[str]:
    """The indented blocks of a page (README's)."""
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE):
        yield "\n".join(line[4:] for line in block.splitlines())


def commands(text: str) -> Iterator[list[str]]:
    """Every `fastrelay ...` of a page, in blocks and between backticks, as words."""
    found = [block.text for block in pages.blocks(text) if block.kind in ("console", "sh")]
    found += [block for block in indented(text) if "[server]" not in block]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]
    for line in "\n".join(found).replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|[|;]", line.removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                words = part.split()
            for at, word in enumerate(words):
                as_name = at > 0 and words[at - 1].startswith("-")  # of a user or group
                if not as_name and (word == "fastrelay" or word.endswith("/bin/fastrelay")):
                    yield words[at + 1 :]
                    break


def unknown(words: list[str]) -> str:
    """The first word that is no subcommand or option of the program, "" if there is none."""
    command: click.Command = Commands("fastrelay")
    context = click.Context(command)
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            inner = command.get_command(context, word)
            if inner is None:
                return word if word.isalpha() and word.islower() else ""
            command = inner
        elif word.startswith("-") and word != "-":
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            if word.partition("=")[0] not in known | {"-h", "--help", "--version"}:
                return word
    return ""


def anchors(page: Path) -> set[str]:
    """Where a link into a page may lead."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def metrics_table() -> str:
    """METRICS as the page shows them."""
    rows = ["| metric | labels | unit | |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `fastrelay_{metric.name}` ({metric.kind.value}) | {labels} | {metric.unit} | {metric.help} |")
    return "\n".join(rows) + "\n"


def put(page: Path, text: str) -> None:
    page.write_text(text, encoding="utf-8")


def test_what_the_pages_say_happens(tmp_path: Path) -> None:
    """9 s, more on a busy machine: some sixty commands against a relay and docs/stage.py, four programs to start."""
    for program in ("curl", "openssl"):
        debian.need(program)
    write = os.environ.get(WRITE) == "write"
    reader = Reader(tmp_path, {port: debian.free_port() for port in ("2525", "2526", "5300", "8025")})
    parted = []
    try:
        for page in TOGETHER:
            text = page.read_text(encoding="utf-8")
            new = []
            for block in pages.blocks(text):
                if block.kind == "until":
                    reader.until(block.text)
                elif block.kind in ("toml", "text") and block.note:
                    reader.save(block.note, block.text)
                elif block.kind == "console":
                    steps = pages.steps(block.text)
                    for step in steps:
                        output, code = reader.run(step.command)
                        assert code == 0, f"{page.name}: {step.command}: exit code {code}\n{output}"
                        if pages.shape(output) != pages.shape(step.shown):
                            parted.append(f"{page.name}: {step.command}\n{output}\ninstead of\n{step.shown}")
                            step.shown = "\n".join(line.rstrip() for line in output.splitlines()) + "\n" * bool(output)
                    new.append((block, pages.written(steps)))
            for block, output in reversed(new):
                text = text[: block.start] + output + text[block.end :]
            if write:
                put(page, text)
    finally:
        reader.end()
    assert write or not parted, "\n".join(parted)


def test_every_page_is_walked_or_has_nothing_to_run() -> None:
    for page in pages.pages():
        kinds = {block.kind for block in pages.blocks(page.read_text(encoding="utf-8"))}
        assert page in TOGETHER or "console" not in kinds, page
    assert all(page.exists() for page in TOGETHER)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_settings_are_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = [block.text for block in pages.blocks(text) if block.kind == "toml" and block.note != "wrong.toml"]
    for settings in found + [block for block in indented(text) if "[server]" in block]:
        parse(settings, page.name)


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_keys_exist(page: Path) -> None:
    """`delivery.tls` in the text: is there such a key?"""
    tables = "|".join(SECTIONS)
    for table, key in re.findall(rf"`({tables})\.(\w+)[` ]", page.read_text(encoding="utf-8")):
        assert key in KEYS[table] or key == "sock", f"{table}.{key}"


def test_what_comes_from_postfix_is_called_so_there(tmp_path: Path) -> None:
    """postconf knows every main.cf setting of the table, and a value named with "as there" is its default."""
    postconf = debian.need("postconf", "postfix")
    (tmp_path / "main.cf").touch()
    (tmp_path / "master.cf").touch()
    table = (DOCS / "postfix.md").read_text(encoding="utf-8").partition("| Postfix command |")[0]
    rows = [row.split(" | ") for row in re.findall(r"^\| `.*$", table, re.MULTILINE)]
    names = {name: row[-1] for row in rows for name in re.findall(r"`([A-Za-z_0-9]+)", row[0])}
    names = {name: note for name, note in names.items() if name not in ("master", "permit_mynetworks")}
    assert len(names) > 40
    done = debian.run([postconf, "-c", tmp_path, "-d", *names])
    assert done.returncode == 0 and not done.stderr, done.stderr
    defaults = dict(re.findall(r"^(\w+) = ?(.*)$", done.stdout.decode(), re.MULTILINE))
    said = {name: note for name, note in names.items() if "as there" in note}
    assert len(said) > 3
    for name, note in said.items():
        (number,) = re.findall(r"([\d,]+)(?= min| days|,| as)", note.partition("as there")[0])[:1]
        count = int(number.strip(",").replace(",", "")) * (60 if " min" in note else 1)
        assert str(count) in re.findall(r"\d+", defaults[name]), (name, note, defaults[name])


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [(words, word) for words in commands(page.read_text(encoding="utf-8")) if (word := unknown(words))]
    assert not wrong


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_fences_say_what_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert len(fences) % 2 == 0
    for opened, closed in list(pairwise(fences))[::2]:
        assert opened.split()[0] in ("console", "toml", "text", "sh") and not closed
        assert opened != "sh", "sh no-run, or console"


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in pages.pages()} - {"README.md"} == set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_the_table_of_events_has_every_type() -> None:
    text = (DOCS / "events-and-metrics.md").read_text(encoding="utf-8")
    head = text.partition("The fields:")[0]
    shown = {word for row in re.findall(r"^\| ([A-Z].*?) \|", head, re.MULTILINE) for word in row.split(", ")}
    written = set()
    for source in (ROOT / "fastrelay").rglob("*.py"):
        code = source.read_text(encoding="utf-8")
        written |= set(re.findall(r"(?:write|log|note|line_of)\(\s*\"([A-Z]\w+)\"", code))
    assert shown == written


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    page = DOCS / "events-and-metrics.md"
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- metrics: made by tests/integration/test_docs.py -->\n\n", "\n<!-- end of metrics -->"
    head, _, rest = text.partition(begin)
    table, _, tail = rest.partition(end)
    if os.environ.get(WRITE) == "write":
        put(page, head + begin + metrics_table() + end + tail)
    else:
        assert table == metrics_table()


def test_every_test_that_the_list_of_rfcs_names_exists() -> None:
    sources = list((ROOT / "tests").rglob("test_*.py"))
    names = {source.stem for source in sources}
    for source in sources:
        names |= set(re.findall(r"^ *def (test_\w+)", source.read_text(encoding="utf-8"), re.MULTILINE))
    transcripts = {
        f"{folder.name}/{path.stem}"
        for folder in (ROOT / "tests/dialogues/server", ROOT / "tests/dialogues/client")
        for path in folder.glob("*.txt")
    }
    said = re.findall(r"`([^`]+)`", (DOCS / "rfc.md").read_text(encoding="utf-8"))
    tests = {word for word in said if word.startswith("test_")}
    scripts = {word for word in said if word.startswith(("server/", "client/"))}
    assert len(tests) > 50 and len(scripts) > 50
    assert not tests - names
    assert not scripts - transcripts
