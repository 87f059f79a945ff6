"""Rates of clients, and failed logins, in the whole program: as many as written over all workers, whatever happens.

One relay for all of it, because what is asked is what outlives a worker: 8 s, most of them four workers' starts.
"""

import os
import signal
import smtplib
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.peers import debian
from tests.peers.relay_process import RelayProcess

LISTENER = [
    "message_rate_per_client = '40/d'", "connection_rate_per_client = '60/d'", "auth = 'optional'",
    "auth_plaintext = true",
]  # fmt: skip
SENT = "MAIL FROM:<a@client.test>"


def client(relay: RelayProcess, address: str) -> smtplib.SMTP:
    one = smtplib.SMTP("127.0.0.1", relay.port, timeout=20, source_address=(address, 0))
    one.ehlo("client.test")
    return one


def answers(one: smtplib.SMTP, tries: int) -> list[int]:
    """The codes of so many MAIL; each is taken back."""
    codes = []
    for _ in range(tries):
        codes.append(one.docmd(SENT)[0])
        one.docmd("RSET")
    return codes


def guess(one: smtplib.SMTP, number: int) -> int:
    """The code for a wrong login, under a name that nobody else tries."""
    return one.docmd("AUTH PLAIN", b64encode(f"\0user{number}\0wrong".encode()).decode())[0]


def test_as_many_as_written_over_all_workers(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(0o600)
    tables = f"[auth]\nusers = '{users}'\niterations = 4096"
    here = relay(next_hop="127.0.0.1:9", workers=4, listener=LISTENER, tables=tables).start()
    clients = [client(here, "127.0.0.2") for _ in range(12)]
    assert min(worker["sessions"] for worker in here.get("/healthz")["workers"]) >= 2, "all workers take part"
    with ThreadPoolExecutor(12) as pool:
        codes = [code for found in pool.map(answers, clients, [12] * 12) for code in found]
    assert (codes.count(250), codes.count(450)) == (40, 104)
    code, text = clients[0].docmd(SENT)
    assert code == 450 and b"4.7.1 Too many messages from your address, try again in 21" in text  # of 2,160 seconds
    other = client(here, "127.0.0.3")
    assert answers(other, 5) == [250] * 5
    here.wait_metric('fastrelay_throttled_total{reason="message_rate"}', 105)

    strangers = [client(here, "127.0.0.6") for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(guess, strangers, range(16)))
    assert (codes.count(535), codes.count(454)) == (10, 6)
    for one in strangers:
        one.close()

    worker = here.workers()[0]
    os.kill(worker, signal.SIGKILL)
    debian.wait_until(lambda: worker not in here.workers() and len(here.workers()) == 4, 20, "the worker's successor")
    fresh = [client(here, "127.0.0.2") for _ in range(8)]
    assert [code for one in fresh for code in answers(one, 1)] == [450] * 8
    assert guess(client(here, "127.0.0.6"), 99) == 454

    refused = 0
    for _ in range(80):
        try:
            client(here, "127.0.0.5").close()
        except smtplib.SMTPConnectError as error:
            refused += 1
            assert error.smtp_code == 421 and b"4.7.0 relay.test Too many new connections" in bytes(error.smtp_error)
    assert refused == 20

    text = here.config.read_text().replace("40/d", "80/d").replace("60/d", "600/d")
    here.config.write_text(text)
    assert here.command("reload").returncode == 0
    assert answers(client(here, "127.0.0.4"), 90).count(250) == 80
    assert answers(client(here, "127.0.0.2"), 1) == [450], "who had nothing left has nothing more at once"
    here.config.write_text("\n".join(line for line in text.splitlines() if "_rate_per_client" not in line) + "\n")
    assert here.command("reload").returncode == 0
    assert answers(client(here, "127.0.0.2"), 50) == [250] * 50
    assert "127.0.0.2 is over message_rate_per_client = 40/86400s" in here.said()
    for one in [*clients, *fresh, other]:
        one.close()
    assert here.stop() == 0
