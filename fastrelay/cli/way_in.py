"""How a command that sends mail gets into a server: TLS and AUTH, in one spelling."""

import click

from fastrelay.load.access import OPEN, Access, Security, parse_credentials

TLS = click.option(
    "--tls",
    is_flag=False,
    flag_value="starttls",
    default="none",
    type=click.Choice([one.value for one in Security]),
    help="starttls where nothing is named. Certificates are not verified.",
)
AUTH = click.option(
    "--auth",
    envvar="FASTRELAY_AUTH",
    metavar="USER:PASSWORD",
    help="AUTH, by the strongest of SCRAM-SHA-256, PLAIN, LOGIN that is offered; also $FASTRELAY_AUTH.",
)


def access_of(tls: str, auth: str | None) -> Access:
    """What the two options mean."""
    if tls == Security.NONE.value and auth is None:
        return OPEN
    return Access(Security(tls), parse_credentials(auth) if auth is not None else None)
