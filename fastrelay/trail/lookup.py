"""What the judges may ask of DNS. Handed in: this room opens no socket."""

from typing import Protocol

from fastrelay.trail.hop import Address


class Lookup(Protocol):
    """Both may wait, never raise, and answer empty where DNS does not know or cannot say."""

    def addresses(self, name: str, /) -> tuple[Address, ...]:
        """A and AAAA of a host name."""

    def name(self, address: Address, /) -> str:
        """The name of an address that leads back to it; "" when there is none."""
