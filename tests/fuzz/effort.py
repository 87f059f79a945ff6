"""How hard the fuzz tests try. In the suite the same examples each time, a few seconds a file; FASTRELAY_FUZZ=50 tries
fifty times as many, new ones each time (hypothesis keeps what failed in .hypothesis/ and prints how to repeat it).
"""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FASTRELAY_FUZZ", "0"))


def effort(examples: int) -> settings:
    """Settings for one test: so many examples, or FASTRELAY_FUZZ times as many."""
    return settings(
        max_examples=examples * max(FACTOR, 1),
        derandomize=not FACTOR,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
