"""The places a house needs before its first child: spool, runtime_dir, their locks, and the metrics' directory.

Order matters: nothing is wiped or bound before both locks are held, so a second start leaves the first in peace. Both
locks pass to the children (pidlock.py), so they also keep a new master off the spool while an orphan still writes it.
"""

import os
from pathlib import Path
from typing import Final

from fastrelay import metrics
from fastrelay.config import Config
from fastrelay.errors import ConfigError
from fastrelay.process.announce import announce
from fastrelay.process.handover import Handover, received
from fastrelay.process.pidlock import PidLock
from fastrelay.process.privileges import Identity, identity_of, own_directory

PID_FILE: Final = "fastrelay.pid"  # in runtime_dir
SPOOL_LOCK: Final = "master.lock"  # in the spool; also holds the pid


class Premises:
    """Both locks, and whom the children become. handover: what another master left us, None for an ordinary start.
    handed: the locks are another master's, from before its word (an upgrade begins) or since ours."""

    __slots__ = ("_locks", "handed", "handover", "identity", "runtime_dir", "spool")

    def __init__(
        self,
        runtime_dir: Path,
        spool: Path,
        identity: Identity,
        locks: tuple[PidLock, PidLock],
        handover: Handover | None = None,
    ) -> None:
        self.runtime_dir = runtime_dir
        self.spool = spool
        self.identity = identity
        self._locks = locks
        self.handover = handover
        self.handed = handover is not None

    @classmethod
    def take(cls, config: Config) -> "Premises":
        """Make the directories and lock them, or take them over where this is an upgrade. ConfigError for a user or
        path that cannot be, MachineShort when another house stands here (the message says which process), MisuseError
        when what an old master handed over is of no use to this program or configuration."""
        identity = identity_of(config.server.user)
        runtime_dir, spool = Path(config.server.runtime_dir), Path(config.spool.path)
        handed = received(os.environ)
        if handed is not None:
            return cls._inherit(handed, runtime_dir, spool, identity)
        own_directory(runtime_dir, identity, 0o755)
        own_directory(spool, identity, 0o700)
        first = PidLock.take(runtime_dir / PID_FILE, say=announce)
        try:
            second = PidLock.take(spool / SPOOL_LOCK, say=announce)
        except BaseException:
            first.close()
            raise
        premises = cls(runtime_dir, spool, identity, (first, second))
        try:
            own_directory(metrics.open_directory(runtime_dir, wipe=True), identity, 0o755)
        except BaseException:
            premises.close()
            raise
        return premises

    @classmethod
    def _inherit(cls, handed: Handover, runtime_dir: Path, spool: Path, identity: Identity) -> "Premises":
        for key, path, was in (
            ("server.runtime_dir", runtime_dir, handed.runtime_dir),
            ("spool.path", spool, handed.spool),
        ):
            if os.path.abspath(path) != was:
                raise ConfigError(f"{key}: {path} is not that of the running relay ({was}): stop, then start")
        locks = (PidLock(runtime_dir / PID_FILE, handed.locks[0]), PidLock(spool / SPOOL_LOCK, handed.locks[1]))
        metrics.open_directory(runtime_dir, wipe=False)
        return cls(runtime_dir, spool, identity, locks, handed)

    @property
    def is_there(self) -> bool:
        """runtime_dir stands, with our pid file in it."""
        return os.path.exists(self.runtime_dir / PID_FILE)

    def restore(self) -> None:
        """Somebody removed runtime_dir, or the pid file: as at the start. MachineShort when it cannot be made."""
        own_directory(self.runtime_dir, self.identity, 0o755)
        fresh = PidLock.take(self.runtime_dir / PID_FILE, say=announce)
        self._locks[0].leave()
        self._locks = (fresh, self._locks[1])
        own_directory(metrics.open_directory(self.runtime_dir, wipe=False), self.identity, 0o755)

    @property
    def lock_fds(self) -> tuple[int, ...]:
        """For the next master."""
        return tuple(lock.fd for lock in self._locks)

    def take_charge(self) -> None:
        """This process is the master: its pid into the lock files."""
        self.handed = False
        for lock in self._locks:
            lock.write()

    def close(self) -> None:
        """The house is empty: let others in."""
        for lock in self._locks:
            if self.handed:
                lock.leave()
            else:
                lock.close()


def pid_file(config: Config) -> Path:
    """Where the master of this config writes its pid."""
    return Path(os.path.abspath(config.server.runtime_dir)) / PID_FILE
