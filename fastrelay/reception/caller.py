"""What DNS says of a client, its name from the accept on and its claim from HELO on: looked up beside its session, and
waited for in bounds.

`NAME_SECONDS` after that a session goes on without (RULES: a slow name server must not hold up mail), and it asks
before 354 is said, never between the dot and 250. At most MAX_UNDER_WAY lookups run per listener and worker: a crowd of
strangers at a dead name server costs that many small tasks and no more; whoever comes then is called UNKNOWN.
"""

from collections.abc import Callable

from fastrelay.errors import PeerTimeout
from fastrelay.runtime import clock, tasks

NAME_SECONDS = 2.0
MAX_UNDER_WAY = 500  # as many as the resolver asks for at a time
UNKNOWN = "unknown"  # what trace.py writes for a client without a name (RFC 5321 4.4 leaves the words to us)


class Caller:
    """One client of whom something is being looked up. One task may ask."""

    __slots__ = ("_latest", "_name", "_place")

    def __init__(self) -> None:
        self._latest = clock.now() + NAME_SECONDS
        self._name: str | None = None
        self._place = tasks.Parking()

    def found(self, name: str) -> None:
        """The lookup is over; "" for no name."""
        self._name = name or UNKNOWN
        self._place.wake()

    def name(self) -> str:
        """What was found, or UNKNOWN. May wait, to NAME_SECONDS after the beginning."""
        if self._name is None:
            try:
                self._place.wait(self._latest - clock.now())
            except PeerTimeout:
                return UNKNOWN
        return self._name or UNKNOWN


class Callers:
    """Lookups of one kind for one listener. look_up(address) -> name or ""; for claims look_up(helo, address) ->
    "pass", "fail" or "temperror". It may wait and is not expected to raise."""

    __slots__ = ("_look_up", "under_way")

    def __init__(self, look_up: Callable[..., str]) -> None:
        self._look_up = look_up
        self.under_way = 0

    def begin(self, *question: str) -> Caller | None:
        """Start to look it up; None when too many are under way."""
        if self.under_way >= MAX_UNDER_WAY:
            return None
        self.under_way += 1
        caller = Caller()
        tasks.spawn(self._run, caller, question)
        return caller

    def _run(self, caller: Caller, question: tuple[str, ...]) -> None:
        name = ""
        try:
            name = self._look_up(*question)
        finally:
            self.under_way -= 1
            caller.found(name)
