"""The pages of docs/ as a reader types them: their blocks, and a shell that runs their commands one after the other.

A fenced block is one of
  ```console            commands behind "$ ", each with its output below; all are run, in the order of the pages
  ```toml [FILE]        a configuration; with FILE, the reader saves it under that name before he goes on
  ```text FILE          a file to save
  ```sh no-run          commands for another machine: not run, but the options of `fastrelay` in them must exist
  ```text               anything else
and `<!-- until: COMMAND -->` is for the runner: it repeats the command until it succeeds, as a reader's pace would.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import warm_program

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ORDER = ("first-mail", "configuration", "tls-and-login", "routing", "queue", "limits", "notices", "events-and-metrics")
ORDER += ("received", "bench")
_PATIENCE = 20.0  # seconds for one command
_READY = ("ready", "listening")  # what a program that stays says when it can be used

_FENCE = re.compile(r"^```(\w+)(?: ([^\n`]+))?\n(.*?)^```$|^<!-- until: (.*?) -->$", re.MULTILINE | re.DOTALL)


@dataclass(slots=True)
class Block:
    """kind: the word behind the fence, or "until"; start and end: where its text stands on the page."""

    kind: str
    note: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class Step:
    """One command of a console block, with its output as the page shows it."""

    command: str
    shown: str


def pages() -> list[Path]:
    """Every page there is."""
    return sorted(DOCS.glob("*.md"))


def blocks(text: str) -> list[Block]:
    """The blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        if match[4] is not None:
            found.append(Block("until", "", match[4], match.start(4), match.end(4)))
        else:
            found.append(Block(match[1], match[2] or "", match[3], match.start(3), match.end(3)))
    return found


def steps(text: str) -> list[Step]:
    """The commands of a console block; a command goes on behind a backslash and in a here-document."""
    found: list[Step] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            if here := re.search(r"<<'?(\w+)'?", command):
                while command.rpartition("\n")[2] != here[1]:
                    command += "\n" + next(lines)
            found.append(Step(command, ""))
        else:
            found[-1].shown += line + "\n"
    return found


def written(steps: list[Step]) -> str:
    """The text of a console block."""
    return "".join(f"$ {step.command}\n{step.shown}" for step in steps)


_VOLATILE = (
    (re.compile(r"^ *The generator was busy .*$", re.MULTILINE), ""),  # bench, where nothing else holds it up
    (re.compile(r'"session_id": ?"[^"]*"'), "SESSION"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"), "ID"),
    (re.compile(r"<[^<>@\s]+@app\.example>|\S{40,}=+"), "ID"),
    (re.compile(r"\d+(?:[,.]\d+)*(?:e-\d+)? ?(?:ms|us|min|[smhd]|B|KB|MB|KiB|MiB)?\b"), "0"),
    (re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), 0 \w{3}"), "DAY"),
    (re.compile(r"\b(?:asked|cache)\b"), "told"),
    (re.compile(r"[─━-]{3,}"), "---"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\b0(?: 0)+\b"), "0"),
    (re.compile(r" +$", re.MULTILINE), ""),
)


def shape(output: str) -> str:
    """An output without what differs from run to run: ids, numbers with their units, days, widths of columns."""
    for pattern, word in _VOLATILE:
        output = pattern.sub(word, output)
    return output.strip()


@dataclass
class Reader:
    """One who types: a shell in `folder`, and the programs left running in it. The pages' ports are others there."""

    folder: Path
    ports: dict[str, int]  # those of the pages -> those of this run
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("docs", "deploy"):
            (self.folder / name).symlink_to(ROOT / name)
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STAGE_PORTS": ",".join(map(str, self.ports.values())),
            "COLUMNS": "120",
            "LC_ALL": "C.UTF-8",
        }
        warm = self.folder / "warm"
        warm.mkdir()
        for name in ("asked", "answered"):
            os.mkfifo(warm / name)
        self._environment["WARM"] = str(warm)
        command = [sys.executable, "-m", "tests.peers.warm_program", str(warm)]
        self.running.append(subprocess.Popen(command, cwd=ROOT, env=self._environment, start_new_session=True))
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=self.folder, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

        assert self._shell.stdin is not None
        self._shell.stdin.write(warm_program.SHELL.encode())

    def save(self, name: str, text: str) -> None:
        """A file of the page."""
        (self.folder / name).write_text(self._ours(text), encoding="utf-8")

    def run(self, command: str) -> tuple[str, int]:
        """Output, as the page would show it, and exit code. What ends in "&" is left running once it is ready."""
        if command.endswith(" &"):
            return self._leave(command[:-2]), 0
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{{ {self._ours(command)}\n}} </dev/null\necho :$?:the-end\n".encode())
        self._shell.stdin.flush()
        octets = b""
        latest = time.monotonic() + _PATIENCE
        os.set_blocking(self._shell.stdout.fileno(), False)
        while not octets.endswith(b":the-end\n"):
            assert time.monotonic() < latest, f"{command}: {octets.decode(errors='replace')}"
            octets += self._shell.stdout.read() or b""
            time.sleep(0.005)
        output, _, code = octets.decode()[: -len(":the-end\n")].rpartition(":")
        return self._theirs(output), int(code)

    def until(self, command: str) -> None:
        """Repeat it until it succeeds."""
        latest = time.monotonic() + _PATIENCE
        while self.run(command)[1]:
            assert time.monotonic() < latest, f"never true: {command}\n{self.said()}"

    def said(self) -> str:
        """What the programs left running have said, and the last event lines: for a failure."""
        files = [*sorted(self.folder.glob("said.*")), self.folder / "stage/events.jsonl"]
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    def end(self) -> None:
        """Everything that was left running ends."""
        ours = [self._shell, *self.running]
        for process in ours:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in ours:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def _leave(self, command: str) -> str:
        said = self.folder / f"said.{len(self.running)}"
        with said.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", "exec " + self._ours(command)], cwd=self.folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.running.append(process)
        latest = time.monotonic() + _PATIENCE
        while not (any(word in said.read_text() for word in _READY) and said.read_text().endswith("\n")):
            assert process.poll() is None and time.monotonic() < latest, f"{command}: {said.read_text()}"
            time.sleep(0.01)
        return self._theirs(said.read_text())

    def _ours(self, text: str) -> str:
        for page, here in self.ports.items():
            text = re.sub(rf"(?<=:){page}\b|\bport = {page}\b", lambda m, p=page, h=here: m[0].replace(p, str(h)), text)
        return text.replace("fastrelay send ", f"fastrelay send --server 127.0.0.1:{self.ports['2525']} ")

    def _theirs(self, text: str) -> str:
        text = text.replace(f"{self.folder}/", "").replace(f"{ROOT}/", "")
        for page, here in self.ports.items():
            text = re.sub(rf"\b{here}\b", page, text)
        return re.sub(rf"\b{re.escape(socket.gethostname())}\b", "app.example", text).replace("\t", "    ")
