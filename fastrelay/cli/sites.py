"""Which site a domain's mail goes to, asked of DNS by a command where no relay runs that would know."""

from fastrelay.config import Config
from fastrelay.mail.route import Route
from fastrelay.routing.resolver import configured
from fastrelay.routing.router import Router
from fastrelay.runtime.stream import ticking


class Sites:
    """Answers are kept for as long as the command runs."""

    def __init__(self, config: Config) -> None:
        self._router = Router(config, configured(config.dns))
        self._known: dict[str, str] = {}
        self._ticker = ticking()

    def site_of(self, domain: str) -> str:
        """The site, "" where there is no route now. Waits for DNS."""
        known = self._known.get(domain)
        if known is None:
            found = self._router.route(domain)
            known = self._known[domain] = found.site if isinstance(found, Route) else ""
        return known
