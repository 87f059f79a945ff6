"""What the coverage-guided runs (covered.py) have kept is tried again, input by input."""

import pytest

from tests.fuzz.covered import fuzz_one_input, kept, targets


@pytest.mark.parametrize("target", [target for target in targets() if kept(target)])
def test_what_was_kept_is_good(target: str) -> None:
    one = fuzz_one_input(target)
    for octets in kept(target):
        one(octets)
