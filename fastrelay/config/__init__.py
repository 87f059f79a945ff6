"""The configuration: one TOML file -> frozen typed values, one struct per room. Every key is optional.

Units: durations are seconds (float), written "30s", "5m", "4h", "5d", "250ms"; sizes are octets, written "64MiB",
"10MB", "500B"; rates are Rate(count, seconds), written "100/min"; shares are floats 0..1, written "5%".
Whatever is wrong raises ConfigError in one line: file, key, why, and the nearest key where a name is unknown.

quantity.py: the units. names.py: hosts and addresses. aliases.py: [aliases]. sections.py: the values. reading.py:
from text to them. "X as X" hands a name on.
"""

from fastrelay.config.names import parse_address as parse_address
from fastrelay.config.quantity import Rate as Rate
from fastrelay.config.quantity import parse_quantity as parse_quantity
from fastrelay.config.reading import RUNTIME_DIR_OCTETS as RUNTIME_DIR_OCTETS
from fastrelay.config.reading import load as load
from fastrelay.config.reading import parse as parse
from fastrelay.config.sections import Admin as Admin
from fastrelay.config.sections import Auth as Auth
from fastrelay.config.sections import Bounce as Bounce
from fastrelay.config.sections import Certificate as Certificate
from fastrelay.config.sections import Config as Config
from fastrelay.config.sections import Credentials as Credentials
from fastrelay.config.sections import Delivery as Delivery
from fastrelay.config.sections import Dns as Dns
from fastrelay.config.sections import Limits as Limits
from fastrelay.config.sections import Listener as Listener
from fastrelay.config.sections import Log as Log
from fastrelay.config.sections import Retry as Retry
from fastrelay.config.sections import Server as Server
from fastrelay.config.sections import Site as Site
from fastrelay.config.sections import Spool as Spool
from fastrelay.config.sections import StaticRoute as StaticRoute
from fastrelay.config.sections import authorities as authorities
from fastrelay.config.sections import site_settings as site_settings
