"""`fastrelay demo` from one end to the other: everything accounted for, nothing left behind."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import debian
from tests.peers.relay_process import PROGRAM


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: the name of a local socket has at most 107 octets, and pytest's folders leave little of that."""
    with tempfile.TemporaryDirectory(prefix="fr-") as path:
        yield Path(path)


def demo(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    env = debian.environment(TMPDIR=str(folder))
    return debian.run([*PROGRAM, "demo", "--messages", "200", *words], seconds=120, env=env)


def test_every_message_is_accounted_for(folder: Path) -> None:
    done = demo(folder, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["good"] and told["accepted"] == told["delivered"] == 200
    assert told["lost"] == told["twice"] == told["queued"] == told["refused"] == 0
    assert len(told["domains"]) == 5 and all(one["delivered"] for one in told["domains"].values())
    assert told["domains"]["busy.example"]["deferred"] > 0
    assert told["accept_ms"]["count"] == told["delivery_ms"]["count"] == 200
    assert list(folder.iterdir()) == []


def test_the_table_and_a_folder_to_look_into(folder: Path) -> None:
    done = demo(folder, "--keep")
    assert done.returncode == 0, done.stderr
    assert b"every accepted message arrived, once" in done.stdout and b"backup.example" in done.stdout
    (folder,) = folder.iterdir()
    assert str(folder).encode() in done.stderr
    kinds = [json.loads(line)["type"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert kinds.count("Reception") == kinds.count("Delivery") == 200
    assert (folder / "fastrelay.toml").exists() and (folder / "spool").is_dir()


def test_a_relay_that_dies_is_told_and_fails(folder: Path) -> None:
    env = debian.environment(TMPDIR=str(folder))
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--messages", "1000000"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        pids = []

        def started() -> bool:
            pids[:] = [int(file.read_text() or 0) for file in folder.glob("*/run/fastrelay.pid")]
            events = [file for file in folder.glob("*/events.jsonl") if file.stat().st_size]
            return bool(pids and pids[0] and events)

        debian.wait_until(started, 60, "the demo's relay to take mail")
        os.kill(pids[0], signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
        assert process.returncode in (69, 75), (out, err)
        assert b"NOT all well" in out or b"the relay has ended" in err
    finally:
        process.kill()
        process.communicate()
