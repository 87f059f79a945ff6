"""`fastrelay demo` from one end to the other: everything accounted for, nothing left behind."""

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.peers import debian
from tests.peers.relay_process import PROGRAM


def demo(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    env = debian.environment(TMPDIR=str(tmp_path))
    return debian.run([*PROGRAM, "demo", "--messages", "200", *words], seconds=120, env=env)


def test_every_message_is_accounted_for(tmp_path: Path) -> None:
    done = demo(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["good"] and told["accepted"] == told["delivered"] == 200
    assert told["lost"] == told["twice"] == told["queued"] == told["refused"] == 0
    assert len(told["domains"]) == 5 and all(one["delivered"] for one in told["domains"].values())
    assert told["domains"]["busy.example"]["deferred"] > 0
    assert told["accept_ms"]["count"] == told["delivery_ms"]["count"] == 200
    assert list(tmp_path.iterdir()) == []


def test_the_table_and_a_folder_to_look_into(tmp_path: Path) -> None:
    done = demo(tmp_path, "--keep")
    assert done.returncode == 0, done.stderr
    assert b"every accepted message arrived, once" in done.stdout and b"backup.example" in done.stdout
    (folder,) = tmp_path.iterdir()
    assert str(folder).encode() in done.stderr
    kinds = [json.loads(line)["type"] for line in (folder / "events.jsonl").read_text().splitlines()]
    assert kinds.count("Reception") == kinds.count("Delivery") == 200
    assert (folder / "fastrelay.toml").exists() and (folder / "spool").is_dir()


def test_a_relay_that_dies_is_told_and_fails(tmp_path: Path) -> None:
    env = debian.environment(TMPDIR=str(tmp_path))
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--messages", "1000000"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        pids = []

        def started() -> bool:
            pids[:] = [int(file.read_text() or 0) for file in tmp_path.glob("*/run/fastrelay.pid")]
            events = [file for file in tmp_path.glob("*/events.jsonl") if file.stat().st_size]
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
