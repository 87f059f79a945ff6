"""Connections counted over processes: the rows of several in one process, and for once a real fork."""

import os

from fastrelay.load.limits import Limits, Presence
from fastrelay.load.providers import PROFILES


def test_in_all_and_out_again() -> None:
    presence = Presence(Limits(connections=2), processes=2)
    assert presence.enter(0, "a") and presence.enter(1, "b")
    assert not presence.enter(0, "c") and not presence.enter(1, "a")
    presence.leave(1, "b")
    assert presence.enter(0, "c") and not presence.enter(1, "b")


def test_each_client_by_itself() -> None:
    presence = Presence(Limits(per_client=1), processes=2)
    assert presence.enter(0, "192.0.2.1") and not presence.enter(1, "192.0.2.1")
    assert presence.enter(1, "192.0.2.2")
    presence.leave(0, "192.0.2.1")
    assert presence.enter(1, "192.0.2.1")


def test_a_refused_one_leaves_no_trace() -> None:
    presence = Presence(Limits(connections=1, per_client=5))
    assert presence.enter(0, "a")
    for _ in range(10):
        assert not presence.enter(0, "b")
    presence.leave(0, "a")
    for _ in range(3):
        assert presence.enter(0, "b")
        presence.leave(0, "b")


def test_what_a_forked_process_counts_is_seen() -> None:
    presence = Presence(Limits(connections=1), processes=2)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if presence.enter(1, "a") else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not presence.enter(0, "a")


def test_providers_speak_smtp() -> None:
    for limits in PROFILES.values():
        for words, codes in ((limits.busy, b"421"), (limits.crowded, b"452"), (limits.foreign, b"451")):
            assert words.startswith(codes) and words.endswith(b"\r\n") and words.count(b"\r\n") == 1
        assert limits.enough == b"" or limits.enough.startswith(b"421")
        assert any((limits.connections, limits.per_client, limits.recipients, limits.messages, limits.one_domain))
