"""config.py: every unit, every default, and one exact line for every way of being wrong."""

from pathlib import Path

import pytest

from fastrelay import config
from fastrelay.config import Rate, load, parse, site_settings
from fastrelay.errors import ConfigError

TLS = "[[listener]]\ntls = 'starttls'\ncertificate = 'x'\n"


def test_defaults_are_those_of_the_manual() -> None:
    c = parse("")
    assert c.spool.path == "/var/spool/fastrelay" and c.spool.durability == "fsync"
    assert c.listeners[0].address == "127.0.0.1:2525" and c.listeners[0].max_message_size == 50 * 1024**2
    assert c.delivery.connect_rate == Rate(100, 60) and c.delivery.connections == 10
    assert c.retry.expire == 5 * 86400 and c.bounce.return_ == "headers"
    assert c.server.hostname


def test_units() -> None:
    c = parse(
        """
        [server]
        drain_timeout = "250ms"
        [spool]
        min_free = "10%"
        inline_limit = "64KiB"
        [bounce]
        return = "full"
        [delivery]
        connect_rate = "20/s"
        [[listener]]
        address = "[::1]:25"
        min_data_rate = "1KiB/s"
        """
    )
    assert c.server.drain_timeout == 0.25 and c.spool.min_free == pytest.approx(0.1)
    assert c.spool.inline_limit == 65536 and c.delivery.connect_rate == Rate(20, 1)
    assert c.listeners[0].min_data_rate == 1024 and c.bounce.return_ == "full"


def test_rates_of_clients_are_none_unless_they_are_written_down() -> None:
    bare, some = parse(
        """
        [[listener]]
        [[listener]]
        address = "[::1]:25"
        connection_rate_per_client = "1/s"
        message_rate_per_client = "100/min"
        recipient_rate_per_client = 20
        """
    ).listeners
    assert bare.connection_rate_per_client is bare.message_rate_per_client is bare.message_rate_per_account is None
    assert some.connection_rate_per_client == Rate(1, 1) and some.message_rate_per_client == Rate(100, 60)
    assert some.recipient_rate_per_client == Rate(20, 1) and some.tls_rate_per_client is None


def test_a_listener_behind_a_proxy_with_several_certificates() -> None:
    (one,) = parse(
        f"""
        {TLS}
        client_ca = "ca"
        relay_certificates = ["app.example", "{"AB:" * 31}AB", "{"0f" * 32}"]
        proxy_protocol = true
        proxy_from = ["192.0.2.0/24"]
        xclient_from = ["::1"]
        [[listener.certificates]]
        certificate = "y"
        key = "z"
        """
    ).listeners
    assert one.certificates == (config.Certificate(certificate="y", key="z"),) and one.proxy_from == ("192.0.2.0/24",)
    local = parse("[[listener]]\naddress = 'unix:/x'\nproxy_protocol = true").listeners[0]
    assert local.proxy_protocol, "who may connect to a file is decided by its permissions"


def test_a_site_row_changes_only_what_it_names() -> None:
    c = parse(
        """
        [delivery]
        connections = 7
        idle_timeout = "9s"
        [[site]]
        name = "google"
        mx_suffix = [".google.com"]
        connections = 5
        """
    )
    assert site_settings(c, "google").connections == 5 and site_settings(c, "google").idle_timeout == 9
    assert site_settings(c, "other").connections == 7


@pytest.mark.parametrize("name", ["relay.example.com", "localhost", "a_b-1.test", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_names_we_may_call_ourselves(name: str) -> None:
    assert parse(f"[server]\nhostname = '{name}'\n[delivery]\nhello = '{name}'").delivery.hello == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[spol]", 'x.toml: spol: unknown key, did you mean "spool"?'),
        ("[spool]\npat = 'x'", 'x.toml: spool.pat: unknown key, did you mean "path"?'),
        ("[[listener]]\nadress = 'x'", 'x.toml: listener[0].adress: unknown key, did you mean "address"?'),
        ("[[listener]]\nclient_limit_set = true", "x.toml: listener[0].client_limit_set: unknown key"),
        ("[[site]]\nname='a'\nconnection = 1", 'x.toml: site[0].connection: unknown key, did you mean "connections"?'),
        ("[retry]\nfirst = '5 parsecs'", "x.toml: retry.first: '5 parsecs' is not understood: write it like"),
        (
            "[[listener]]\nreverse_lookup = 'some'",
            'x.toml: listener[0].reverse_lookup: "some" is none of "strangers", "all", "never"',
        ),
        ("[spool]\ndurability = 'maybe'", 'x.toml: spool.durability: "maybe" is none of "fsync", "os", "memory"'),
        ("[server]\nworkers = 'two'", "x.toml: server.workers: expected a whole number, got text in quotes"),
        ("[spool]\npath = 5", "x.toml: spool.path: expected text in quotes, got a whole number"),
        ("[delivery]\ntls = true", "x.toml: delivery.tls: expected text in quotes, got true or false"),
        ("hostname = 'x'", "x.toml: hostname: stands in no table: write it below [server]"),
        ("connections = 5", "x.toml: connections: stands in no table: write it below [delivery]"),
        ("address = 'x'", "x.toml: address: stands in no table: write it below [admin] or [[listener]]"),
        ("[[site]]\nconnections = 5", "x.toml: site[0].name: is missing"),
        ("[delivery]\nconnect_rate = '100/fortnight'", "x.toml: delivery.connect_rate: '100/fortnight' is not"),
        ("[[listener]]\naddress = '::1:25'", "x.toml: listener[0].address: '::1:25' is no address"),
        ("[[listener]]\nrelay_from = ['10.0.0.0/33']", "x.toml: listener[0].relay_from: '10.0.0.0/33' does not"),
        ("[[listener]]\ntls = 'required'", 'x.toml: listener[0].certificate: tls = "required" needs'),
        ("[[listener]]\ncertificates = 5", "x.toml: listener[0].certificates: expected a list in [ ]"),
        (
            "[[listener]]\n[[listener.certificates]]\ncertificat = 'x'",
            'x.toml: listener[0].certificates[0].certificat: unknown key, did you mean "certificate"?',
        ),
        (
            "[[listener]]\n[[listener.certificates]]\nkey = 'x'",
            "x.toml: listener[0].certificates[0].certificate: is missing",
        ),
        ("[[listener]]\nclient_ca = 'ca'", "x.toml: listener[0].client_ca: certificates are shown in TLS"),
        (f"{TLS}client_ca = 'ca'", "x.toml: listener[0].relay_certificates: say whose certificate lets"),
        (f"{TLS}relay_certificates = ['*']", "x.toml: listener[0].relay_certificates: needs client_ca"),
        (
            f"{TLS}client_ca = 'ca'\nrelay_certificates = ['{'AB:' * 19}AB']",
            "x.toml: listener[0].relay_certificates: 'AB:AB:",
        ),
        ("[[listener]]\nproxy_protocol = true", "x.toml: listener[0].proxy_from: name the proxies"),
        ("[[listener]]\nproxy_from = ['::1']", "x.toml: listener[0].proxy_from: means nothing without"),
        ("[[listener]]\nunlimited_from = ['x']", "x.toml: listener[0].unlimited_from: 'x' does not"),
        ("[[listener]]\nreserved_connections = 5", "x.toml: listener[0].reserved_connections: say for whom"),
        (
            "[[listener]]\nreserved_connections = 10000\nunlimited_from = ['::1']",
            "x.toml: listener[0].reserved_connections: leaves nothing of max_connections",
        ),
        ("[[listener]]\ntls_rate_per_client = '1/s'", "x.toml: listener[0].tls_rate_per_client: means nothing with"),
        ("[[listener]]\nmessage_rate_per_account = '1/s'", "x.toml: listener[0].message_rate_per_account: nobody logs"),
        (
            "[[listener]]\nmessage_rate_per_client = '0/min'",
            "x.toml: listener[0].message_rate_per_client: '0/min' would",
        ),
        ("[[listener]]\nmessage_rate_per_client = true", "x.toml: listener[0].message_rate_per_client: "),
        ("[[listener]]\nproxy_from = ['x']", "x.toml: listener[0].proxy_from: 'x' does not"),
        ("[[listener]]\nxclient_from = ['x']", "x.toml: listener[0].xclient_from: 'x' does not"),
        ("[[route]]\ndomain = '*'\nnext_hop = []", "x.toml: route[0].next_hop: must not be empty"),
        ("route = 5", "x.toml: route: write it as an array of tables: [[route]]"),
        ("spool = 5", "x.toml: spool: must be a table"),
        ("[spool", "x.toml: not TOML: "),
        ("[retry]\nexpire = '0s'", "x.toml: retry.expire: must be > 0"),
        ("[retry]\nfirst = '0s'", "x.toml: retry.first: must be > 0"),
        ("[retry]\nexpire = -5", "x.toml: retry.expire: must be > 0"),
        ("[retry]\nexpire = nan", "x.toml: retry.expire: nan is no number to work with"),
        ("[retry]\nfactor = inf", "x.toml: retry.factor: inf is no number to work with"),
        ("[server]\ndrain_timeout = -1", "x.toml: server.drain_timeout: must be >= 0"),
        ("[dns]\ntimeout = '0s'", "x.toml: dns.timeout: must be > 0"),
        ("[delivery]\nconnect_rate = '0/min'", "x.toml: delivery.connect_rate: '0/min' would let nothing through"),
        ("[[site]]\nname='a'\nconnect_rate = 0", "x.toml: site[0].connect_rate: 0 would let nothing through"),
        ("[delivery]\nconnect_rate = true", "x.toml: delivery.connect_rate: "),
        ("[[site]]\nname = ''", "x.toml: site[0].name: must not be empty"),
        ("[server]\nhostname = 'a b'", "x.toml: server.hostname: 'a b' is no host name"),
        ('[server]\nhostname = "a.test\\r\\n250 b"', "x.toml: server.hostname: 'a.test\\r\\n250 b' is no host name"),
        ('[delivery]\nhello = "a\\nb"', "x.toml: delivery.hello: 'a\\nb' is no host name"),
        ("[[site]]\nname='a'\nhello = 'x..y'", "x.toml: site[0].hello: 'x..y' is no host name"),
        ("[delivery]\ntls_names = ['a b']", "x.toml: delivery.tls_names: 'a b' is no host name"),
        ("[delivery]\ntls_names = []", "x.toml: delivery.tls_names: "),
        ("[delivery]\nsource_address = ['1.2.3']", "x.toml: delivery.source_address: '1.2.3' does not appear"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, "x.toml")
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_runtime_dir_too_long_for_its_sockets_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"[server]\nruntime_dir = '/{'r' * 88}'")
    assert len(load(file).server.runtime_dir) == config.RUNTIME_DIR_OCTETS == 89
    file.write_text(f"[server]\nruntime_dir = '/{'r' * 89}'")
    with pytest.raises(ConfigError, match=r"c\.toml: server\.runtime_dir: '/r+' is too long: at most 89 octets"):
        load(file)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_without_root_unwritable_defaults_move_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("fastrelay.config.reading.DEFAULT_FILE", tmp_path / "absent")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    bare = load()
    assert bare.spool.path == f"{tmp_path}/state/fastrelay/spool"
    assert bare.server.runtime_dir == f"{tmp_path}/run/fastrelay"
    assert len(bare.notes) == 1 and bare.spool.path in bare.notes[0] and bare.server.runtime_dir in bare.notes[0]
    file = tmp_path / "some.toml"
    file.write_text("[spool]\npath = '/var/spool/fastrelay'")
    given = load(file)
    assert given.spool.path == "/var/spool/fastrelay", "what is written is never moved"
    assert given.server.runtime_dir == bare.server.runtime_dir and "spool" not in given.notes[0].split(str(tmp_path))[0]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert load().server.runtime_dir == f"{tmp_path}/state/fastrelay/run"
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert load().notes == () and load().spool.path == "/var/spool/fastrelay", "a service user's own directories stay"


def test_an_account_without_a_home_needs_none_where_the_file_names_its_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run under any number, with no line in passwd and no HOME."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("os.geteuid", lambda: 10025)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(Path, "home", homeless)
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "c.toml"
    file.write_text("[server]\nruntime_dir = '/r'\n[spool]\npath = '/s'")
    assert load(file).notes == ()
    for text, key in (("", "server.runtime_dir"), ("[server]\nruntime_dir = '/r'", "spool.path")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=rf"c\.toml: {key}: is not given, .* not ours to write .* no home"):
            load(file)


def test_root_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("fastrelay.config.reading.DEFAULT_FILE", tmp_path / "absent")
    assert load().notes == () and load().spool.path == "/var/spool/fastrelay"


def test_a_key_that_would_break_the_line_is_quoted() -> None:
    with pytest.raises(ConfigError) as refused:
        parse('[admin]\n"a\\nb" = 1\n', "f.toml")
    assert str(refused.value) == "f.toml: admin.'a\\nb': unknown key; known here: address, token_file"
