"""A whole house with toy workers: `python house_program.py CONFIG BEHAVIOUR`. The tests of the master run it.

A file `behaviour` in the spool says what the next program that is started shall be like, an upgrade say.

The workers are real in all that concerns the house (row, ledger, life pipe, signals, accepting with balance) and toys
in what they do: greet with their slot and keep the connection until the peer closes it.
"""

import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fastrelay import metrics
from fastrelay.admin import run_admin
from fastrelay.config import load
from fastrelay.control import Control, Door
from fastrelay.errors import FastrelayError, MachineShort, SpoolDamaged
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.state import State, untouched
from fastrelay.process.announce import announce
from fastrelay.process.balance import LOOK_AGAIN
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.process.seat import Seat
from fastrelay.process.spawn import exit_code
from fastrelay.runtime import tasks
from fastrelay.runtime.listener import Listener
from fastrelay.runtime.stream import Stream


class Worker:
    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.sessions = 0
        self.over = tasks.Event()
        self.listeners = [Listener(sock, self.serve, spawn=self.spawn) for _, sock in seat.listeners]
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.signals = read
        self.watches = [
            tasks.DescriptorWatch(read, self.over.set),
            tasks.DescriptorWatch(seat.life_fd, self.over.set),
        ]
        self.tickers = [tasks.Ticker(1.0, self.beat), tasks.Ticker(LOOK_AGAIN, self.balance)]

    def beat(self) -> None:
        self.seat.page.beat(time.monotonic())

    def balance(self) -> None:
        for listener in self.listeners:
            if self.seat.page.may_accept(time.monotonic()):
                listener.start()
            else:
                listener.pause()

    def spawn(self, function: object, stream: Stream) -> None:
        self.count(1)
        tasks.spawn(function, stream)  # type: ignore[arg-type]

    def count(self, change: int) -> None:
        self.sessions += change
        self.seat.page.sessions(self.sessions)
        self.balance()

    def counted(self) -> None:
        """Called for each session."""

    def serve(self, stream: Stream) -> None:
        self.counted()
        try:
            stream.write(f"{self.seat.page.slot} {os.getpid()}\n".encode())
            while stream.read():
                pass
        finally:
            stream.close()
            self.count(-1)

    def run(self) -> int:
        self.balance()
        self.seat.ready()
        self.over.wait()
        return 0


def accepting(seat: Seat) -> int:
    seat.claim(free_slot(seat))
    return Worker(seat).run()


def failing(seat: Seat) -> int:
    seat.claim(free_slot(seat))
    raise MachineShort("the spool is on fire")


def one_fails(seat: Seat) -> int:
    seat.claim(seat.number)
    if seat.number == 1:
        raise MachineShort("worker 1 has no luck")
    return Worker(seat).run()


def hanging(seat: Seat) -> int:
    seat.claim(seat.number)
    seat.ready()
    if seat.number == 0 and not Path(seat.config.spool.path, "hung").exists():
        Path(seat.config.spool.path, "hung").touch()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        while True:
            signal.pause()
    return Worker(seat).run()


class Patient(Worker):
    """Told to end, it accepts nothing more and waits for its last session."""

    def run(self) -> int:
        super().run()
        for watch in self.watches:
            watch.close()  # not the end of the master either: a drain under way
        for ticker in self.tickers[1:]:
            ticker.close()
        for listener in self.listeners:
            listener.close()
        while self.sessions:
            tasks.sleep(0.01)
        return 0

    def balance(self) -> None:
        if not self.over.is_set():
            super().balance()


def free_slot(seat: Seat) -> int:
    """Generations change between the lower and the upper half of the page."""
    return seat.number + (seat.page.slots // 2 if seat.page.pid_of(seat.number) else 0)


def patient(seat: Seat) -> int:
    seat.claim(free_slot(seat))
    return Patient(seat).run()


def hesitant(seat: Seat) -> int:
    """Is not ready before there is a file `go`."""
    seat.claim(free_slot(seat))
    Path(seat.config.spool.path, "hesitating").touch()
    while not Path(seat.config.spool.path, "go").exists():
        seat.page.beat(time.monotonic())
        if select.select([seat.life_fd], [], [], 0.02)[0] and not Path(seat.config.spool.path, "go").exists():
            return 0
    return Worker(seat).run()


def stubborn(seat: Seat) -> int:
    """Ignores TERM and INT and beats on."""
    seat.claim(seat.number)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    seat.ready()
    while True:
        seat.page.beat(time.monotonic())
        time.sleep(0.2)


def holding(seat: Seat) -> int:
    """Takes three of a limit of four from the ledger and says what the total is now."""
    seat.claim(seat.number)
    key = Key("site", ("a",))
    got = sum(bool(seat.ledger.take([(key, Four())], time.monotonic())) for _ in range(3))
    with open(Path(seat.config.spool.path, "taken"), "a") as file:
        file.write(f"{seat.number} {got} {seat.ledger.total(key)}\n")
    return Worker(seat).run()


class Queue:
    """Five messages per slot, in ids that alternate between the slots, and none of a schedule."""

    def __init__(self, slot: int) -> None:
        envelope = Envelope("a@sender.example", (Recipient(f"u@slot{slot}.example"), Recipient("u@both.example")), 1.0)
        idents = [(10 * n + slot).to_bytes(16, "big") for n in range(5)]
        self.open = {ident: (envelope, untouched(2, 1.0)) for ident in idents}

    def page(self, after: bytes | None, limit: int) -> list[bytes]:
        return sorted(ident for ident in self.open if after is None or ident > after)[:limit]

    def envelope(self, ident: bytes) -> Envelope | None:
        return self.open[ident][0] if ident in self.open else None

    def state(self, ident: bytes) -> State:
        return self.open[ident][1]

    def head(self, ident: bytes, most: int) -> bytes:
        raise SpoolDamaged("toys have no content")

    def record_synced(self, records: Sequence[tuple[bytes, State]]) -> None:
        for ident, state in records:
            self.open[ident] = self.open[ident][0], state
            if state.ended:
                del self.open[ident]

    def __len__(self) -> int:
        return len(self.open)


class Answering(Worker):
    """A worker with mail, metrics and a control socket. answer: instead of the verbs'."""

    def __init__(self, seat: Seat, answer: Callable[[object], object] | None = None) -> None:
        slot = seat.page.slot
        Path(seat.config.spool.path, f"slot-{slot:03d}").mkdir(exist_ok=True)
        self.counts = metrics.Counts()
        self.exporter = metrics.Exporter(self.counts, slot)
        queue = Queue(slot)
        self.counts.queue_messages = len(queue)
        super().__init__(seat)
        control = Control(slot, queue, None)
        self.door = Door(answer or control.answer, Path(seat.config.server.runtime_dir, f"slot-{slot:03d}.sock"))

    def counted(self) -> None:
        self.counts.sessions += 1
        self.exporter.flush()

    def beat(self) -> None:
        super().beat()
        self.exporter.flush()


def answering(seat: Seat) -> int:
    seat.claim(seat.number)
    return Answering(seat).run()


def one_is_deaf(seat: Seat) -> int:
    """Worker 1 takes requests and never answers."""
    seat.claim(seat.number)
    return Answering(seat, (lambda request: tasks.sleep(600)) if seat.number == 1 else None).run()


class Key:
    def __init__(self, kind: str, names: tuple[str, ...]) -> None:
        self.kind, self.names = kind, names


class Four:
    count, rate = 4, None


def poisoned(seat: Seat) -> int:
    """Dies with a message in hand until told to hold it."""
    seat.claim(seat.number)
    ident = bytes(range(16))
    if ident not in seat.suspects:
        seat.ready()
        seat.page.note(1, ident)
        os.kill(os.getpid(), signal.SIGSEGV)
    return Worker(seat).run()


def who(seat: Seat) -> int:
    """Writes down what it is."""
    seat.claim(seat.number)
    status = Path("/proc/self/status").read_text()
    Path(seat.config.spool.path, "who").write_text(status)
    return Worker(seat).run()


def admin(seat: Seat) -> int:
    seat.claim_admin()
    assert seat.listeners == []
    return Worker(seat).run()


ADMINS = {"admin": admin, "run_admin": run_admin}


def without_forks(marker: Path) -> None:
    """While the file is there the machine has no process left."""
    fork = os.fork

    def refused() -> int:
        if marker.exists():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = refused


def main() -> int:
    config = load(sys.argv[1])
    without_forks(Path(config.spool.path, "no-forks"))
    said = Path(config.spool.path, "behaviour")
    run_worker = globals()[said.read_text() if said.exists() else sys.argv[2]]
    patience = float(os.environ.get("HOUSE_PATIENCE", "60"))
    try:
        premises = Premises.take(config)
        try:
            admin = ADMINS[sys.argv[3]] if sys.argv[3:] else None
            code = Master(
                config, premises, run_worker, admin, reread=lambda: load(sys.argv[1]), upgrade_patience=patience
            ).run()
        finally:
            premises.close()
    except FastrelayError as error:
        announce(str(error))
        return exit_code(error)
    hub = sys.modules["gevent"]._hub_local.get_hub_if_exists()
    threads = threading.active_count(), len(os.listdir("/proc/self/task"))
    announce(f"master ends: hub {hub}, threads {threads}")
    return code


if __name__ == "__main__":
    sys.exit(main())
