"""Who we are at smart hosts: `[[credentials]]` rows with their passwords read, ready to log in with (RFC 4954).

SCRAM's keys are derived in a native thread, once for all connections to a server (smtp/sasl/client.py keeps them).
ConfigError names the row whose password cannot be had. Nothing here shows a password.
"""

from collections.abc import Iterable
from typing import NamedTuple

from fastrelay.config import Credentials
from fastrelay.errors import ConfigError, MisuseError
from fastrelay.mail.outcome import Phase
from fastrelay.mail.reply import Reply
from fastrelay.runtime import tasks
from fastrelay.smtp.sasl import MAX_PASSWORD, scram
from fastrelay.smtp.sasl.client import Secret
from fastrelay.smtp.sasl.scram import Keys


class Account(NamedTuple):
    """plaintext: the password may be sent where the smart host has no TLS."""

    secret: Secret
    plaintext: bool


def accounts(rows: Iterable[Credentials]) -> dict[str, Account]:
    """By the name of the row."""
    found: dict[str, Account] = {}
    for number, row in enumerate(rows):
        where = f"credentials[{number}]"
        password = row.password or _read(row.password_file, where)
        try:
            secret = Secret(row.user, password, mechanisms=row.mechanisms, derive=_derive_beside)
        except MisuseError as error:
            raise ConfigError(f"{where}: {error}") from None
        found[row.name] = Account(secret, row.plaintext)
    return found


def _read(path: str, where: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline(MAX_PASSWORD + 2)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"{where}.password_file: {path} cannot be read: {why}; the configured user must be able to"
        ) from None
    return line.rstrip("\r\n")


def _derive_beside(password: bytes, salt: bytes, iterations: int) -> Keys:
    keys: Keys = tasks.in_thread_to_end(scram.derive, password, salt, iterations)
    return keys


def unknown(name: str) -> tuple[Phase, Reply]:
    """A demand of before a reload names credentials that are gone."""
    return Phase.AUTH, Reply(451, "4.7.0", (f'the credentials "{name}" are not configured any more',))


def no_mechanism(host: str, offered: tuple[str, ...]) -> tuple[Phase, Reply]:
    """The host and we have none in common."""
    what = f"offers AUTH {' '.join(offered)[:200]}, none of which we may use" if offered else "offers no AUTH"
    return Phase.AUTH, Reply(451, "4.7.0", (f"{host} {what}, and we have credentials for it",))
