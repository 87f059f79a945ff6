"""Whole lines from a native thread: bounds, summaries, torn writes, errors that pass."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.runtime import line_writer
from fastrelay.runtime.line_writer import LineWriter


def summary(count: int) -> bytes:
    return b"lost %d\n" % count


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    yield fd, path
    os.close(fd)


def test_before_start_lines_are_written_on_the_spot(file: tuple[int, Path]) -> None:
    writer = LineWriter(file[0], 100, summary)
    assert writer.put(b"one\n")
    assert file[1].read_bytes() == b"one\n"
    assert writer.close(1.0)


def test_lines_arrive_whole_and_in_order(file: tuple[int, Path]) -> None:
    writer = LineWriter(file[0], 10_000_000, summary)
    writer.start()
    lines = [b"%d %s\n" % (n, b"x" * (n % 300)) for n in range(5000)]
    for line in lines:
        assert writer.put(line)
    assert writer.close(5.0)
    assert file[1].read_bytes() == b"".join(lines)
    assert writer.held == 0


@pytest.mark.interpreted
def test_a_pipe_gets_at_most_pipe_buf_of_whole_lines_per_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, fd = os.pipe()
    pieces: list[bytes] = []

    def note(fd: int, octets: bytes) -> int:
        pieces.append(octets)
        return len(octets)

    monkeypatch.setattr(line_writer, "_write_once", note)
    writer = LineWriter(fd, 1_000_000, summary)
    writer.start()
    for n in range(500):
        writer.put(b"%0*d\n" % (n * 7 % 3999, n))
    assert writer.close(5.0)
    os.close(reader)
    os.close(fd)
    assert max(map(len, pieces)) <= 4096
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [int(line) for line in b"".join(pieces).split()] == list(range(500))


def test_a_full_buffer_refuses_counts_and_says_so_once(file: tuple[int, Path]) -> None:
    writer = LineWriter(file[0], 100, summary)
    writer.start()
    taken = [writer.put(b"%08d\n" % n) for n in range(20)]
    assert taken == [True] * 11 + [False] * 9
    assert writer.lost == 9
    writer.flush()
    while writer.held:  # the thread needs no more than its turn
        pass
    assert writer.put(b"after\n")
    assert writer.close(5.0)
    lines = file[1].read_bytes().splitlines()
    assert len(lines) == 13
    assert lines[11:] == [b"lost 9", b"after"]


@pytest.mark.interpreted
def test_a_full_disk_is_told_once_and_retried(file: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "RETRY", 0.001)
    errors: list[OSError] = []
    full = os.open("/dev/full", os.O_WRONLY)
    tries = 0
    once = line_writer._write_once

    def disk(fd: int, octets: bytes) -> int:
        nonlocal tries
        tries += 1
        return once(full if tries < 4 else fd, octets)

    monkeypatch.setattr(line_writer, "_write_once", disk)
    writer = LineWriter(file[0], 1000, summary, errors.append)
    writer.start()
    writer.put(b"kept\n")
    assert writer.close(5.0)
    os.close(full)
    assert file[1].read_bytes() == b"kept\n"
    assert len(errors) == 1


@pytest.mark.interpreted
@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_write_never_mixes_two_lines(file: tuple[int, Path], monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr(line_writer, "RETRY", 0.001)
    once = line_writer._write_once
    script = ["cut", "fail", "go"]

    def disk(fd: int, octets: bytes) -> int:
        what = script.pop(0) if script else "go"
        if what == "cut":
            return once(fd, octets[:cut])
        if what == "fail":
            raise OSError(28, "No space left on device")
        return once(fd, octets)

    monkeypatch.setattr(line_writer, "_write_once", disk)
    writer = LineWriter(file[0], 1000, summary)
    writer.start()
    writer.put(b"alpha\n")
    writer.put(b"bravo\n")
    assert writer.close(5.0)
    lines = file[1].read_bytes().split(b"\n")
    assert lines.count(b"alpha") == (2 if cut == 5 else 1)  # all but its newline was there
    assert lines.count(b"bravo") == (2 if cut == 11 else 1)
    assert all(
        line in (b"", b"alpha", b"bravo") or b"alpha".startswith(line) or b"bravo".startswith(line) for line in lines
    )


def test_close_does_not_wait_for_a_disk_that_stays_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "RETRY", 0.001)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(full, 1000, summary)
    writer.start()
    writer.put(b"never\n")
    thread = writer._writer_thread
    assert thread is not None
    assert not writer.close(0.01)
    thread.join(5.0)
    assert not thread.is_alive()
    os.close(full)


def test_what_one_descriptor_does_not_take_goes_to_the_next(tmp_path: Path) -> None:
    errors: list[OSError] = []
    gone: list[int] = []
    failed, well, moved = threading.Event(), threading.Event(), threading.Event()
    full = os.open("/dev/full", os.O_WRONLY)
    out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def fails(error: OSError) -> None:
        errors.append(error)
        failed.set()

    def done(fd: int) -> None:
        gone.append(fd)
        moved.set()

    writer = LineWriter(full, 10_000, summary, fails, well.set)
    writer.start()
    writer.put(b"one\n")
    writer.flush()
    assert failed.wait(10)
    writer.redirect(out, done)
    writer.put(b"two\n")
    writer.flush()
    assert moved.wait(10) and well.wait(10)
    assert writer.close(10) and gone == [full] and len(errors) == 1
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
    os.close(full)
    os.close(out)
