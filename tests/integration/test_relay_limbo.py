"""No limbo, through the whole program: time runs out for a message wherever it stands, and a wall clock that jumps
moves nothing. The single places and their clocks are in tests/unit/schedule/."""

import contextlib
import smtplib
import struct
import sys
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

from fastrelay.load.name_server import NameServer
from tests.peers import debian
from tests.peers.mailbox import Mailbox
from tests.peers.relay_process import RelayProcess
from tests.peers.rude_peer import RudePeer, stalls

DAY = 86_400.0
WANDERING = Path(__file__).with_name("wandering_house.py")
CONTENT = b"Subject: x\r\n\r\nx\r\n"


def send(relay: RelayProcess, *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as client:
        client.sendmail("s@sender.test", recipients, CONTENT)


def hop(domain: str, port: int) -> str:
    return f"[[route]]\ndomain = '{domain}'\nnext_hop = ['127.0.0.1:{port}']\n"


def test_time_runs_out_wherever_a_message_stands(relay: Callable[..., RelayProcess]) -> None:
    """10 s: three of them are those a message is given, and names are waited for."""
    with (
        Mailbox() as box,
        Mailbox(at_dot=("451 4.2.0 not today",)) as later,
        RudePeer("banner", stalls, times=100) as stuck,
        NameServer("@fault * silent") as names,
    ):
        tables = [
            hop("sender.test", box.port),
            *(hop(domain, later.port) for domain in ("waiting.test", "barred.test", "held.test")),
            hop("running.test", stuck.port),
            hop("suspended.test", debian.free_port()),
            f"[dns]\nnameservers = ['127.0.0.1:{names.port}']\ntimeout = '1s'",
        ]
        one = relay(
            workers=1,
            retry=["first = '20m'", "max = '1h'", "expire = '3s'"],
            delivery=["reply_timeout = '4s'", "connections = 1"],
            tables="\n".join(tables),
        ).start()
        for kind in ("barred", "held"):
            words = ["suspend", "--domain", f"{kind}.test", "--reason", "t"]
            assert one.command(*words).returncode == 0
        places = ("waiting", "routing", "running", "suspended", "barred", "held")
        for place in places:
            send(one, f"{place}@{place}.test")
        send(one, "queued@running.test")  # behind the one that is stuck, in a lane of one connection
        held = one.command("queue", "hold", "--domain", "held.test", "--reason", "t")
        assert held.returncode == 0 and b"1" in held.stdout, held
        expected = {f"{place}@{place}.test" for place in places} | {"queued@running.test"}

        missing = set(expected)

        def told() -> bool:
            missing.difference_update(notice(arrived.content)[0] for arrived in [*box.arrived])
            return not missing

        try:
            debian.wait_until(told, 20, "every sender to be told")
        finally:
            assert not missing, one.said()
        one.wait_empty()
        assert len(box.arrived) == len(expected), "nobody is told twice"
        assert {arrived.recipients for arrived in box.arrived} == {("s@sender.test",)}
        assert {notice(arrived.content)[1] for arrived in box.arrived} == {"failed"}
        assert names.asked
        assert one.stop() == 0


def notice(content: bytes) -> tuple[str, str]:
    """Recipient and action of a report."""
    _, status, _ = message_from_bytes(content).get_payload()  # type: ignore[misc]
    row = status.get_payload()[1]  # type: ignore[union-attr]
    return row["Final-Recipient"].partition("; ")[2], row["Action"]


class Wandering(contextlib.AbstractContextManager["Wandering"]):
    """A house with a clock of its own, and the hand at it."""

    def __init__(self, relay: RelayProcess) -> None:
        self.relay = relay
        self._file = relay.folder / "offset"
        self.set(0.0)

    def set(self, seconds: float) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", seconds))

    def start(self) -> None:
        self.relay.start(program=[sys.executable, WANDERING, self.relay.config])

    def __exit__(self, *exc: object) -> None:
        self.set(0.0)


def test_a_wall_clock_that_jumps_loses_expires_and_holds_nothing(relay: Callable[..., RelayProcess]) -> None:
    """Mail that waits, while the clock goes six days on (`expire` is five), back to where it was, six days behind;
    and a start on either side. All that a sender may hear is that his mail is late, which by that clock it is. 11 s:
    it is tried again in real seconds."""
    words = ["451 4.2.0 not today"]
    with Mailbox() as notices, Mailbox(refuse=lambda address: words[-1]) as box:
        tables = hop("later.test", box.port) + hop("sender.test", notices.port)
        one = relay(workers=1, retry=["first = '1s'", "max = '1s'"], tables=tables)
        sent = wander(one)
        words.append("")
        arrived = box.wait(sent, 40)
        one.wait_empty()
        assert sorted(int(a.recipients[0].partition("@")[0]) for a in arrived) == [*range(sent)]
        assert len(box.arrived) == sent
        assert one.stop() == 0
    assert {notice(arrived.content)[1] for arrived in notices.arrived} <= {"delayed"}


def wander(one: RelayProcess) -> int:
    """How many messages wait behind all jumps. The clock is right again."""
    with Wandering(one) as clock:
        clock.start()
        sent = 0
        for offset in (6 * DAY, 0.0, -6 * DAY, 6 * DAY):
            send(one, f"{sent}@later.test")
            clock.set(offset)
            send(one, f"{sent + 1}@later.test")
            sent += 2
            before = attempts(one)
            tried_since(one, before, sent)
        for offset in (12 * DAY, -12 * DAY):
            assert one.stop() == 0, one.said()
            clock.set(offset)
            clock.start()
            debian.wait_until(lambda: one.queued() == sent, 20, "the backlog to be there")
        assert not [event for event in one.lines("Bounce") if event["sender"]]
        assert not list(one.lines("Expiration"))
        assert "nothing expires for an hour" in one.said()
    return sent


def tried_since(one: RelayProcess, before: Counter[int], count: int) -> None:
    """Waits until each of the first `count` messages had an attempt more."""
    debian.wait_until(
        lambda: all(attempts(one)[n] > before[n] for n in range(count)),
        20,
        "an attempt at each on the other side of the jump",
    )


def attempts(one: RelayProcess) -> Counter[int]:
    """Deferrals so far of each message."""
    return Counter(
        int(event["recipient"].partition("@")[0])
        for event in one.lines("TransientFailure")
        if event["recipient"].endswith("@later.test")
    )
