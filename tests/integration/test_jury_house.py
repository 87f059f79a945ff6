"""`judge_received` through the whole program: a verdict for each message in the event log and in the metrics."""

import smtplib
from collections.abc import Callable
from email.utils import formatdate

from tests.peers.relay_process import RelayProcess
from tests.peers.sink_process import SinkProcess

HONEST = "Received: from pc ([192.168.1.2])\r\n\tby app.lan with SMTP; {date}\r\nSubject: x\r\n\r\nbody\r\n"
FORGED = "Received: from pc by mx.google.com (Postfix) with ESMTP id 4A1B2C3D4E; {date}\r\nSubject: x\r\n\r\nbody\r\n"


def test_each_message_gets_its_verdict(relay: Callable[..., RelayProcess], sink: Callable[..., SinkProcess]) -> None:
    one = relay(
        next_hop=f"127.0.0.1:{sink().port}",
        workers=1,
        listener=["judge_received = true"],
        spool=["inline_limit = '64KiB'"],
    ).start()
    large = HONEST + "y" * 70 + "\r\n"
    date = formatdate()
    with smtplib.SMTP("127.0.0.1", one.port, timeout=20) as client:
        for text in (HONEST, FORGED, large + ("z" * 70 + "\r\n") * 3000):
            client.sendmail("a@from.example", ["b@there.example"], text.format(date=date))
    one.wait_metric("fastrelay_trail_verdicts_total", 3)
    one.wait_empty()
    assert one.stop() == 0, one.said()
    received = {event["id"]: event for event in one.lines("Reception")}
    verdicts = {event["id"]: event for event in one.lines("TrailVerdict")}
    assert set(verdicts) <= set(received) and len(verdicts) >= 2
    by_size = sorted(verdicts.values(), key=lambda event: received[event["id"]]["size"])
    assert [event["verdict"] for event in by_size[:2]] == ["consistent", "suspicious"]
    assert by_size[1]["reasons"] and by_size[1]["hops"] == 2
