"""Slots: the lowest free one, never two holders, adoption in one step."""

from pathlib import Path

import pytest

from fastrelay.errors import MachineShort
from fastrelay.spool import slots
from fastrelay.spool.disk import Disk
from tests.peers.strongbox import TellingDisk


def with_mail(spool: Path, number: int) -> Path:
    path = spool / f"slot-{number:03d}"
    path.mkdir()
    (path / "segment-0000000001.log").write_bytes(b"")
    return path


def test_a_claim_takes_the_lowest_free_slot_and_makes_it_durably(tmp_path: Path) -> None:
    disk = TellingDisk()
    first, second = slots.claim(tmp_path, disk), slots.claim(tmp_path, disk)
    assert (first.number, second.number) == (0, 1)
    assert Path(first.path).is_dir() and first.path.endswith("slot-000")
    assert ("sync", tmp_path.name) in disk.deeds
    first.close()
    assert slots.claim(tmp_path, disk).number == 0
    first.close()  # once more: harmless


def test_a_slot_has_one_holder(tmp_path: Path) -> None:
    held = slots.take(tmp_path, 5)
    assert held is not None and slots.take(tmp_path, 5) is None
    held.close()
    assert slots.take(tmp_path, 5) is not None


def test_there_are_128_slots(tmp_path: Path) -> None:
    held = [slots.claim(tmp_path) for _ in range(slots.SLOTS)]
    with pytest.raises(MachineShort, match="128"):
        slots.claim(tmp_path)
    assert slots.slot_number("slot-128") is None and slots.slot_number("slot-127") == 127
    for slot in held:
        slot.close()


def test_unowned_are_those_with_mail_that_nobody_holds(tmp_path: Path) -> None:
    with_mail(tmp_path, 0)
    with_mail(tmp_path, 3)
    (tmp_path / "slot-004").mkdir()
    (tmp_path / "slot-005" / "bodies").mkdir(parents=True)
    (tmp_path / "slot-006" / "adopted-2").mkdir(parents=True)
    (tmp_path / "control.json").write_text("{}")
    held = slots.take(tmp_path, 0)
    assert held is not None
    assert [path.name for path in slots.unowned(tmp_path)] == ["slot-003", "slot-006"]
    held.close()
    assert [path.name for path in slots.unowned(tmp_path)] == ["slot-000", "slot-003", "slot-006"]
    assert slots.take(tmp_path, 3) is not None, "looking does not hold"


def test_adoption_is_one_rename_with_both_parents_synced(tmp_path: Path) -> None:
    disk = TellingDisk()
    slot = slots.claim(tmp_path, disk)
    orphan = with_mail(tmp_path, 7)
    disk.deeds.clear()
    home = slots.adopt(slot, orphan, disk)
    assert home == f"{slot.path}/adopted-7"
    assert disk.deeds == [("rename", "adopted-7"), ("sync", "slot-000"), ("sync", tmp_path.name)]
    assert not orphan.exists() and (Path(home) / "segment-0000000001.log").exists()
    assert slots.places(slot.path, Disk()) == [slot.path, home]


def test_a_held_slot_is_never_adopted(tmp_path: Path) -> None:
    slot = slots.claim(tmp_path)
    orphan = with_mail(tmp_path, 7)
    holder = slots.take(tmp_path, 7)
    assert slots.adopt(slot, orphan) is None and orphan.exists()
    assert holder is not None
    holder.close()
    assert slots.adopt(slot, orphan) is not None
    assert slots.adopt(slot, orphan) is None, "gone: somebody was first"
    assert slots.adopt(slot, slot.path) is None


def test_a_slot_number_adopted_twice_gets_a_name_of_its_own(tmp_path: Path) -> None:
    slot = slots.claim(tmp_path)
    homes = [slots.adopt(slot, with_mail(tmp_path, 7)) for _ in range(3)]
    assert [home and home.rpartition("/")[2] for home in homes] == ["adopted-7", "adopted-7-2", "adopted-7-3"]


def test_what_an_adopted_slot_had_adopted_comes_along(tmp_path: Path) -> None:
    slot = slots.claim(tmp_path)
    orphan = with_mail(tmp_path, 7)
    (orphan / "adopted-3").mkdir()
    home = slots.adopt(slot, orphan)
    assert slots.places(slot.path, Disk()) == [slot.path, home, f"{home}/adopted-3"]


def test_tidy_removes_what_is_empty_and_nothing_else(tmp_path: Path) -> None:
    inner = tmp_path / "slot-000" / "adopted-7" / "adopted-3"
    (inner / "bodies").mkdir(parents=True)
    slots.tidy(str(inner), Disk())
    assert not (tmp_path / "slot-000" / "adopted-7").exists() and (tmp_path / "slot-000").exists()
    kept = tmp_path / "slot-000" / "adopted-9" / "bodies"
    kept.mkdir(parents=True)
    (kept / ("0" * 32)).write_bytes(b"mail")
    slots.tidy(str(kept.parent), Disk())
    assert (kept / ("0" * 32)).exists()
