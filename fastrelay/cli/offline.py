"""The queue of a relay that does not run: each slot of its spool opened here, under its lock, for the same verbs.

As root it becomes `server.user` first, or the spool's owner: what it writes must be readable for the relay that starts
next. A slot that somebody holds is left alone and named in `incomplete`; while we hold one, a relay that starts takes
others and adopts it later. Changes stand on stable storage before they are told, as online. There is no scheduler:
times are those of the records. DNS is asked for the site of a domain only where a site was selected.

The event log gets the Admin lines where it is a file; one that goes to the relay's stdout is nowhere to be found now.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from fastrelay.admin import merge
from fastrelay.cli.sites import Sites
from fastrelay.config import Config
from fastrelay.control import Control
from fastrelay.errors import MachineShort, MisuseError
from fastrelay.eventlog import EventLog
from fastrelay.intake import Intake
from fastrelay.mail.ident import IdentSource
from fastrelay.process.pidlock import holder
from fastrelay.process.premises import pid_file
from fastrelay.process.privileges import drop, keeper_of
from fastrelay.settlement.notices import Notices
from fastrelay.spool import slots
from fastrelay.spool.store import Store

Answer = dict[str, Any]
_PAGE = 1000
MISUSE = 64  # sysexits, as control/ answers
_REMEDY: dict[type[OSError], str] = {PermissionError: "be root, or the user the relay runs as (server.user)"}


class Offline:
    """The spool of a stopped relay; see cli/queue.py Queue. Every call opens and closes the slots it needs."""

    def __init__(self, config: Config, numbers: list[int]) -> None:
        self._config = config
        self._numbers = numbers
        self._sites: Sites | None = None

    @classmethod
    def open(cls, config: Config) -> Self:
        """MachineShort when a relay holds the spool but does not answer; MisuseError when there is no spool."""
        pid = holder(pid_file(config))
        if pid is not None:
            raise MachineShort(
                f"a relay (process {pid or 'unknown'}) holds {config.server.runtime_dir} but its API does not answer: "
                f"it starts or stops; try again"
            )
        spool = Path(config.spool.path)
        identity = keeper_of(spool, config.server.user)
        if identity.changes:
            drop(identity)
        try:
            found = [slots.slot_number(name) for name in os.listdir(spool)]
        except OSError as error:
            raise MisuseError(
                f"no relay runs in {config.server.runtime_dir}, and its spool {spool} cannot be looked into "
                f"({error.strerror}); {_REMEDY.get(type(error), 'name its configuration with -c')}"
            ) from None
        print(f"no relay runs: looking into {spool} itself", file=sys.stderr)
        return cls(config, sorted(number for number in found if number is not None))

    def summary(self, chosen: Answer) -> Answer:
        """Sums, by domain."""
        answers, missing = self._ask({"verb": "summary", "select": chosen})
        return _told(merge.summaries(answers), answers, missing)

    def page(self, chosen: Answer, after: str, limit: int) -> Answer:
        """All rows there are, whatever the limit: opening the spool for each page would cost more than its rows."""
        answers, missing = self._ask({"verb": "list", "select": chosen, "after": after, "limit": _PAGE})
        rows = [row | {"slot": answer["slot"]} for answer in answers for row in answer.get("rows", ())]
        rows.sort(key=lambda row: row["id"])
        return _told({"rows": rows, "next": None}, answers, missing)

    def show(self, ident: str) -> Answer | None:
        """Everything about one message; None when it is not there."""
        answers, missing = self._ask({"verb": "show", "select": {"id": ident}})
        found = merge.shown(answers)
        if found is None and not missing and not merge.errors(answers):
            return None
        return _told(found or {"found": False}, answers, missing)

    def change(self, verb: str, chosen: Answer, order: Answer) -> Answer:
        """Carry out a changing verb; `changed` and `busy`. order: reason, who, silent."""
        answers, missing = self._ask({"verb": verb, "select": chosen, **order})
        return _told(merge.changes(answers), answers, missing)

    def _ask(self, request: Answer) -> tuple[list[Answer], list[int]]:
        """Every page of every slot's answer, and the slots that somebody holds."""
        self._sites = Sites(self._config) if request["select"].get("site") else None
        answers: list[Answer] = []
        missing: list[int] = []
        for number in self._numbers:
            with self._slot(number) as control:
                if control is None:
                    missing.append(number)
                    continue
                wanted = request
                while True:
                    answers.append(control.answer(wanted))
                    if request["verb"] == "show" or not answers[-1].get("next"):
                        break
                    wanted = {**wanted, "after": answers[-1]["next"]}
        for answer in merge.errors(answers):
            if answer["code"] == MISUSE:
                raise MisuseError(answer["error"])
        return answers, missing

    def _site_of(self, domain: str) -> str:
        return self._sites.site_of(domain) if self._sites is not None else ""

    @contextlib.contextmanager
    def _slot(self, number: int) -> Iterator[Control | None]:
        """The verbs of one slot while we hold it; None when somebody else does."""
        config = self._config
        slot = slots.take(config.spool.path, number)
        if slot is None:
            yield None
            return
        log = EventLog(msgspec.structs.replace(config.log, events=_file(config.log.events)), name=f"slot {number}")
        try:
            store = Store(slot, config.spool, config.limits, note=log.write, threaded=False)
            try:
                store.recover()
                for _ in store.load():
                    pass  # it is in the store's register now; nothing is scheduled here
                intake = Intake(store, _Nobody(), IdentSource(), config.retry.expire)
                yield Control(
                    number,
                    store,
                    None,
                    eventlog=log,
                    site_of=self._site_of,
                    rest=lambda seconds: None,
                    notices=Notices(store, intake, config),
                )
                store.drain()
            finally:
                store.close()
        finally:
            log.close()
            slot.close()


class _Nobody:
    """The schedule of a relay that does not run: what is stored now is found at its next start."""

    def add(self, *args: Any, **more: Any) -> None:
        """Nothing."""


def _file(events: str) -> str:
    return "none" if events == "stdout" else events


def _told(merged: Answer, answers: list[Answer], missing: list[int]) -> Answer:
    failed = merge.errors(answers)
    notes = {"errors": [{"slot": answer["slot"], "error": answer["error"]} for answer in failed]} if failed else {}
    return {**merged, "incomplete": sorted({*missing, *(answer["slot"] for answer in failed)}), **notes}
