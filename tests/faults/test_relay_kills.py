"""Every message that got 250 arrives, whatever is killed with -9 meanwhile. The long runs are kill_run.py's own."""

from pathlib import Path

import pytest

from tests.faults.kill_run import run


@pytest.mark.parametrize(
    ("kinds", "seed"), [(("tree",), 11), (("worker",), 12), (("master",), 13)], ids=["tree", "worker", "master"]
)
def test_killed_under_load_nothing_is_lost(tmp_path: Path, kinds: tuple[str, ...], seed: int) -> None:
    """Takes some ten seconds: a load long enough to be killed in, and deferred mail that has to come round again."""
    account = run(tmp_path, seed=seed, messages=2500, kills=2, kinds=kinds, pause=(0.2, 0.6))
    print(account)
    assert account.good, account
