"""Who a client is and so what it may do: its address, its certificate, its login, its claim in HELO, and what DNS says.

Known from the accept on is the address alone. What DNS says is asked for early and waited for late (`hear`), in the
bounds of caller.py. A peer that may say XCLIENT becomes the client it speaks for. Nothing here is said to the client.
"""

from fastrelay.reception.caller import UNKNOWN, Caller
from fastrelay.reception.desk import Desk, Layer
from fastrelay.runtime import x509
from fastrelay.smtp.events import XClient

_NOTHING: dict[str, str] = {}


class Identity:
    """Of one session. relays: may send to anywhere. verified: its name, where PTR and address agree. checked: what came
    of its claim in HELO: "pass", "fail", "temperror", "" for no check. shown: of its certificate, for the event log."""

    __slots__ = ("_caller", "_claim", "_desk", "address", "checked", "relays", "shown", "verified")

    def __init__(self, desk: Desk, address: str) -> None:
        self._desk = desk
        self.address = address
        self.relays = desk.policy.may_relay(address)
        self.verified = UNKNOWN
        self.checked = ""
        self.shown = _NOTHING
        self._claim: Caller | None = None  # while what it said in HELO is looked up
        self._caller = self._look_up()  # while its name is

    def _look_up(self) -> Caller | None:
        callers = self._desk.callers
        if callers is None or not self._desk.policy.looks_up(self.address, self.relays):
            return None
        return callers.begin(self.address)

    @property
    def known(self) -> bool:
        """Nothing is being looked up."""
        return self._caller is None and self._claim is None

    def meet(self, layer: Layer | None) -> None:
        """After a handshake: it may have shown a certificate, which is verified then."""
        owners = self._desk.policy.certificates
        if owners is None or layer is None:
            return
        octets = layer.getpeercert(True)
        if octets:
            try:
                certificate = x509.read(octets)
            except ValueError:  # verified, but unlike any that OpenSSL or a browser's authority makes: a stranger's
                return
            self.shown = {"tls_client_name": x509.name_of(certificate), "tls_client_sha256": certificate.sha256}
            if owners.may_relay(certificate):
                self.relays = True

    def claim(self, helo: str) -> None:
        """HELO or EHLO was said: begin to look up whether it is what it says."""
        self._claim, self.checked = None, ""
        desk = self._desk
        if desk.claims is not None and desk.policy.checks_helo(self.address, self.relays):
            self._claim = desk.claims.begin(helo, self.address)
            self.checked = "temperror"  # until it is known, or if too many are under way

    def hear(self) -> None:
        """What DNS says of it. May wait."""
        if self._caller is not None:
            self.verified = self._caller.name()
            self._caller = None
        if self._claim is not None:
            found = self._claim.name()
            self.checked = found if found != UNKNOWN else "temperror"
            self._claim = None

    def become(self, event: XClient) -> None:
        """A trusted peer speaks for this client from here on, with the client's rights and not its own."""
        if event.address is not None:
            self.address = event.address or UNKNOWN
        self.relays = bool(event.login) or self._desk.policy.may_relay(self.address)
        self.verified = event.name or UNKNOWN
        self._claim = None
        self.checked = ""  # until EHLO comes again, as it must
        self._caller = self._look_up() if event.name is None and self.address != UNKNOWN else None

    def logged_in(self) -> None:
        """AUTH has proved who it is."""
        self.relays = True

    def logged_out(self) -> None:
        """What AUTH proved in plaintext is void."""
        self.relays = self._desk.policy.may_relay(self.address)
