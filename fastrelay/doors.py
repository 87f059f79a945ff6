"""The doors of one worker: one for each listener in force, and those whose last sessions go on after a reload.

A door is made anew when anything of its listener has changed, and stands on the same socket: sessions under way keep
the rules they began with, on the old door, which accepts no more. One whose listener is gone drains.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from fastrelay.config import Listener
from fastrelay.runtime import tasks


class Door(Protocol):
    """reception/door.py, as far as it is opened and shut."""

    sessions: int

    def open(self) -> None: ...
    def pause(self) -> None: ...
    def retire(self) -> None: ...
    def drain(self, seconds: float, /) -> None: ...
    def cut(self) -> None: ...
    def tick(self) -> None: ...


class Standing(NamedTuple):
    """A door, and what it was made of."""

    listener: Listener
    hostname: str
    door: Any  # a Door


class Doors:
    """make(listener, socket, hostname): a door, not yet open; ConfigError when it cannot be. patience(): seconds the
    sessions of a listener that is gone have."""

    __slots__ = ("_make", "_open", "_patience", "_retired", "_standing")

    def __init__(self, make: Callable[[Listener, socket.socket, str], Door], patience: Callable[[], float]) -> None:
        self._make = make
        self._patience = patience
        self._standing: list[Standing] = []
        self._retired: list[Door] = []
        self._open = False

    @property
    def all(self) -> list[Door]:
        """Every door behind which somebody may be."""
        return [*(one.door for one in self._standing), *self._retired]

    @property
    def sessions(self) -> int:
        """Clients here now."""
        return sum(door.sessions for door in self.all)

    def prepare(self, wanted: Sequence[tuple[Listener, socket.socket]], hostname: str) -> list[Standing]:
        """A door for each, those that can stay as they are included; `swap` puts them in force, `forget` does not."""
        prepared: list[Standing] = []
        try:
            for listener, sock in wanted:
                same = next((one for one in self._standing if one[:2] == (listener, hostname)), None)
                if same is not None:
                    sock.close()
                    prepared.append(same)
                else:
                    prepared.append(Standing(listener, hostname, self._make(listener, sock, hostname)))
        except BaseException:
            self.forget(prepared)
            raise
        return prepared

    def forget(self, prepared: Sequence[Standing]) -> None:
        """Those of `prepare` that are not in force already are closed."""
        for one in prepared:
            if one not in self._standing:
                one.door.retire()

    def swap(self, prepared: Sequence[Standing]) -> None:
        """These are in force from now on; they open with the others, or now where those are. Never waits."""
        for one in prepared:
            if self._open and one not in self._standing:
                one.door.open()
        addresses = {one.listener.address for one in prepared}
        for one in self._standing:
            if one in prepared:
                continue
            one.door.retire()
            self._retired.append(one.door)
            if one.listener.address not in addresses:
                tasks.spawn(one.door.drain, self._patience())
        self._standing = list(prepared)

    def open(self) -> None:
        """All of them."""
        self._open = True
        for one in self._standing:
            one.door.open()

    def pause(self) -> None:
        """Leave new connections to the siblings."""
        self._open = False
        for one in self._standing:
            one.door.pause()

    def tick(self) -> None:
        """Once a second. Never waits."""
        for door in self.all:
            door.tick()
        self._retired = [door for door in self._retired if door.sessions]
