"""Names and addresses that stand in the file."""

import re

from fastrelay.errors import ConfigError

_HOST = re.compile(
    r"(?=.{1,255}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z|\[[A-Za-z0-9.:]{2,60}\]\Z"
)  # RFC 5321 4.1.3


def check_host(name: str, key: str) -> None:
    """It goes to peers and into headers: ConfigError naming `key` unless it is a host name, or an address literal."""
    if not _HOST.match(name):
        raise ConfigError(f'{key}: {name!r} is no host name: write it like "relay.example.com"')


def parse_address(text: str, key: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:25", "[::]:25" or "unix:/path" (port 0). ConfigError naming `key` else."""
    if text.startswith("unix:/"):
        return text, 0
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise ConfigError(f'{key}: {text!r} is no address: write "127.0.0.1:2525", "[::]:25" or "unix:/path"')
    return bare, int(port)
