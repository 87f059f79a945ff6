"""The users file: who may log in, one line each, `name:VERIFIER` as smtp/sasl/scram.py writes it; "#" begins a comment.

`changing` is how it is changed: locked, written beside itself, synced, renamed over; mode 0600; comments stay.
ConfigError: `file: line 3: why`.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fastrelay.errors import ConfigError
from fastrelay.smtp import sasl
from fastrelay.smtp.sasl.prep import Unprintable, saslprep
from fastrelay.smtp.sasl.scram import Verifier, parse_verifier

MAX_FILE = 64 * 1024 * 1024  # characters; 400,000 users


def user_name(text: str) -> str:
    """A name as it stands in the file. ValueError says why it cannot."""
    try:
        name = saslprep(text.strip())
    except Unprintable as error:
        raise ValueError(f"a user name cannot be used: {error}") from None
    if ":" in name or name.startswith("#") or name != name.strip() or len(name.encode()) > sasl.MAX_NAME:
        raise ValueError(f'a user name has no ":", no "#" in front and at most {sasl.MAX_NAME} octets')
    return name


def parse_users(text: str, source: str) -> dict[str, Verifier]:
    """The users of a file by name, in its order. ConfigError names source and line."""
    found: dict[str, Verifier] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            left, colon, right = line.partition(":")
            if not colon:
                raise ValueError("write name:VERIFIER, or let `fastrelay user add` do it")
            name = user_name(left)
            if name in found:
                raise ValueError(f"{name} stands in the file twice")
            found[name] = parse_verifier(right)
        except ValueError as error:
            raise ConfigError(f"{source}: line {number}: {error}") from None
    return found


def read_users(path: str) -> dict[str, Verifier]:
    """The users of the file at `path`. ConfigError when it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"auth.users: there is no {path}: `fastrelay user add NAME` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"auth.users: {path} cannot be read: {why}; the configured user must be able to") from None
    if len(text) > MAX_FILE:
        raise ConfigError(f"auth.users: {path} has more than {MAX_FILE} characters")
    return parse_users(text, path)


class Lines:
    """The lines of a users file under change."""

    __slots__ = ("_lines", "users")

    def __init__(self, text: str, source: str) -> None:
        self._lines = text.splitlines()
        self.users = parse_users(text, source)

    def put(self, name: str, verifier: Verifier) -> bool:
        """Add the user, or give it another password: then False."""
        fresh = self._drop(name, f"{name}:{verifier}")
        if fresh:
            self._lines.append(f"{name}:{verifier}")
        self.users[name] = verifier
        return fresh

    def remove(self, name: str) -> bool:
        """False when there is no such user."""
        self._drop(name, None)
        return self.users.pop(name, None) is not None

    def _drop(self, name: str, instead: str | None) -> bool:
        """Replace the user's line; True when there was none."""
        if name not in self.users:
            return True
        kept: list[str] = []
        for line in self._lines:
            left, colon, _ = line.strip().partition(":")
            if not colon or left.startswith("#") or user_name(left) != name:
                kept.append(line)
            elif instead is not None:
                kept.append(instead)
        self._lines = kept
        return False

    def text(self) -> str:
        """The whole file."""
        return "".join(f"{line}\n" for line in self._lines)


@contextlib.contextmanager
def changing(path: str, *, owner: tuple[int, int] | None = None) -> Iterator[Lines]:
    """Change the file under its lock; it is replaced when the block ends without an error. owner: (uid, gid) of a file
    that is made now; one that is there keeps its own. ConfigError when it cannot be read or written."""
    path = os.path.realpath(path)
    try:
        fd, made = _locked(path)
        try:
            with open(fd, encoding="utf-8", closefd=False) as file:
                before = file.read(MAX_FILE)
            lines = Lines(before, path)
            yield lines
            found = os.fstat(fd)
            after = lines.text()
            if after != before:
                _replace(path, after.encode(), owner if made and owner else (found.st_uid, found.st_gid))
        finally:
            os.close(fd)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"auth.users: {path} cannot be changed: {why}; run as its owner, or name another") from None


def _locked(path: str) -> tuple[int, bool]:
    """The file, made where there is none, under an exclusive lock; and whether it was empty. May wait for another who
    changes it, and then looks again: it is another file by then."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            mine = os.fstat(fd)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_ino == mine.st_ino:
                    return fd, mine.st_size == 0
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _replace(path: str, octets: bytes, owner: tuple[int, int]) -> None:
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # of a run that was killed: we hold the lock
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            if owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    directory = os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
