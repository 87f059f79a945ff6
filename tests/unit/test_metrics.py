"""The metrics table, plain counting, and what a scrape of several processes sees."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from fastrelay import metrics
from fastrelay.errors import Impossible

PROMISED = {
    "sessions_total",
    "messages_received_total",
    "messages_delivered_total",
    "messages_deferred_total",
    "messages_bounced_total",
    "queue_messages",
    "queue_oldest_seconds",
    "connections",
    "connection_reuse_total",
    "dns_cache_total",
    "spool_commit_seconds",
    "spool_commit_messages",
    "accept_seconds",
    "delivery_seconds",
    "throttled_total",
    "event_log_dropped_total",
    "orphans",
    "worker_restarts_total",
    "build_info",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(metrics.DIRECTORY, "")
    return metrics.open_directory(tmp_path, wipe=True)


def scrape(directory: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_promised_name_is_in_the_table() -> None:
    names = [metric.name for metric in metrics.METRICS]
    assert set(names) >= PROMISED
    assert len(names) == len(set(names))


def test_names_units_and_modes_follow_the_rules() -> None:
    for metric in metrics.METRICS:
        assert re.fullmatch(r"[a-z_]+", metric.name)
        assert (metric.kind is metrics.Kind.COUNTER) == metric.name.endswith("_total")
        assert (metric.kind is metrics.Kind.GAUGE) == bool(metric.mode), "every gauge states its mode"
        assert "." not in metric.help[-1:], metric.name
        if metric.unit in ("seconds", "bytes"):
            assert metric.unit in metric.name


def test_every_plain_attribute_of_counts_is_exported() -> None:
    exported = {attribute for metric in metrics.METRICS for _, attribute in metric.fields}
    exported |= {"sites", "throttled"}
    assert exported == set(metrics.Counts.__slots__)


def test_without_the_directory_a_process_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(metrics.DIRECTORY, raising=False)
    with pytest.raises(Impossible, match="PROMETHEUS_MULTIPROC_DIR"):
        metrics.Exporter(metrics.Counts(), 0)
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path / "nowhere"))
    with pytest.raises(Impossible, match="nowhere"):
        metrics.Exporter(metrics.Counts(), 0)


def test_two_processes_are_one_in_a_scrape(directory: Path) -> None:
    for slot in (0, 1):
        counts = metrics.Counts(("google",))
        exporter = metrics.Exporter(counts, slot)
        counts.sessions += 3
        counts.sites["google"].delivered += 2
        counts.sites["mx.example.org"].delivered += 1
        counts.throttled["connections"] += 5
        counts.dns_hit += 7
        counts.queue_messages = 10
        counts.queue_oldest_seconds = 40.0 + slot
        counts.accept_seconds.observe(0.003)
        counts.accept_seconds.observe(99.0)
        exporter.flush()
    seen = scrape(directory)
    assert seen["fastrelay_sessions_total", ()] == 6
    assert seen["fastrelay_messages_delivered_total", (("site", "google"),)] == 4
    assert seen["fastrelay_messages_delivered_total", (("site", "other"),)] == 2
    assert seen["fastrelay_throttled_total", (("reason", "connections"),)] == 10
    assert seen["fastrelay_dns_cache_total", (("result", "hit"),)] == 14
    assert seen["fastrelay_queue_messages", ()] == 20
    assert seen["fastrelay_queue_oldest_seconds", ()] == 41
    assert seen["fastrelay_accept_seconds_bucket", (("le", "0.0025"),)] == 0
    assert seen["fastrelay_accept_seconds_bucket", (("le", "0.005"),)] == 2
    assert seen["fastrelay_accept_seconds_bucket", (("le", "+Inf"),)] == 4
    assert seen["fastrelay_accept_seconds_count", ()] == 4
    assert seen["fastrelay_accept_seconds_sum", ()] == pytest.approx(198.006)
    assert seen["fastrelay_connections", (("direction", "out"), ("state", "idle"))] == 0
    assert [value for (name, _), value in seen.items() if name == "fastrelay_build_info"] == [1]


def test_each_counter_of_sites_is_there_before_anything_is_counted(directory: Path) -> None:
    """An alert on "more deferred than delivered" has to see the delivered ones of a relay that delivers nothing."""
    metrics.Exporter(metrics.Counts(("google",)), 0)
    seen = scrape(directory)
    assert {name: value for (name, labels), value in seen.items() if "site" in dict(labels)} == {
        f"fastrelay_messages_{what}_total": 0 for what in ("delivered", "deferred", "bounced", "expired")
    }


def test_a_slot_that_comes_back_goes_on_counting(directory: Path) -> None:
    for _ in range(3):
        counts = metrics.Counts()
        exporter = metrics.Exporter(counts, 4)
        counts.received += 5
        counts.delivery_seconds.observe(0.02)
        counts.queue_messages = 8
        exporter.flush()
    seen = scrape(directory)
    assert seen["fastrelay_messages_received_total", ()] == 15
    assert seen["fastrelay_delivery_seconds_count", ()] == 3
    assert seen["fastrelay_queue_messages", ()] == 8
    assert len(list(directory.glob("*.db"))) == 5  # counter, histogram, gauges: livesum, livemax, max


def test_a_reaped_worker_leaves_its_counters_and_takes_its_gauges(directory: Path) -> None:
    counts = metrics.Counts()
    exporter = metrics.Exporter(counts, 2)
    counts.sessions, counts.queue_messages = 9, 9
    exporter.flush()
    metrics.forget_gauges(2)
    seen = scrape(directory)
    assert seen["fastrelay_sessions_total", ()] == 9
    assert ("fastrelay_queue_messages", ()) not in seen


def test_cold_start_wipes_and_upgrade_does_not(directory: Path) -> None:
    counts = metrics.Counts()
    counts.sessions = 1
    metrics.Exporter(counts, 0)
    metrics.open_directory(directory.parent, wipe=False)
    assert scrape(directory)["fastrelay_sessions_total", ()] == 1
    metrics.open_directory(directory.parent, wipe=True)
    assert scrape(directory) == {}


def test_labels_stay_bounded() -> None:
    counts = metrics.Counts(("google",))
    for n in range(1000):
        counts.sites[f"site-{n}"].bounced += 1
        counts.throttled[f"reason-{n}"] += 1
    assert set(counts.sites) == {"google", "other"}
    assert counts.sites["other"].bounced == 1000
    assert len(counts.throttled) <= metrics.MAX_REASONS + 1
    assert sum(counts.throttled.values()) == 1000


def test_bucket_bounds_are_inclusive_and_ascending() -> None:
    for bounds in (metrics.QUICK, metrics.SLOW, metrics.BATCH):
        assert list(bounds) == sorted(set(bounds))
    histogram = metrics.Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [1, 2, 1]
    assert histogram.total == 7.0
