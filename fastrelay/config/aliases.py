"""[aliases]: names that stand for several recipients (RFC 5321 3.9.1), expanded when the file is read.

    staff = ["anna@example.com", "bert@example.org", "ops"]     a bare name is one at server.hostname
    "sales@shop.example" = ["carla@example.com"]                or an address as it will be written in RCPT

A recipient that is an alias itself is expanded in turn. What leads back to itself is refused, and so is what becomes
too many: an alias is no mailing list. Names are compared without case, recipients go out as they are written here.
"""

import re
from collections.abc import Mapping
from typing import Any

from fastrelay.config.names import check_host
from fastrelay.errors import ConfigError

MAX_EXPANSION = 1000  # recipients one alias may stand for: as many as max_recipients lets a client name by default
MAX_DEPTH = 20  # aliases within aliases; nobody nests deeper by intention

_LOCAL = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")

Aliases = tuple[tuple[str, tuple[str, ...]], ...]


def read_aliases(table: Any, hostname: str) -> Aliases:
    """(name, recipients) of each alias: names as addresses in small letters, recipients as addresses, none twice.
    ConfigError names the alias, and the way round where it leads back to itself."""
    if not isinstance(table, dict):
        raise ConfigError("aliases: must be a table")
    members: dict[str, list[str]] = {}
    for name, given in table.items():
        where = f"aliases.{name}"
        address = _address(name, hostname, where).lower()
        if address in members:
            raise ConfigError(f"{where}: is there twice; names are compared without case")
        if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
            raise ConfigError(f'{where}: write the recipients as a list: ["anna@example.com"]')
        members[address] = [_address(one, hostname, where) for one in given]
    for name, given in table.items():
        for bare in given:
            if "@" not in bare and f"{bare}@{hostname}".lower() not in members:
                raise ConfigError(f"aliases.{name}: {bare!r} is neither an address nor another alias")
    whole: dict[str, tuple[str, ...]] = {}
    for name in members:
        _expand(name, members, whole, [])
    return tuple(whole.items())


def _expand(name: str, members: Mapping[str, list[str]], whole: dict[str, tuple[str, ...]], way: list[str]) -> None:
    """`whole` gets what `name` stands for, and all that it leads to. way: the names it is reached by."""
    if name in whole:
        return
    if name in way:
        raise ConfigError(f"aliases.{name}: leads back to itself: {' -> '.join([*way[way.index(name) :], name])}")
    if len(way) >= MAX_DEPTH:
        raise ConfigError(f"aliases.{way[0]}: aliases within aliases more than {MAX_DEPTH} deep")
    found: dict[str, str] = {}
    for one in members[name]:
        key = one.lower()
        if key in members:
            _expand(key, members, whole, [*way, name])
            found.update((two.lower(), two) for two in whole[key] if two.lower() not in found)
        else:
            found.setdefault(key, one)
        if len(found) > MAX_EXPANSION:
            raise ConfigError(f"aliases.{name}: stands for more than {MAX_EXPANSION} recipients")
    whole[name] = tuple(found.values())


def _address(text: str, hostname: str, where: str) -> str:
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = text, hostname
    if not _LOCAL.match(local):
        raise ConfigError(f'{where}: {text!r} is no address: write it like "anna@example.com", in ASCII')
    check_host(domain, where)
    return f"{local}@{domain}"
