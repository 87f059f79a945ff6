"""The committer between tasks and a journal on a real directory: what is in one batch, in what order, what fails."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.mail import envelope as envelopes
from fastrelay.mail.ident import IdentSource
from fastrelay.runtime import tasks
from fastrelay.spool.format import MAX_BATCH_MESSAGES, MESSAGE, UPDATE
from fastrelay.spool.frames import Frame
from fastrelay.spool.journal import Journal
from fastrelay.spool.journal_thread import RIDE, ThreadedCommitter
from fastrelay.spool.trip import Group, Trip
from tests.peers.strongbox import KIB, TellingDisk, envelope, finished, until

IDS = IdentSource()


def message(size: int = 100) -> Group:
    return Group([Frame(MESSAGE, IDS.fresh(), envelopes.encode(envelope()), b"", 0, b"", [b"x" * size], size)])


class Bench:
    """A threaded committer; `gate` cleared makes the disk wait before each write."""

    def __init__(self, folder: Path, completion_sync: float = 1.0) -> None:
        self.disk = TellingDisk()
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.disk.before = self._pass
        self.trips: list[Trip] = []
        self.sizes: list[int] = []  # messages of each trip that was written
        self.order: list[bytes] = []
        journal = Journal(
            self.disk, str(folder), segment_size=64 * KIB, durable=True, number=0, wall=lambda: 1_700_000_000.0
        )
        self.committer = ThreadedCommitter(journal, self._settle, completion_sync)

    def _pass(self, verb: str, name: str) -> None:
        if verb == "write":
            self.at_gate.set()
            assert self.gate.wait(30)

    def _settle(self, trip: Trip) -> None:
        self.trips.append(trip)
        if trip.error is None and trip.groups:
            self.sizes.append(sum(group.messages for group in trip.groups))
            self.order += [frame.ident for group in trip.groups for frame in group.frames]

    def submit_all(self, groups: list[Group]) -> list[tasks.Task]:
        return [tasks.spawn(self._submit, group) for group in groups]

    def _submit(self, group: Group) -> None:
        try:
            self.committer.submit(group)
        except MachineShort as error:
            assert group.error is error


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.gate.set()
    one.committer.close()


def test_what_is_handed_in_during_one_turn_is_one_batch_in_the_order_given(bench: Bench) -> None:
    groups = [message() for _ in range(40)]
    finished(bench.submit_all(groups))
    assert bench.sizes == [40] and bench.order == [group.frames[0].ident for group in groups]


def test_what_comes_while_the_thread_is_at_the_disk_is_the_next_batch(bench: Bench) -> None:
    bench.gate.clear()
    first = bench.submit_all([message()])
    until(bench.at_gate.is_set)
    later = bench.submit_all([message() for _ in range(5)])
    tasks.sleep(0)
    later += bench.submit_all([message() for _ in range(5)])
    tasks.sleep(0)
    bench.gate.set()
    finished(first + later)
    assert bench.sizes == [1, 10]


def test_a_batch_is_bounded_and_the_rest_follows_by_itself(bench: Bench) -> None:
    finished(bench.submit_all([message(10) for _ in range(MAX_BATCH_MESSAGES + 10)]))
    assert bench.sizes == [MAX_BATCH_MESSAGES, 10]


def test_each_batch_is_written_before_it_is_synced_and_heard_of_after(bench: Bench) -> None:
    finished(bench.submit_all([message()]))
    verbs = [verb for verb, _ in bench.disk.deeds]
    assert verbs[-2:] == ["write", "sync"]
    assert bench.trips[-1].synced


def test_a_full_disk_fails_all_of_the_batch_and_what_rode_with_it_is_written_when_it_works_again(bench: Bench) -> None:
    finished(bench.submit_all([message()]))
    record = Frame(UPDATE, IDS.fresh(), b"", b"state", 1)
    bench.disk.fail = lambda verb, name: OSError(errno.ENOSPC, "full") if verb == "write" else None
    bench.committer.ride(record)
    groups = [message(), message()]
    finished(bench.submit_all(groups))
    assert {type(group.error) for group in groups} == {MachineShort}
    assert {group.error.code for group in groups if isinstance(group.error, MachineShort)} == {452}
    assert bench.committer.failing is not None
    bench.disk.fail = lambda verb, name: None
    until(lambda: bench.committer.failing is None)
    until(lambda: not bench.committer.statistics()["riding"])
    written = [frame for trip in bench.trips if trip.error is None for frame in trip.records]
    assert record in written, "a record outlives the batch it first rode with"
    after = message()
    finished(bench.submit_all([after]))
    assert after.error is None and bench.sizes == [1, 1]


def test_a_record_alone_is_written_long_before_it_is_synced(tmp_path: Path) -> None:
    """It waits for 5 ms, not for a batch: here before an alarm of a hundred times that."""
    one = Bench(tmp_path, completion_sync=30.0)
    try:
        finished(one.submit_all([message()]))
        one.committer.ride(Frame(UPDATE, IDS.fresh(), b"", b"state", 1))
        rung: list[bool] = []
        alarm = tasks.Alarm(100 * RIDE, lambda: rung.append(True))
        until(lambda: any(trip.records for trip in one.trips) or bool(rung))
        alarm.close()
        assert not rung
    finally:
        one.committer.close()


def test_records_alone_are_written_without_a_sync_and_synced_later(tmp_path: Path) -> None:
    one = Bench(tmp_path, completion_sync=0.05)
    try:
        finished(one.submit_all([message()]))
        syncs = [verb for verb, _ in one.disk.deeds].count("sync")
        one.committer.ride(Frame(UPDATE, IDS.fresh(), b"", b"state", 1))
        until(lambda: any(trip.records for trip in one.trips))
        assert [verb for verb, _ in one.disk.deeds].count("sync") == syncs
        until(lambda: one.trips[-1].synced and not one.trips[-1].records)
        assert [verb for verb, _ in one.disk.deeds].count("sync") == syncs + 1
    finally:
        one.committer.close()
