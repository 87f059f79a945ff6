"""The users file as a worker knows it: looked at when somebody logs in, read again when it is another file.

The look is a stat (2 us; a login is no hot path); what has changed is read in a thread, while others are judged by what
was known. A file that cannot be read, or holds a bad line, is told once and changes nothing: a slip in an editor must
not lock everybody out.

Somebody not in the file is judged by a decoy, made of his name and of what nobody outside knows: the same work, the
same salt each time, the iterations of a real user; so who exists cannot be told by asking.
"""

import hashlib
import os
from collections.abc import Callable

from fastrelay.errors import ConfigError
from fastrelay.reception.users_file import read_users
from fastrelay.runtime import tasks
from fastrelay.runtime.stamp import Stamp, stamp_of
from fastrelay.smtp.sasl.scram import SALT_OCTETS, Verifier, digest


class Users:
    """The file at `path`; "" = none, and nobody may log in. iterations: of decoys where there is no user at all.
    say(level, text)."""

    __slots__ = ("_iterations", "_names", "_path", "_reading", "_say", "_secret", "_stamp", "_table")

    def __init__(self, path: str, iterations: int, say: Callable[[str, str], object]) -> None:
        self._path = path
        self._iterations = iterations
        self._say = say
        self._reading = False
        self._stamp = stamp_of(path)
        self._take(read_users(path) if path else {})

    def renew(self, path: str, iterations: int) -> None:
        """Another file from now on, and it can be read: else the users known so far stay."""
        self._iterations = iterations
        if path != self._path:
            stamp = stamp_of(path)
            try:
                self._take(read_users(path) if path else {})
                self._path, self._stamp = path, stamp
            except ConfigError as error:
                self._say("error", f"{error}; the users of {self._path or 'no file'} stay in force")

    def _take(self, table: dict[str, Verifier]) -> None:
        self._table = table
        self._names = list(table)
        first = next(iter(table.values()), None)
        self._secret = hashlib.sha256(b"decoy" + first.server).digest() if first is not None else os.urandom(32)

    def find(self, name: str) -> Verifier | None:
        """The verifier of a prepared name, None for a stranger. May wait where the file has changed."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp and not self._reading:
            self._read_again(stamp)
        return self._table.get(name)

    def _read_again(self, stamp: Stamp) -> None:
        self._reading = True
        try:
            self._stamp = stamp  # first: a bad file is told once
            self._take(tasks.in_thread_to_end(read_users, self._path))
            self._say("info", f"{self._path} was read again: {len(self._table)} users")
        except ConfigError as error:
            self._say("error", f"{error}; the {len(self._table)} users known before stay in force")
        finally:
            self._reading = False

    def decoy(self, name: str) -> Verifier:
        """For a stranger: no password will do, and nothing tells it from a user's."""
        salt = digest(self._secret, b"salt" + name.encode())
        iterations = self._iterations
        if self._names:
            real = self._table[self._names[int.from_bytes(salt[-8:], "big") % len(self._names)]]
            iterations = real.iterations
        return Verifier(salt[:SALT_OCTETS], iterations, digest(self._secret, salt), self._secret)

    def __len__(self) -> int:
        return len(self._table)
