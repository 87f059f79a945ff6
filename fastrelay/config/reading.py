"""Reading: TOML text -> Config. Whatever is wrong raises ConfigError in one line: file, key, why, and the nearest key
where a name is unknown."""

import difflib
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from fastrelay.config.aliases import Aliases, read_aliases
from fastrelay.config.names import check_host, parse_address
from fastrelay.config.quantity import in_unit
from fastrelay.config.sections import Certificate, Config, Credentials, Delivery, Listener, Section, Site, StaticRoute
from fastrelay.config.wording import worded
from fastrelay.errors import ConfigError

RUNTIME_DIR_OCTETS = 107 - len("/slot-000.sock.new")  # unix(7): the name of a socket has at most 107 octets
DEFAULT_FILE = Path("/etc/fastrelay/fastrelay.toml")

TABLES: dict[str, type[Section]] = {
    name: kind for name, kind in get_type_hints(Config).items() if isinstance(kind, type) and issubclass(kind, Section)
}
ARRAYS = ("listener", "credentials", "site", "route")
DERIVED = ("client_limit_set", "aliases", "login", "delivery")  # fields of a section that are no keys of the file


def _unit_of(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        for meta in get_args(hint)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.extra:
                return str(meta.extra.get("unit", ""))
    return ""


@cache
def keys_of(kind: type[Section]) -> dict[str, str]:
    """Key as written in the file -> unit."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.encode_name: _unit_of(hints[f.name]) for f in msgspec.structs.fields(kind) if f.name not in DERIVED}


def hints_of(kind: type[Section]) -> dict[str, Any]:
    """Key as written in the file -> type."""
    hints = get_type_hints(kind)
    return {f.encode_name: hints[f.name] for f in msgspec.structs.fields(kind)}


SITE_KEYS = keys_of(Site)  # a [[site]] row has those of [delivery] beside them


def _unknown(where: str, key: str, known: Iterable[str]) -> str:
    return f"{where}{key if key.isprintable() else repr(key)}: unknown key{_near(key, known)}"


def _near(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f', did you mean "{near[0]}"?' if near else f"; known here: {', '.join(known) or 'none'}"


def _section(kind: type[Section], where: str, given: Any) -> Any:
    if not isinstance(given, dict):
        raise ConfigError(f"{where.rstrip('.')}: must be a table")
    fields = keys_of(kind)
    values = {}
    for key, value in given.items():
        if key not in fields:
            raise ConfigError(_unknown(where, key, fields))
        try:
            values[key] = in_unit(fields[key], value)
        except ValueError as error:
            raise ConfigError(f"{where}{key}: {error}") from None
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        said = str(error)
        place = re.match(r"(.*) - at `\$\.?([^`\[]*)", said)
        why, key = (place[1], place[2]) if place else (said, "")
        key, why = worded(why, key, hints_of(kind).get(key))
        raise ConfigError(f"{where}{key}: {why}") from None


def _listener(where: str, given: dict[str, Any], aliases: Aliases) -> Listener:
    rows = given.get("certificates", [])
    for number, row in enumerate(rows if isinstance(rows, list) else []):
        _section(Certificate, f"{where}certificates[{number}].", row)
    one: Listener = _section(Listener, where, given)
    parse_address(one.address, f"{where}address")
    for key in ("relay_from", "proxy_from", "xclient_from", "unlimited_from"):
        for net in getattr(one, key):
            try:
                ip_network(net, strict=False)
            except ValueError as error:
                raise ConfigError(f"{where}{key}: {error}") from None
    _listener_tls(where, one)
    if one.auth != "none" and one.tls == "none" and not one.auth_plaintext:
        raise ConfigError(
            f"{where}auth: is offered inside TLS alone: set tls, or auth_plaintext = true to have passwords sent in "
            f"clear text"
        )
    if one.proxy_protocol and not one.proxy_from and not one.address.startswith("unix:"):
        raise ConfigError(f'{where}proxy_from: name the proxies that proxy_protocol is for, as ["192.0.2.10"]')
    if one.proxy_from and not one.proxy_protocol:
        raise ConfigError(f"{where}proxy_from: means nothing without proxy_protocol = true")
    _listener_limits(where, one)
    limit_set = "max_connections_per_client" in given
    return msgspec.structs.replace(one, aliases=aliases, client_limit_set=limit_set)


def _listener_limits(where: str, one: Listener) -> None:
    if one.reserved_connections and not one.unlimited_from:
        raise ConfigError(f"{where}reserved_connections: say for whom, in unlimited_from")
    if one.reserved_connections >= one.max_connections:
        raise ConfigError(f"{where}reserved_connections: leaves nothing of max_connections for others")
    if one.tls_rate_per_client is not None and one.tls == "none":
        raise ConfigError(f'{where}tls_rate_per_client: means nothing with tls = "none"')
    if one.message_rate_per_account is not None and one.auth == "none" and not one.xclient_from:
        raise ConfigError(f"{where}message_rate_per_account: nobody logs in here: set auth")


def _listener_tls(where: str, one: Listener) -> None:
    if one.tls == "none":
        if one.client_ca:
            raise ConfigError(f'{where}client_ca: certificates are shown in TLS; set tls to "starttls" or more')
        return
    if not one.certificate:
        raise ConfigError(f'{where}certificate: tls = "{one.tls}" needs a certificate (PEM chain) and its key')
    if one.client_ca and not one.relay_certificates:
        raise ConfigError(
            f"{where}relay_certificates: say whose certificate lets a client relay: names, sha256 fingerprints, or "
            f'["*"] for every one that client_ca vouches for'
        )
    if one.relay_certificates and not one.client_ca:
        raise ConfigError(f"{where}relay_certificates: needs client_ca, the authorities (PEM) that vouch for them")
    for name in one.relay_certificates:
        digits = name.replace(":", "").lower().removeprefix("sha256")
        if len(digits) in (32, 40, 128) and not set(digits) - set("0123456789abcdef"):
            raise ConfigError(
                f"{where}relay_certificates: {name!r} is no sha256 fingerprint, which has 64 digits: see "
                f"`openssl x509 -noout -fingerprint -sha256 -in FILE`"
            )


def _road(delivery: Delivery, where: str) -> None:
    if delivery.hello:
        check_host(delivery.hello, f"{where}hello")
    for address in delivery.source_address:
        try:
            ip_address(address)
        except ValueError as error:
            raise ConfigError(f"{where}source_address: {error}") from None
    for name in delivery.tls_names:
        if name not in ("host", "domain"):
            check_host(name.removeprefix("."), f"{where}tls_names")


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
        if key not in TABLES and key not in ARRAYS and key != "aliases":
            owners = [f"[{name}]" for name, kind in TABLES.items() if key in keys_of(kind)]
            owners += ["[[listener]]"] if key in keys_of(Listener) else []
            if owners:
                raise ConfigError(f"{key}: stands in no table: write it below {' or '.join(owners)}")
            raise ConfigError(_unknown("", key, [*TABLES, *ARRAYS, "aliases"]))
    for key in ARRAYS:
        if not isinstance(tree.get(key, []), list):
            raise ConfigError(f"{key}: write it as an array of tables: [[{key}]]")
    parts: dict[str, Any] = {key: _section(kind, f"{key}.", tree.get(key, {})) for key, kind in TABLES.items()}
    if not parts["server"].hostname:
        parts["server"] = msgspec.structs.replace(parts["server"], hostname=socket.gethostname() or "localhost")
    check_host(parts["server"].hostname, "server.hostname")
    _road(parts["delivery"], "delivery.")
    aliases = read_aliases(tree.get("aliases", {}), parts["server"].hostname)
    listeners = tuple(_listener(f"listener[{n}].", one, aliases) for n, one in enumerate(tree.get("listener", [{}])))
    delivery, sites = tree.get("delivery", {}), []
    for n, row in enumerate(tree.get("site", [])):
        where = f"site[{n}]."
        own = {k: v for k, v in row.items() if k in SITE_KEYS}
        rest = {k: v for k, v in row.items() if k not in SITE_KEYS}
        for key in rest:
            if key not in keys_of(Delivery):
                raise ConfigError(_unknown(where, key, [*SITE_KEYS, *keys_of(Delivery)]))
        site = _section(Site, where, own)
        merged: Delivery = _section(Delivery, where, {**delivery, **rest})
        _road(merged, where)
        merged = msgspec.structs.replace(merged, login=site.credentials)
        sites.append(msgspec.structs.replace(site, delivery=merged))
    routes = tuple(_section(StaticRoute, f"route[{n}].", one) for n, one in enumerate(tree.get("route", [])))
    if parts["admin"].address:
        parse_address(parts["admin"].address, "admin.address")
    credentials = tuple(_credentials(f"credentials[{n}].", one) for n, one in enumerate(tree.get("credentials", [])))
    config = Config(listeners=listeners, credentials=credentials, sites=tuple(sites), routes=routes, **parts)
    return msgspec.structs.replace(config, notes=tuple(_secrets(config)))


def _credentials(where: str, given: dict[str, Any]) -> Credentials:
    one: Credentials = _section(Credentials, where, given)
    if bool(one.password) == bool(one.password_file):
        raise ConfigError(f"{where}password: give either password or password_file")
    return one


def _secrets(config: Config) -> Iterator[str]:
    """What an operator should know of passwords on the wire. ConfigError for credentials that are nowhere."""
    for n, listener in enumerate(config.listeners):
        if listener.auth != "none" and listener.auth_plaintext:
            yield f"listener[{n}].auth_plaintext: passwords of clients may come in clear text, for anyone on the way"
    known = {one.name: one for one in config.credentials}
    if len(known) < len(config.credentials):
        raise ConfigError("credentials: two rows have the same name")
    rows = [(f"site[{n}]", site.credentials, site.delivery) for n, site in enumerate(config.sites)]
    for n, route in enumerate(config.routes):
        delivery = next((site.delivery for site in config.sites if site.name == ",".join(route.next_hop)), None)
        rows.append((f"route[{n}]", route.credentials, delivery or config.delivery))
    for where, name, delivery in rows:
        if not name:
            continue
        if name not in known:
            raise ConfigError(f'{where}.credentials: no [[credentials]] row is named "{name}"{_near(name, known)}')
        if known[name].plaintext:
            yield f'{where}.credentials: those of "{name}" may be sent in clear text, for anyone on the way to see'
        elif delivery.tls == "never":
            raise ConfigError(f'{where}.credentials: are sent inside TLS alone, and tls is "never"')
        elif delivery.tls != "verify":
            yield f'{where}.credentials: "{name}" go to whoever answers there; tls = "verify" checks who that is'


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


def _state(name: str, config: Config, key: str) -> Path:
    """A directory of the user's own, for what `key` has not said. ConfigError where the user has no home."""
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fastrelay" / name
    except RuntimeError:
        raise ConfigError(
            f"{config.source}: {key}: is not given, its default is not ours to write (user id {os.geteuid()}), and we "
            f"have no home; name a directory"
        ) from None


def _for_this_user(config: Config, given: dict[str, Any]) -> Config:
    if os.geteuid() == 0:
        return config
    run = os.environ.get("XDG_RUNTIME_DIR")
    server, spool, notes = config.server, config.spool, []
    if "runtime_dir" not in given.get("server", {}) and not os.access(server.runtime_dir, os.W_OK):
        server = msgspec.structs.replace(
            server, runtime_dir=str(Path(run) / "fastrelay" if run else _state("run", config, "server.runtime_dir"))
        )
        notes.append(f"server.runtime_dir is {server.runtime_dir}")
    if "path" not in given.get("spool", {}) and not os.access(spool.path, os.W_OK):
        spool = msgspec.structs.replace(spool, path=str(_state("spool", config, "spool.path")))
        notes.append(f"spool.path is {spool.path}")
    if not notes:
        return config
    note = f"not root, and not configured: {', '.join(notes)}"
    return msgspec.structs.replace(config, server=server, spool=spool, notes=(*config.notes, note))
