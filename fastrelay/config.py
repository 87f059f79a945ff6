"""The configuration: one TOML file -> frozen typed values, one struct per room. Every key is optional.

Units: durations are seconds (float), written "30s", "5m", "4h", "5d", "250ms"; sizes are octets, written "64MiB",
"10MB", "500B"; rates are Rate(count, seconds), written "100/min"; shares are floats 0..1, written "5%".
Whatever is wrong raises ConfigError in one line: file, key, why, and the nearest key where a name is unknown.
"""

import difflib
import math
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from fastrelay.errors import ConfigError

RUNTIME_DIR_OCTETS = 107 - len("/slot-000.sock.new")  # unix(7): the name of a socket has at most 107 octets
DEFAULT_FILE = Path("/etc/fastrelay/fastrelay.toml")


class Rate(msgspec.Struct, frozen=True):
    """`count` events per `seconds`."""

    count: float
    seconds: float


Duration = Annotated[float, msgspec.Meta(extra={"unit": "duration"}, ge=0)]
Lasting = Annotated[float, msgspec.Meta(extra={"unit": "duration"}, gt=0)]  # a zero would return or refuse all mail
Size = Annotated[int, msgspec.Meta(extra={"unit": "size"}, ge=0)]
Share = Annotated[float, msgspec.Meta(extra={"unit": "share"}, ge=0, le=1)]
PerTime = Annotated[Rate, msgspec.Meta(extra={"unit": "rate"})]
ByteRate = Annotated[float, msgspec.Meta(extra={"unit": "byterate"}, ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KIB, MIB, GIB = 1024, 1024**2, 1024**3


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, keyword-only, unknown keys refused."""


class Server(Section, frozen=True):
    """[server]"""

    hostname: str = ""  # "" = the machine's name (filled in by load)
    workers: Annotated[int, msgspec.Meta(ge=0, le=128)] = 0  # 0 = CPUs by affinity and cgroup quota; 128 slots
    user: str = ""  # dropped to after binding; "" = stay
    runtime_dir: str = "/run/fastrelay"
    drain_timeout: Duration = 30.0
    hang_timeout: Lasting = 60.0  # a worker without heartbeat for so long is ended and replaced


class Listener(Section, frozen=True):
    """[[listener]]"""

    address: str = "127.0.0.1:2525"
    protocol: Literal["smtp"] = "smtp"
    relay_from: tuple[str, ...] = ("127.0.0.0/8", "::1")
    max_connections: Positive = 10000
    max_connections_per_client: Count = 50  # 0 = no limit; clients in relay_from: none unless the key is set
    command_timeout: Lasting = 5 * MINUTE  # RFC 5321 4.5.3.2.7
    data_timeout: Lasting = 3 * MINUTE  # between two blocks of content, RFC 5321 4.5.3.2.5
    min_data_rate: ByteRate = 500.0  # octets per second over the whole content
    max_message_size: Size = 50 * MIB
    max_recipients: Annotated[int, msgspec.Meta(ge=100)] = 1000  # RFC 5321 4.5.3.1.8: at least 100
    bare_newlines: Literal["refuse", "normalise"] = "refuse"
    reverse_lookup: Literal["strangers", "all", "never"] = "strangers"  # strangers: clients not in relay_from
    tls: Literal["none", "starttls", "required", "implicit"] = "none"
    certificate: str = ""
    key: str = ""
    client_limit_set: bool = False  # true where max_connections_per_client stands in the file


class Spool(Section, frozen=True):
    """[spool]"""

    path: str = "/var/spool/fastrelay"
    durability: Literal["fsync", "os", "memory"] = "fsync"
    min_free: Share = 0.05
    inline_limit: Size = 1 * MIB
    segment_size: Annotated[int, msgspec.Meta(extra={"unit": "size"}, ge=64 * KIB)] = 64 * MIB
    completion_sync: Duration = 1.0


class Limits(Section, frozen=True):
    """[limits]"""

    memory: Size = 1 * GIB  # bodies in memory per worker, in reception and on their way out
    max_queue_messages: Positive = 5_000_000


class Retry(Section, frozen=True):
    """[retry]"""

    first: Lasting = 5 * MINUTE
    factor: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    max: Lasting = 4 * HOUR
    jitter: Share = 0.1
    expire: Lasting = 5 * DAY


class Bounce(Section, frozen=True):
    """[bounce]"""

    send: bool = True
    return_: Literal["headers", "full", "nothing"] = msgspec.field(default="headers", name="return")
    delay_notice: Duration = 4 * HOUR  # 0 = never


class Dns(Section, frozen=True):
    """[dns]"""

    nameservers: tuple[str, ...] = ()  # () = /etc/resolv.conf; "127.0.0.1:5353" allowed
    timeout: Lasting = 5.0  # a question, all servers and repeats together
    cache_size: Positive = 65536
    negative_ttl: Duration = 5 * MINUTE  # ceiling; the zone's SOA may say less
    min_ttl: Duration = 5.0
    max_ttl: Duration = 1 * DAY
    stale: Duration = 1 * DAY  # how long past its TTL an answer serves while servers fail


class Delivery(Section, frozen=True):
    """[delivery], and what a [[site]] row changes of it."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    connections: Positive = 10  # per site, machine-wide
    connect_rate: PerTime = Rate(100, 60)
    messages_per_connection: Positive = 100
    connection_lifetime: Duration = 5 * MINUTE
    idle_timeout: Duration = 60.0
    recipients_per_transaction: Positive = 100  # RFC 5321 4.5.3.1.8: every server takes 100
    connect_timeout: Lasting = 30.0
    reply_timeout: Duration = 0.0  # ceiling on every wait for the peer; 0 = RFC 5321 4.5.3.2, phase by phase
    allow_private: bool = False
    ip: Literal["both", "4", "6"] = "both"
    source_address: tuple[str, ...] = ()
    hello: str = ""  # "" = server.hostname
    tls: Literal["never", "opportunistic", "require"] = "opportunistic"


class Site(Section, frozen=True):
    """[[site]]: matched by MX suffix or recipient domain; `delivery` is the merged whole."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    mx_suffix: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    delivery: Delivery = Delivery()


class StaticRoute(Section, frozen=True):
    """[[route]]: domain "*" is a smart host for everything, ".example" a domain and all below it."""

    domain: str
    next_hop: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class Admin(Section, frozen=True):
    """[admin]"""

    address: str = "127.0.0.1:8025"  # "" = no TCP port; the socket in runtime_dir is always there


class Log(Section, frozen=True):
    """[log]"""

    events: str = "stdout"  # "stdout" | "none" | a file
    on_full: Literal["drop", "wait"] = "drop"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. `source` is the file or "defaults"; `notes` are lines a person should read at start."""

    server: Server = Server()
    listeners: tuple[Listener, ...] = (Listener(),)
    spool: Spool = Spool()
    limits: Limits = Limits()
    retry: Retry = Retry()
    bounce: Bounce = Bounce()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    sites: tuple[Site, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    admin: Admin = Admin()
    log: Log = Log()
    source: str = "defaults"
    notes: tuple[str, ...] = ()


_TABLES: dict[str, type[Section]] = {
    "server": Server,
    "spool": Spool,
    "limits": Limits,
    "retry": Retry,
    "bounce": Bounce,
    "dns": Dns,
    "delivery": Delivery,
    "admin": Admin,
    "log": Log,
}
_ARRAYS = ("listener", "site", "route")
_SITE_KEYS = ("name", "mx_suffix", "domain")
_DERIVED = ("client_limit_set",)

_DURATION = {"ms": 0.001, "s": 1.0, "m": MINUTE, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_SIZE = {"B": 1, "": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_PER = {"s": 1.0, "sec": 1.0, "min": MINUTE, "m": MINUTE, "h": HOUR, "hour": HOUR, "d": DAY, "day": DAY}
_HOST = re.compile(
    r"(?=.{1,255}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z|\[[A-Za-z0-9.:]{2,60}\]\Z"
)  # RFC 5321 4.1.3
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z%]*)\Z")


def _quantity(text: str, units: Mapping[str, float], example: str) -> float:
    match = _NUMBER.match(text.strip())
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not understood: write it like {example}")
    return float(match[1]) * units[match[2]]


def _in_unit(unit: str, value: Any) -> Any:
    """A string of the file in the unit its key asks for; other types pass on to the type check."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number to work with")
    if unit == "rate":
        rate = _rate(value)
        if isinstance(rate, Rate) and rate.count <= 0:
            raise ValueError(f'{value!r} would let nothing through: write it like "100/min"')
        return rate
    if not unit or not isinstance(value, str):
        return value
    if unit == "duration":
        return _quantity(value, _DURATION, '"30s", "5m", "4h" or "5d"')
    if unit == "size":
        return int(_quantity(value, _SIZE, '"500KiB", "64MiB" or "1GiB"'))
    if unit == "share":
        return _quantity(value, {"%": 0.01}, '"5%"')
    if unit == "byterate":
        return _quantity(value.removesuffix("/s"), _SIZE, '"500B/s"')
    raise AssertionError(f"no such unit: {unit}")


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return Rate(float(value), 1.0) if isinstance(value, int | float) and value is not True else value
    count, slash, per = value.partition("/")
    if not slash or per.strip() not in _PER:
        raise ValueError(f'{value!r} is not understood: write it like "100/min" or "20/s"')
    return Rate(_quantity(count, {"": 1}, '"100/min"'), _PER[per.strip()])


def _host(name: str, key: str) -> None:
    """It goes to peers and into headers: ConfigError naming `key` unless it is a host name, or an address literal."""
    if not _HOST.match(name):
        raise ConfigError(f'{key}: {name!r} is no host name: write it like "relay.example.com"')


def _unit_of(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        for meta in get_args(hint)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.extra:
                return str(meta.extra.get("unit", ""))
    return ""


def _fields(kind: type[Section]) -> dict[str, str]:
    """Key as written in the file -> unit."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.encode_name: _unit_of(hints[f.name]) for f in msgspec.structs.fields(kind) if f.name not in _DERIVED}


def _unknown(where: str, key: str, known: Any) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f', did you mean "{near[0]}"?' if near else f"; known here: {', '.join(sorted(known))}"
    return f"{where}{key}: unknown key{hint}"


def _section(kind: type[Any], where: str, given: Any, known: dict[str, str] | None = None) -> Any:
    if not isinstance(given, dict):
        raise ConfigError(f"{where.rstrip('.')}: must be a table")
    fields = _fields(kind) if known is None else known
    values = {}
    for key, value in given.items():
        if key not in fields:
            raise ConfigError(_unknown(where, key, fields))
        try:
            values[key] = _in_unit(fields[key], value)
        except ValueError as error:
            raise ConfigError(f"{where}{key}: {error}") from None
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        match = re.match(r"(.*) - at `\$\.?([^`\[]*)", text)
        key, why = (match[2], match[1]) if match else ("", text)
        raise ConfigError(f"{where}{key or '*'}: {why[0].lower()}{why[1:]}") from None


def _listener(where: str, given: dict[str, Any]) -> Listener:
    one: Listener = _section(Listener, where, given)
    parse_address(one.address, f"{where}address")
    for net in one.relay_from:
        try:
            ip_network(net, strict=False)
        except ValueError as error:
            raise ConfigError(f"{where}relay_from: {error}") from None
    if one.tls != "none" and not one.certificate:
        raise ConfigError(f'{where}certificate: tls = "{one.tls}" needs a certificate (PEM chain) and its key')
    return msgspec.structs.replace(one, client_limit_set="max_connections_per_client" in given)


def _road(delivery: Delivery, where: str) -> None:
    if delivery.hello:
        _host(delivery.hello, f"{where}hello")
    for address in delivery.source_address:
        try:
            ip_address(address)
        except ValueError as error:
            raise ConfigError(f"{where}source_address: {error}") from None


def parse_address(text: str, key: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:25", "[::]:25" or "unix:/path" (port 0). ConfigError naming `key` else."""
    if text.startswith("unix:/"):
        return text, 0
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise ConfigError(f'{key}: {text!r} is no address: write "127.0.0.1:2525", "[::]:25" or "unix:/path"')
    return bare, int(port)


def parse_quantity(text: str, unit: Literal["duration", "size", "share"], key: str) -> float:
    """Seconds of "30s", octets of "64MiB", 0..1 of "5%", as in the file. ConfigError naming `key` else."""
    try:
        return float(_in_unit(unit, text))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None


def parse(text: str, source: str = "config") -> Config:
    """The Config a TOML text means. ConfigError starts with `source`."""
    try:
        tree = tomllib.loads(text)
        return msgspec.structs.replace(_parse(tree), source=source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def _parse(tree: dict[str, Any]) -> Config:
    for key in tree:
        if key not in _TABLES and key not in _ARRAYS:
            raise ConfigError(_unknown("", key, [*_TABLES, *_ARRAYS]))
    for key in _ARRAYS:
        if not isinstance(tree.get(key, []), list):
            raise ConfigError(f"{key}: write it as an array of tables: [[{key}]]")
    parts: dict[str, Any] = {key: _section(kind, f"{key}.", tree.get(key, {})) for key, kind in _TABLES.items()}
    if not parts["server"].hostname:
        parts["server"] = msgspec.structs.replace(parts["server"], hostname=socket.gethostname() or "localhost")
    _host(parts["server"].hostname, "server.hostname")
    _road(parts["delivery"], "delivery.")
    listeners = tuple(_listener(f"listener[{n}].", one) for n, one in enumerate(tree.get("listener", [{}])))
    delivery, sites = tree.get("delivery", {}), []
    for n, row in enumerate(tree.get("site", [])):
        where = f"site[{n}]."
        own = {k: v for k, v in row.items() if k in _SITE_KEYS}
        rest = {k: v for k, v in row.items() if k not in _SITE_KEYS}
        for key in rest:
            if key not in _fields(Delivery):
                raise ConfigError(_unknown(where, key, [*_SITE_KEYS, *_fields(Delivery)]))
        site = _section(Site, where, own)
        merged: Delivery = _section(Delivery, where, {**delivery, **rest})
        _road(merged, where)
        sites.append(msgspec.structs.replace(site, delivery=merged))
    routes = tuple(_section(StaticRoute, f"route[{n}].", one) for n, one in enumerate(tree.get("route", [])))
    if parts["admin"].address:
        parse_address(parts["admin"].address, "admin.address")
    return Config(listeners=listeners, sites=tuple(sites), routes=routes, **parts)


def load(path: str | Path | None = None) -> Config:
    """The Config of a file; of /etc/fastrelay/fastrelay.toml when it exists; of nothing but defaults else.

    Without root, spool.path and server.runtime_dir that are not given and whose default is not ours to write move to
    the user's own directories, and `notes` say so.
    """
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is None:
        return _sockets_fit(_for_this_user(parse("", "defaults"), {}))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _sockets_fit(_for_this_user(parse(text, str(path)), tomllib.loads(text)))


def _sockets_fit(config: Config) -> Config:
    """The same, or ConfigError: the workers' sockets in runtime_dir would have names the system does not take."""
    runtime_dir = config.server.runtime_dir
    if len(os.fsencode(os.path.abspath(runtime_dir))) > RUNTIME_DIR_OCTETS:
        raise ConfigError(
            f"{config.source}: server.runtime_dir: {runtime_dir!r} is too long: at most {RUNTIME_DIR_OCTETS} octets, "
            f"for local sockets stand in it; choose a shorter path"
        )
    return config


def _for_this_user(config: Config, given: dict[str, Any]) -> Config:
    if os.geteuid() == 0:
        return config
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fastrelay"
    run = os.environ.get("XDG_RUNTIME_DIR")
    server, spool, notes = config.server, config.spool, []
    if "runtime_dir" not in given.get("server", {}) and not os.access(server.runtime_dir, os.W_OK):
        server = msgspec.structs.replace(server, runtime_dir=str(Path(run) / "fastrelay" if run else home / "run"))
        notes.append(f"server.runtime_dir is {server.runtime_dir}")
    if "path" not in given.get("spool", {}) and not os.access(spool.path, os.W_OK):
        spool = msgspec.structs.replace(spool, path=str(home / "spool"))
        notes.append(f"spool.path is {spool.path}")
    if not notes:
        return config
    note = f"not root, and not configured: {', '.join(notes)}"
    return msgspec.structs.replace(config, server=server, spool=spool, notes=(*config.notes, note))


def site_settings(config: Config, site: str) -> Delivery:
    """The delivery settings in force for a site by name: its [[site]] row over [delivery]."""
    for row in config.sites:
        if row.name == site:
            return row.delivery
    return config.delivery
