"""Who a child is: the configured user, for good.

The master keeps the uid it was started with; every child, first thing after the fork, becomes `server.user`:
supplementary groups, group, user, then no_new_privs, so that not even a set-uid program gives anything back. Started as
root without `user`, the program stays root and says so once.
"""

import ctypes
import os
import pwd
import resource
from pathlib import Path
from typing import Final, NamedTuple

from fastrelay.errors import ConfigError, Impossible, MachineShort

_PR_SET_NO_NEW_PRIVS: Final = 38  # linux/prctl.h
_DESCRIPTORS: Final = 1 << 20  # fs.nr_open as kernels come; the hard limit of some containers is a thousand times that

_libc = ctypes.CDLL(None, use_errno=True)


class Identity(NamedTuple):
    """The user children become. uid -1: nobody else, stay who you are. name "": it has none."""

    name: str
    uid: int
    gid: int

    @property
    def changes(self) -> bool:
        """There is another user to become."""
        return self.uid >= 0 and (self.uid != os.geteuid() or self.gid != os.getegid())


STAY: Final = Identity("", -1, -1)


def identity_of(user: str) -> Identity:
    """The identity `server.user` names; "" = STAY. ConfigError for a user there is not, or one we may not become."""
    if not user:
        return STAY
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            f"server.user: there is no user {user!r} here; create it (useradd --system {user}) or leave the key out"
        ) from None
    identity = Identity(user, entry.pw_uid, entry.pw_gid)
    if identity.changes and os.geteuid() != 0:
        raise ConfigError(f"server.user: only root can become {user!r}; start as root or as {user}, or leave it out")
    return identity


def keeper_of(spool: Path, user: str) -> Identity:
    """Whom a command becomes that works on a spool beside a relay: `user`, or where none is named and we are root, the
    spool's owner. A service manager may have started the relay as its user, and what root wrote it could not read."""
    if user or os.geteuid() != 0:
        return identity_of(user)
    try:
        owner = spool.stat()
    except OSError:
        return STAY  # whoever looks into it next says why
    if owner.st_uid == 0:
        return STAY
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:
        name = ""  # of a container
    return Identity(name, owner.st_uid, owner.st_gid)


def drop(identity: Identity) -> None:
    """Become `identity` irrevocably and give up all hope of new privileges. For a child, before anything else."""
    if identity.changes:
        if identity.name:
            os.initgroups(identity.name, identity.gid)
        else:
            os.setgroups([identity.gid])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
            raise Impossible(f"became {os.getresuid()} instead of {identity.name}")
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Impossible(f"no_new_privs refused: {os.strerror(ctypes.get_errno())}")


def own_directory(path: Path, identity: Identity, mode: int) -> None:
    """Make the directory (and those above it) where missing, and let `identity` own it.

    Only the directory itself: what an earlier user left inside is for that user's owner to hand over; following links
    as root in a place others write to would be a way to any file of the system.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if identity.changes:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    except FileExistsError:
        raise ConfigError(f"{path} is there but is no directory; remove it or configure another path") from None
    except OSError as error:
        raise MachineShort(
            f"cannot prepare directory {path}: {error.strerror}; make it writable for "
            f"{identity.name or pwd_name(os.geteuid())} or configure another path"
        ) from None


def pwd_name(uid: int) -> str:
    """A user's name for messages, the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one, a million at most (10,000 connections need more than the usual
    1,024). Returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if wanted > soft >= 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
