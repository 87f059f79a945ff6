"""The configuration: one TOML file -> frozen typed values, one struct per room. Every key is optional.

Units: durations are seconds (float), written "30s", "5m", "4h", "5d", "250ms"; sizes are octets, written "64MiB",
"10MB", "500B"; rates are Rate(count, seconds), written "100/min"; shares are floats 0..1, written "5%".
Whatever is wrong raises ConfigError in one line: file, key, why, and the nearest key where a name is unknown.

quantity.py: the units. names.py: hosts and addresses. aliases.py: [aliases]. sections.py: the values. reading.py:
from text to them.
"""

from fastrelay.config.names import parse_address
from fastrelay.config.quantity import DAY, GIB, HOUR, KIB, MIB, MINUTE, Rate, parse_quantity
from fastrelay.config.reading import DEFAULT_FILE, RUNTIME_DIR_OCTETS, load, parse
from fastrelay.config.sections import (
    Admin,
    Auth,
    Bounce,
    Certificate,
    Config,
    Credentials,
    Delivery,
    Dns,
    Limits,
    Listener,
    Log,
    Retry,
    Section,
    Server,
    Site,
    Spool,
    StaticRoute,
    authorities,
    site_settings,
)

__all__ = [
    "DAY",
    "DEFAULT_FILE",
    "GIB",
    "HOUR",
    "KIB",
    "MIB",
    "MINUTE",
    "RUNTIME_DIR_OCTETS",
    "Admin",
    "Auth",
    "Bounce",
    "Certificate",
    "Config",
    "Credentials",
    "Delivery",
    "Dns",
    "Limits",
    "Listener",
    "Log",
    "Rate",
    "Retry",
    "Section",
    "Server",
    "Site",
    "Spool",
    "StaticRoute",
    "authorities",
    "load",
    "parse",
    "parse_address",
    "parse_quantity",
    "site_settings",
]
