"""Which mail a queue command means: ID, --domain, --site, --sender, --older-than, --reply, --held; or --all.

All that are given must hold.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fastrelay.cli.quantity import DURATION
from fastrelay.errors import MisuseError
from fastrelay.mail.address import domain_of

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("ident", metavar="[ID]", required=False, default=""),
    click.option("--domain", metavar="NAME", default="", help="Recipients at this domain."),
    click.option("--site", metavar="NAME", default="", help="Recipients whose mail goes to this site."),
    click.option("--sender", metavar="ADDRESS", help='Messages of this sender; "" for bounces.'),
    click.option("--older-than", type=DURATION, help="Messages received longer ago, as 2h."),
    click.option("--reply", metavar="TEXT", default="", help="Recipients whose last reply has this text in it."),
    click.option("--held/--not-held", default=None, help="Only messages on hold, or only others."),
    click.option("--all", "everything", is_flag=True, help="All mail there is."),
)


def selecting(function: Function) -> Function:
    """Decorator: the options, handed to the command as `ident` and keywords for `select`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def select(
    ident: str = "",
    domain: str = "",
    site: str = "",
    sender: str | None = None,
    older_than: float | None = None,
    reply: str = "",
    held: bool | None = None,
    everything: bool = False,
) -> dict[str, Any]:
    """The `select` of a request (control/request.py), only what was given. MisuseError for --all beside others."""
    chosen: dict[str, Any] = {}
    if ident:
        chosen["id"] = ident.lower()
    if domain:
        chosen["domain"] = domain_of(domain)
    if site:
        chosen["site"] = site
    if sender is not None:
        chosen["sender"] = sender
    if older_than is not None:
        chosen["older_than"] = older_than
    if reply:
        chosen["reply"] = reply
    if held is not None:
        chosen["held"] = held
    if everything and chosen:
        raise MisuseError(f"--all means all mail: leave it out beside {', '.join(chosen)}")
    return {"all": True} if everything else chosen


def to_query(chosen: dict[str, Any]) -> dict[str, str]:
    """The same as a query string's values."""
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in chosen.items()}
