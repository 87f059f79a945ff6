"""How a load session gets in: TLS or not, and who it says it is (smtp/sasl/).

A certificate is not verified: the target of a load run is one's own, and often has none that any authority signed.
"""

import enum
from dataclasses import dataclass

from fastrelay.errors import MisuseError
from fastrelay.smtp.sasl.client import Secret


class Security(enum.Enum):
    """When TLS starts."""

    NONE = "none"
    STARTTLS = "starttls"  # RFC 3207
    IMPLICIT = "implicit"  # RFC 8314: from the first octet


@dataclass(frozen=True, slots=True)
class Access:
    """What a session does before its first message."""

    security: Security = Security.NONE
    credentials: Secret | None = None


OPEN = Access()  # in plain text, as nobody


def parse_credentials(text: str) -> Secret:
    """ "user:password"; the password may hold colons."""
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise MisuseError("--auth: write it like user:password")
    return Secret(user, password)
