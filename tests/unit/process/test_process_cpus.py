"""How many workers: affinity and cgroup quotas, in both versions, at every level above us."""

import os
from pathlib import Path

import pytest

from fastrelay.process import cpus


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def counted(tmp_path: Path, own: str) -> int:
    (tmp_path / "own").write_text(own)
    return cpus.workers(0, tmp_path / "cgroup", tmp_path / "own")


def test_what_is_configured_is_meant(tmp_path: Path) -> None:
    assert cpus.workers(7, tmp_path, tmp_path / "none") == 7


def test_affinity_where_no_group_limits(sixteen: None, tmp_path: Path) -> None:
    assert cpus.workers(0, tmp_path, tmp_path / "none") == 16
    written(tmp_path / "cgroup/a", cpu__max="max 100000\n")
    assert counted(tmp_path, "0::/a\n") == 16


@pytest.mark.parametrize(("limit", "workers"), [("150000", 2), ("100000", 1), ("50000", 1), ("9900000", 16)])
def test_a_version_2_quota_is_rounded_up(sixteen: None, tmp_path: Path, limit: str, workers: int) -> None:
    written(tmp_path / "cgroup/a", cpu__max=f"{limit} 100000\n")
    assert counted(tmp_path, "0::/a\n") == workers


def test_the_tightest_of_all_levels_counts(sixteen: None, tmp_path: Path) -> None:
    written(tmp_path / "cgroup/a", cpu__max="300000 100000\n")
    written(tmp_path / "cgroup/a/b", cpu__max="max 100000\n")
    assert counted(tmp_path, "0::/a/b\n") == 3


def test_a_container_sees_its_own_group_as_the_root(sixteen: None, tmp_path: Path) -> None:
    written(tmp_path / "cgroup", cpu__max="400000 100000\n")
    assert counted(tmp_path, "0::/\n") == 4


def test_a_version_1_quota(sixteen: None, tmp_path: Path) -> None:
    written(tmp_path / "cgroup/cpu,cpuacct/a", cpu__cfs_quota_us="250000\n", cpu__cfs_period_us="100000\n")
    assert counted(tmp_path, "4:cpu,cpuacct:/a\n3:memory:/a\n") == 3
    written(tmp_path / "cgroup/cpu,cpuacct/a", cpu__cfs_quota_us="-1\n")
    assert counted(tmp_path, "4:cpu,cpuacct:/a\n") == 16


def test_nonsense_limits_nothing(sixteen: None, tmp_path: Path) -> None:
    written(tmp_path / "cgroup/a", cpu__max="lots of it\n")
    assert counted(tmp_path, "0::/a\nwhat\n") == 16
