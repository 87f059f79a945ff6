"""A house whose wall clock an operator sets: `python wandering_house.py CONFIG`. Everything else is real.

The file `offset` beside the config holds the seconds by which the wall clock of all its processes is wrong, as a number
of eight octets; whoever writes there moves the clock of a house that runs. The monotonic clock does not move: it does
not on a machine whose time is set either.
"""

import mmap
import struct
import sys
import time
from pathlib import Path

_OFFSET = struct.Struct("d")
_true_time = time.time

with Path(sys.argv[1]).with_name("offset").open("rb") as file:
    _page = mmap.mmap(file.fileno(), _OFFSET.size, prot=mmap.PROT_READ)


def wandering_time() -> float:
    return _true_time() + float(_OFFSET.unpack_from(_page)[0])


time.time = wandering_time  # before anything of the relay keeps it under a name of its own

from fastrelay.admin import run_admin  # noqa: E402
from fastrelay.config import load  # noqa: E402
from fastrelay.process.master import Master  # noqa: E402
from fastrelay.process.premises import Premises  # noqa: E402
from fastrelay.worker import run_worker  # noqa: E402


def main() -> int:
    config = load(sys.argv[1])
    premises = Premises.take(config)
    try:
        return Master(config, premises, run_worker, run_admin).run()
    finally:
        premises.close()


if __name__ == "__main__":
    sys.exit(main())
