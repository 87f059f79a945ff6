"""What destinations do to the whole program: they stall, hang up, lie and flood at each step, and nobody else notices.

The outcome of every single misbehaviour is in tests/faults/test_delivery_peer_faults.py; here it is shown that the
program gets through them: what the log and the counters say, that the mail comes round again, and what it costs others.
"""

import contextlib
import signal
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.peers import debian
from tests.peers.certificates import Authority
from tests.peers.relay_process import RelayProcess
from tests.peers.rude_peer import (
    RIGHT,
    Act,
    DeafPeer,
    RudePeer,
    closes,
    drips,
    floods,
    injects,
    resets,
    says,
    says_and_closes,
    stalls,
)

MB = 1_000_000
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 98 + b"\r\n") * 200_000  # 20 MB: more than both ends' buffers hold
SMALL = b"Subject: small\r\n\r\nhello\r\n"

# step where the destination goes wrong -> the words with which its failure is told
PHASES = {
    "banner": "waiting for the greeting",
    "ehlo": "waiting for the reply to EHLO",
    "mail": "waiting for the reply to MAIL",
    "rcpt": "waiting for the reply to RCPT",
    "data": "waiting for the reply to DATA",
    "content": "sending the content",
    "dot": "waiting for the reply to the final dot",
}


def hops(peers: Mapping[str, int]) -> str:
    """A route for each name: mail for NAME.test goes to that port."""
    return "\n".join(
        f"[[route]]\ndomain = '{name}.test'\nnext_hop = ['127.0.0.1:{port}']" for name, port in peers.items()
    )


def send(relay: RelayProcess, *recipients: str, content: bytes = SMALL) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client:
        client.sendmail("s@from.test", recipients, content)


def misbehaving(stack: contextlib.ExitStack, act: Act) -> dict[str, RudePeer]:
    """One for each step, wrong at its first connection only."""
    return {step: stack.enter_context(RudePeer(step, act)) for step in PHASES}


def failures(relay: RelayProcess) -> dict[str, dict[str, str]]:
    """The first TransientFailure by recipient: its response."""
    found: dict[str, dict[str, str]] = {}
    for event in relay.lines("TransientFailure"):
        found.setdefault(event["recipient"], event["response"])
    return found


def served(*peers: RudePeer) -> None:
    """Until each has said 250 to a message."""
    debian.wait_until(lambda: all(peer.messages for peer in peers), 20, "every peer to have its message")


def test_a_destination_that_stalls_holds_up_only_itself(relay: Callable[..., RelayProcess]) -> None:
    """At every step, with the timeouts of RFC 5321: minutes in which everybody else is served, and a stop is quick."""
    with contextlib.ExitStack() as stack:
        stuck = misbehaving(stack, stalls)
        deaf = DeafPeer()
        stack.callback(deaf.close)
        good = stack.enter_context(RudePeer())
        ports = {step: peer.port for step, peer in stuck.items()}
        one = relay(workers=1, tables=hops({**ports, "connect": deaf.port, "good": good.port})).start()
        for step in ports:
            send(one, f"a@{step}.test", content=LARGE if step == "content" else SMALL)
        send(one, "a@connect.test")
        debian.wait_until(lambda: all(peer.stuck for peer in stuck.values()), 20, "every destination to stall")
        for n in range(50):
            send(one, f"b{n}@good.test")
        debian.wait_until(lambda: len(good.messages) == 50, 20, "the others' mail")
        assert all(peer.stuck for peer in stuck.values()), "a destination was given up while it was looked on"
        assert not failures(one) and one.queued() == len(ports) + 1
        assert one.stop(signal.SIGINT) == 0, one.said()
        deaf.close()
        back = stack.enter_context(RudePeer(port=deaf.port))
        one.start()
        served(back, *stuck.values())
        one.wait_empty()
        assert one.stop() == 0
    assert [len(peer.messages) for peer in stuck.values()] == [1] * len(stuck), "a stop doubled what was stuck"
    # the one whose dot was not answered is the one whose peer may have it
    assert {step: len(peer.offered) for step, peer in stuck.items() if len(peer.offered) != 1} == {"dot": 2}


def test_the_peer_of_these_tests_answers_a_lone_dot() -> None:
    """As we send it where all recipients were refused in one group with DATA."""
    group = b"EHLO c\r\nMAIL FROM:<s@a.test>\r\nRCPT TO:<r@b.test>\r\nDATA\r\n"
    with (
        RudePeer("rcpt", says(b"550 5.1.1 no\r\n")) as peer,
        socket.create_connection(("127.0.0.1", peer.port)) as sock,
    ):
        sock.settimeout(20.0)
        sock.sendall(group + b".\r\n" + group[8:] + b"one\r\n.\r\nQUIT\r\n")
        heard = b"".join(iter(lambda: sock.recv(4096), b""))
    codes = [line[:3] for line in heard.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"550", b"354", b"554", b"250", b"250", b"354", b"250", b"221"]
    assert [message.content for message in peer.offered] == [b"one\r\n"]


def test_a_stall_ends_with_its_timeout_and_the_mail_comes_again(relay: Callable[..., RelayProcess]) -> None:
    """So does a reply that comes octet by octet and never ends."""
    with contextlib.ExitStack() as stack:
        stuck = misbehaving(stack, stalls)
        dripping = {f"{step}-drips": stack.enter_context(RudePeer(step, drips)) for step in PHASES if step != "content"}
        deaf = DeafPeer()
        stack.callback(deaf.close)
        peers = {**stuck, **dripping}
        one = relay(
            workers=1,
            delivery=["reply_timeout = '1s'", "connect_timeout = '1s'"],
            tables=hops({**{name: peer.port for name, peer in peers.items()}, "connect": deaf.port}),
        ).start()
        for name in peers:
            send(one, f"a@{name}.test", content=LARGE if name == "content" else SMALL)
        send(one, "a@connect.test")
        debian.wait_until(lambda: "a@connect.test" in failures(one), 20, "the connection to be given up")
        deaf.close()
        back = stack.enter_context(RudePeer(port=deaf.port))
        one.wait_empty()
        told = failures(one)
        assert told.pop("a@connect.test")["enhanced_code"] == "4.4.1"
        assert set(told) == {f"a@{name}.test" for name in peers}
        for name in peers:
            response = told[f"a@{name}.test"]
            words = PHASES[name.partition("-")[0]]
            assert response["enhanced_code"] == "4.4.2" and words in response["content"], (name, response)
        served(back, *peers.values())
        one.wait_metric("fastrelay_possibly_duplicate_total", 2)  # those whose dots were not answered
        one.wait_metric("fastrelay_messages_delivered_total", len(peers) + 1)
        assert one.stop() == 0


def test_a_destination_that_hangs_up_or_lies_is_tried_again(relay: Callable[..., RelayProcess]) -> None:
    """With what it says too early or once too often nothing else is answered; after the dot's own reply it is void."""
    ways: dict[str, tuple[Callable[[str], Act], str]] = {
        "closes": (lambda step: closes, "4.4.2"),
        "resets": (lambda step: resets, "4.4.2"),
        "garbage": (lambda step: says(b"\x00\xff\xfe nothing SMTP\r\n"), "4.5.0"),
        "http": (lambda step: says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "4.5.0"),
        "code": (lambda step: says(b"199 once\r\n"), "4.5.0"),
        "421": (lambda step: says_and_closes(b"421 4.3.2 going down\r\n"), "4.3.2"),
        "extra": (lambda step: says(RIGHT[step] + b"250 2.0.0 and once more\r\n"), "4.5.0"),
    }
    with contextlib.ExitStack() as stack:
        peers = {
            f"{step}-{way}": stack.enter_context(RudePeer(step, act(step)))
            for way, (act, _) in ways.items()
            for step in PHASES
            if step != "content"
        }
        peers["dot-leaves"] = stack.enter_context(RudePeer("dot", says_and_closes(b"250 2.0.0 taken\r\n")))
        one = relay(workers=1, tables=hops({name: peer.port for name, peer in peers.items()})).start()
        send(one, *(f"a@{name}.test" for name in peers))
        one.wait_empty()
        told = failures(one)
        taken = {"dot-leaves", "dot-extra"}
        assert set(told) == {f"a@{name}.test" for name in peers.keys() - taken}
        for name in sorted(peers.keys() - taken):
            step, way = name.split("-")
            response = told[f"a@{name}.test"]
            if way == "resets":  # it overtakes the replies before it, even the connection itself
                assert response["enhanced_code"] in ("4.4.1", "4.4.2"), (name, response)
                continue
            assert response["enhanced_code"] == ways[way][1], (name, response)
            assert way in ("421", "extra") or PHASES[step] in response["content"], (name, response)
        twice = [name for name, peer in peers.items() if len(peer.offered) == 2]
        assert sorted(twice) == sorted(f"dot-{way}" for way in ways if way != "extra")
        assert sum(len(peer.offered) for peer in peers.values()) == len(peers) + len(twice)
        one.wait_metric(
            "fastrelay_possibly_duplicate_total", len(twice) - 1
        )  # 421 to the dot says that it is not taken
        one.wait_metric("fastrelay_messages_delivered_total", len(peers))
        assert one.stop() == 0


def test_what_stands_behind_a_reply_to_starttls_is_void(relay: Callable[..., RelayProcess], tmp_path: Path) -> None:
    """Inside TLS all is asked anew. Where no handshake follows nothing of a message is said on that connection; where
    TLS may be done without, the next one carries it in plaintext."""
    authority = Authority(tmp_path)
    leaf = authority.issue("peer.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    with (
        RudePeer("ehlo", injects(context)) as inside,
        RudePeer("ehlo", injects(None)) as may,
        RudePeer("ehlo", injects(None), times=100) as must,
    ):
        sites = (
            f"[[site]]\nname = '127.0.0.1:{must.port}'\ntls = 'require'\n"
            f"[[site]]\nname = '127.0.0.1:{inside.port}'\ntls = 'verify'\n"
            f"tls_names = ['peer.example']\ntls_ca = '{authority.ca_file}'\n"
        )
        one = relay(workers=1, tables=sites + hops({"may": may.port, "must": must.port, "inside": inside.port})).start()
        send(one, "a@may.test", "a@must.test", "a@inside.test")
        served(may, inside)
        debian.wait_until(lambda: "a@must.test" in failures(one), 20, "the failure to be told")
        assert one.stop() == 0
    assert [peer.connections for peer in (inside, may)] == [1, 2]
    assert [len(peer.offered) for peer in (inside, may, must)] == [1, 1, 0]
    assert [line[:4] for line in inside.commands][:4] == ["EHLO", "STAR", "EHLO", "MAIL"]
    assert not any(b"MAIL FROM" in raw or b"hello" in raw for raw in (may.raw[0], *must.raw))
    assert set(failures(one)) == {"a@must.test"}


def peak(pid: int) -> int:
    """The most memory a process has had in hand since the last look, octets."""
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def test_a_reply_line_of_100_mb_costs_no_memory(relay: Callable[..., RelayProcess]) -> None:
    with contextlib.ExitStack() as stack:
        peers = {step: stack.enter_context(RudePeer(step, floods(b"x" * 65_536, 100 * MB, b"250-"))) for step in PHASES}
        peers["lines"] = stack.enter_context(RudePeer("ehlo", floods(b"250-more\r\n" * 6500, 100 * MB)))
        good = stack.enter_context(RudePeer())
        ports = {name: peer.port for name, peer in peers.items()}
        one = relay(workers=1, tables=hops({**ports, "good": good.port})).start()
        send(one, "a@good.test")
        one.wait_empty()
        (worker,) = one.workers()
        before = peak(worker)
        send(one, *(f"a@{name}.test" for name in peers))
        one.wait_empty()
        grown = peak(worker) - before
        assert grown < 8 * MB, f"{grown} octets more"
        assert all(response["enhanced_code"] == "4.5.0" for response in failures(one).values()), failures(one)
        assert len(failures(one)) == len(peers)
        served(*peers.values())
        assert max(peer.written for peer in peers.values()) < 10 * MB, "somebody was listened to for long"
        assert one.stop() == 0


def test_a_second_recipient_domain_has_a_transaction_of_its_own(relay: Callable[..., RelayProcess]) -> None:
    with RudePeer(one_domain=True) as peer:
        one = relay(workers=1, next_hop=f"127.0.0.1:{peer.port}").start()
        send(one, "a@one.test", "b@two.test", "c@one.test", "d@three.test")
        one.wait_empty()
        debian.wait_until(lambda: len(peer.messages) == 3, 20, "three transactions")
        assert not peer.refused and not failures(one)
        assert sorted(message.recipients for message in peer.messages) == [
            ("a@one.test", "c@one.test"), ("b@two.test",), ("d@three.test",)
        ]  # fmt: skip
        assert one.stop() == 0
