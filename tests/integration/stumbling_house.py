"""A house whose first adoption or loading breaks off half-way: `python stumbling_house.py CONFIG adopt|load`.

Everything is real but the spool's answer, which is that of a disk that fails while a slot is being read.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastrelay.admin import run_admin
from fastrelay.config import load
from fastrelay.errors import MachineShort
from fastrelay.process.master import Master
from fastrelay.process.premises import Premises
from fastrelay.process.seat import Seat
from fastrelay.spool.store import Store
from fastrelay.worker import run_worker


def stumbling(verb: str, marker: Path) -> None:
    """The first call of that verb of the store, in any worker, does its work and then raises."""
    right: Any = getattr(Store, verb)

    def once(self: Store, *args: Any) -> Iterator[Any]:
        entries = right(self, *args)
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            yield from entries
            return
        for _ in entries:
            break
        raise MachineShort("Temporary failure", code=451, enhanced="4.3.0", detail="Input/output error")

    setattr(Store, verb, once)


def main() -> int:
    config = load(sys.argv[1])
    verb = sys.argv[2]

    def run(seat: Seat) -> int:
        stumbling(verb, Path(config.spool.path) / "stumbled")
        return run_worker(seat)

    premises = Premises.take(config)
    try:
        return Master(config, premises, run, run_admin).run()
    finally:
        premises.close()


if __name__ == "__main__":
    sys.exit(main())
