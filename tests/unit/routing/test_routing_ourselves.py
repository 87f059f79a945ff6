"""routing/ourselves.py: which names and ends are this relay's own."""

from pathlib import Path

from fastrelay import config
from fastrelay.routing import ourselves

FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /8 link UNICAST
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 10.255.255.255
        /32 link BROADCAST
"""
IF_INET6 = (
    "20010db8000000000000000000000005 02 40 00 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n"
)


def test_local_addresses(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(FIB)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert ourselves.local_addresses(tmp_path) == {"10.0.0.5", "127.0.0.1", "2001:db8::5", "::1"}


def test_without_proc_loopback_is_ours(tmp_path: Path) -> None:
    assert ourselves.local_addresses(tmp_path) == {"127.0.0.1", "::1"}


def test_ends_count_with_their_port() -> None:
    text = '[server]\nhostname = "Relay.Example"\n[[listener]]\naddress = "127.0.0.1:2525"\n'
    own = ourselves.of(config.parse(text), ["Other.Example."])
    assert own.is_name("relay.example") and own.is_name("other.example") and not own.is_name("x.example")
    assert own.is_end("127.0.0.1", 2525)
    assert not own.is_end("127.0.0.1", 2526)
    assert not own.is_end("127.0.0.2", 2525)


def test_a_listener_on_every_address_owns_all_of_loopback() -> None:
    own = ourselves.of(config.parse('[[listener]]\naddress = "[::]:25"\n[[listener]]\naddress = "unix:/x"\n'))
    assert own.is_end("127.9.9.9", 25) and own.is_end("::1", 25)
    assert not own.is_end("198.41.0.4", 25) and not own.is_end("::1", 2525)
