"""Processes of a measurement: started in a session of their own, watched through /proc, ended by their own pid."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from bench import cgroup

TICK = os.sysconf("SC_CLK_TCK")
_numbers = count()
_REAPER = Path(__file__).parent / "reaper.py"
SETTLED = 1.5  # seconds after the last delivery: bookkeeping (syncs, unlinks, log lines) belongs to the messages


class Broken(Exception):
    """The measurement cannot be trusted or cannot go on; says why."""


class Program:
    """A running program and all its descendants. `output` is the file with what it printed.

    only_out: what it says on stderr is not kept. orphans: keep those that outlive their parent in the family.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        output: Path,
        env: dict[str, str],
        *,
        only_out: bool = False,
        orphans: bool = False,
    ) -> None:
        self.output = output
        self.name = Path(command[0]).name
        self._group = cgroup.Group.make(f"fastrelay-bench-{os.getpid()}-{next(_numbers)}") if orphans else None
        if orphans:
            command = [sys.executable, _REAPER, *command]
        with output.open("wb") as file, open(os.devnull, "wb") as nowhere:
            self._process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file,
                stderr=nowhere if only_out else file, env=env, start_new_session=True,
                preexec_fn=self._group.join if self._group else None,
            )  # fmt: skip
        self.pid = self._process.pid

    def check_alive(self) -> None:
        """Broken, with the last line it printed, when it has ended."""
        if self._process.poll() is not None:
            said = self.output.read_bytes()[-500:].decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise Broken(f"{self.name} ended with {self._process.returncode}: {said}")

    def wait(self, seconds: float) -> float:
        """Wait for its end with code 0; its CPU seconds (user + system, waited-for children included)."""
        latest = time.monotonic() + seconds
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > latest:
                raise Broken(f"{self.name} still runs after {seconds:.0f} s")
            time.sleep(0.005)
        if self._process.returncode:
            self.check_alive()
        return usage.ru_utime + usage.ru_stime

    def family(self) -> list[int]:
        """Its pid and those of all living descendants."""
        parents: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(int(entry))):
                parents[int(entry)] = int(fields[1])
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self) -> float:
        """Seconds of user and system time of the family, and of what its members waited for.

        /proc/PID/stat cuts each field to 10 ms, too coarse for a hundred processes; schedstat counts nanoseconds, but
        only of threads that live. Of each process the larger is taken; what was waited for is in ticks alone. With
        `orphans` and a control group of its own the kernel's count for that is given.
        """
        if self._group:
            return self._group.cpu()
        total = 0.0
        for pid in self.family():
            if fields := _stat(pid):
                own, waited_for = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))  # utime stime, c*
                total += max(own / TICK, _threads(pid)) + waited_for / TICK
        return total

    def memory(self) -> tuple[int, int]:
        """(RSS, PSS) of the family in octets. PSS counts a shared page once, so it is what the machine gives."""
        rss = pss = 0
        for pid in self.family():
            for line in _smaps(pid):
                if line.startswith("Rss:"):
                    rss += int(line.split()[1]) * 1024
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1]) * 1024
        return rss, pss

    def private(self) -> int:
        """Octets of the family that would be free without it: what its members share counts for none."""
        return sum(
            int(line.split()[1]) * 1024
            for pid in self.family()
            for line in _smaps(pid)
            if line.startswith(("Private_Clean:", "Private_Dirty:"))
        )

    def signal(self, number: signal.Signals) -> None:
        """To the process alone."""
        self._process.send_signal(number)

    def end(self) -> None:
        """TERM to the process, and after 15 s KILL to the family; then nothing of its session is left."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                for pid in reversed(self.family()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # the session is ours alone: descendants that outlived their parent
        if self._group:
            self._group.remove()


@contextmanager
def running(command: Sequence[str | Path], output: Path, env: dict[str, str], **options: bool) -> Iterator[Program]:
    """A program for the length of a block."""
    program = Program(command, output, env, **options)
    try:
        yield program
    finally:
        program.end()


def settle() -> None:
    """Give a relay time to finish what it does behind a delivery."""
    time.sleep(SETTLED)


def _smaps(pid: int) -> list[str]:
    """Lines of /proc/PID/smaps_rollup; [] when it is gone."""
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return []


def _threads(pid: int) -> float:
    """Seconds on a processor of the threads of a process that live; 0.0 where the kernel does not tell."""
    nanoseconds = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            nanoseconds += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return nanoseconds / 1e9


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; [] when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
