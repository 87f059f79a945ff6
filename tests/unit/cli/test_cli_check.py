"""`fastrelay check`: what only shows when it is used."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.cli.check import verify
from fastrelay.config import parse
from fastrelay.errors import ConfigError
from tests.peers.certificates import Authority, Leaf


def test_an_event_log_needs_a_directory_that_exists(tmp_path: Path) -> None:
    for events in ("stdout", "none", str(tmp_path / "events.log")):
        verify(parse(f"[log]\nevents = '{events}'"))
    for path in (tmp_path / "nowhere" / "events.log", tmp_path):
        with pytest.raises(ConfigError, match=r"log\.events: .* cannot be a file there"):
            verify(parse(f"[log]\nevents = '{path}'"))


def test_every_error_begins_with_the_file() -> None:
    for text in ("[server]\nuser = 'nobody-of-that-name'", "[[route]]\ndomain = '*'\nnext_hop = ['a b']"):
        with pytest.raises(ConfigError, match=r"^c\.toml: (server|route)[^:]*: "):
            verify(parse(text, "c.toml"))


def test_a_token_that_opens_nothing_is_a_warning(tmp_path: Path) -> None:
    """The relay serves mail without it, but nobody gets in by TCP, and an operator looks for that when in need."""
    token = tmp_path / "token"
    config = parse(f"[admin]\ntoken_file = '{token}'")
    assert verify(config) == ["admin.token_file cannot be read: No such file or directory"]
    token.write_text("sesame\n")
    assert verify(config) == ["admin.token_file holds no token of 16 characters or more"]
    token.write_text("sesame, sesame, open\n")
    assert verify(config) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where everybody may look."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def listener(leaf: Leaf, more: str = "") -> str:
    return f"[[listener]]\ntls = 'starttls'\ncertificate = '{leaf.certificate}'\nkey = '{leaf.key}'\n{more}"


def test_every_certificate_of_a_listener_is_looked_at(authority: Authority) -> None:
    good, other = authority.issue("relay.example"), authority.issue("other.example")
    pair = "[[listener.certificates]]\ncertificate = '{}'\nkey = '{}'\n"
    assert verify(parse(listener(good, pair.format(other.certificate, other.key)))) == []
    with pytest.raises(ConfigError) as caught:
        verify(parse(listener(good, pair.format(other.certificate, good.key)), "x.toml"))
    belongs = f"key {good.key} does not belong to certificate {other.certificate}"
    assert str(caught.value) == f"x.toml: listener 127.0.0.1:2525: {belongs}"


def test_an_expired_certificate_is_a_warning(authority: Authority) -> None:
    leaf = authority.issue("relay.example", expired=True)
    (line,) = verify(parse(listener(leaf)))
    assert line.startswith(f"listener 127.0.0.1:2525: certificate {leaf.certificate} expired on ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_key_that_only_root_may_read_is_no_use_to_workers(open_folder: Path) -> None:
    leaf = Authority(open_folder).issue("relay.example")
    user = f"[server]\nuser = '{pwd.getpwnam('nobody').pw_name}'\n"
    with pytest.raises(ConfigError) as caught:
        verify(parse(user + listener(leaf), "x.toml"))
    hint = "workers read it as server.user: let that user's group read it"
    assert str(caught.value) == f"x.toml: listener 127.0.0.1:2525: key {leaf.key}: permission denied; {hint}"
    leaf.key.chmod(0o644)
    assert verify(parse(user + listener(leaf))) == []
    assert os.geteuid() == 0
