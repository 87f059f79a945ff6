"""The places a house needs before its first child: spool, runtime_dir, their locks, and the metrics' directory.

Order matters: nothing is wiped or bound before both locks are held, so a second start leaves the first in peace. Both
locks pass to the children (pidlock.py), so they also keep a new master off the spool while an orphan still writes it.
"""

import os
from pathlib import Path
from typing import Final

from fastrelay import metrics
from fastrelay.config import Config
from fastrelay.process.announce import announce
from fastrelay.process.pidlock import PidLock
from fastrelay.process.privileges import Identity, identity_of, own_directory

PID_FILE: Final = "fastrelay.pid"  # in runtime_dir
SPOOL_LOCK: Final = "master.lock"  # in the spool; also holds the pid


class Premises:
    """Both locks, and whom the children become."""

    __slots__ = ("_locks", "identity", "runtime_dir", "spool")

    def __init__(self, runtime_dir: Path, spool: Path, identity: Identity, locks: tuple[PidLock, ...]) -> None:
        self.runtime_dir = runtime_dir
        self.spool = spool
        self.identity = identity
        self._locks = locks

    @classmethod
    def take(cls, config: Config) -> "Premises":
        """Make the directories and lock them. ConfigError for a user or path that cannot be, MachineShort when another
        house stands here (the message says which process)."""
        identity = identity_of(config.server.user)
        runtime_dir, spool = Path(config.server.runtime_dir), Path(config.spool.path)
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

    def close(self) -> None:
        """The house is empty: let others in."""
        for lock in self._locks:
            lock.close()


def pid_file(config: Config) -> Path:
    """Where the master of this config writes its pid."""
    return Path(os.path.abspath(config.server.runtime_dir)) / PID_FILE
