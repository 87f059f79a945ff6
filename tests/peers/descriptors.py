"""A process that has few descriptors left, for as long as a block runs."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process can open so many more, and then gets EMFILE."""
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, hard))  # the lowest free ones were taken
    for fd in taken:
        os.close(fd)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
