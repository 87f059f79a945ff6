"""What the coverage-guided runs (covered.py) have kept is tried again; in the suite the first of each corpus, with
FASTRELAY_FUZZ all of it."""

import pytest

from tests.fuzz.covered import fuzz_one_input, kept, targets
from tests.fuzz.effort import FACTOR

SOME = 10


@pytest.mark.parametrize("target", [target for target in targets() if kept(target)])
def test_what_was_kept_is_good(target: str) -> None:
    one = fuzz_one_input(target)
    for octets in kept(target)[: None if FACTOR else SOME]:
        one(octets)
