"""Every metric in one table: name, unit, labels, help. Counted in plain integers, exported once a second.

The hot path adds to attributes of one `Counts` (an integer addition, 30 ns); `Exporter.flush`, called once a second,
writes what changed into the memory-mapped values that prometheus_client's multiprocess collector sums at a scrape
(admin/pages.py). So a worker killed between two flushes loses at most a second of counting, never a message.

Identity is the slot ("0", "1", ... and "admin"), not the pid: a worker that comes back in the same slot goes on from
the counts in the slot's files, so counters never fall and files never grow in number. Gauges are of `live` modes: the
master calls `forget_gauges(slot)` when it reaps a worker, and its share of queue and connections is gone.

The directory of the values is named by PROMETHEUS_MULTIPROC_DIR, which the master sets with `open_directory` before it
forks; an Exporter built without it raises Impossible instead of counting into the void.

Limits: the label `site` takes only names of `[[site]]` rows, configured or shipped; every other site counts as "other"
(measured: 10,000 children of one histogram take 4.2 s to create and 6.7 s and 10 MB per scrape). `reason` is bounded to
MAX_REASONS names. Seconds and bytes everywhere; counters end in _total.
"""

import enum
import os
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.utils import floatToGoString
from prometheus_client.values import MultiProcessValue

from fastrelay import __version__
from fastrelay.errors import Impossible, MisuseError

_value_class: Any = MultiProcessValue  # the library ships no types for these three
_mark_dead: Any = mark_process_dead
_le: Any = floatToGoString

PREFIX = "fastrelay_"
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OTHER = "other"
MAX_REASONS = 32  # reasons are words in our own code, a dozen today; the bound guards against a name from outside

# 0.5 ms is one sync of a fast disk, 10 s the point where clients give up waiting (RULES: dot -> 250 under 1 s).
QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# from a neighbour's few milliseconds to five days, the default [retry] expire
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0, 432000.0)
BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # a batch holds at most 256 messages


class Histogram:
    """Plain bucket counts: `counts[i]` holds observations in (bounds[i-1], bounds[i]]; the last is +Inf."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class SiteCounts:
    """Outcomes at one site, per recipient."""

    __slots__ = ("bounced", "deferred", "delivered", "expired")

    def __init__(self) -> None:
        self.delivered = 0
        self.deferred = 0
        self.bounced = 0
        self.expired = 0


class _Sites(dict[str, SiteCounts]):
    """`sites[name].delivered += 1`: rows of the known names; every other name finds the row OTHER, none is added."""

    __slots__ = ("_other",)

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__((name, SiteCounts()) for name in names)
        self._other = self.setdefault(OTHER, SiteCounts())

    def know(self, names: Iterable[str]) -> None:
        """A reload: these have rows of their own too; one that is configured no more keeps what it counted."""
        for name in names:
            self.setdefault(name, SiteCounts())

    def __missing__(self, name: str) -> SiteCounts:
        return self._other


class _Reasons(dict[str, int]):
    """`reasons[word] += 1`, starting from 0, at most MAX_REASONS words; what comes after them counts as OTHER."""

    __slots__ = ()

    def __missing__(self, word: str) -> int:
        return 0

    def __setitem__(self, word: str, count: int) -> None:
        if word not in self and len(self) >= MAX_REASONS:
            word, count = OTHER, self[OTHER] + count
        super().__setitem__(word, count)


class Counts:
    """What one process has counted since it started, and its gauges as last set. Attributes are in METRICS' order."""

    __slots__ = (
        "accept_seconds",
        "connection_reuse",
        "connections_opened",
        "delivery_seconds",
        "dns_hit",
        "dns_miss",
        "dns_negative",
        "dns_stale",
        "event_log_dropped",
        "in_active",
        "logins_failed",
        "logins_ok",
        "loop_lag_seconds",
        "orphans",
        "out_active",
        "out_idle",
        "possibly_duplicate",
        "quarantined",
        "queue_messages",
        "queue_oldest_seconds",
        "received",
        "received_bytes",
        "rejected",
        "sessions",
        "sites",
        "spool_commit_messages",
        "spool_commit_seconds",
        "stress",
        "tasks",
        "throttled",
        "tls_failed",
        "tls_ok",
        "trail_consistent",
        "trail_dropped",
        "trail_suspicious",
        "trail_unreadable",
        "worker_restarts",
    )

    def __init__(self, sites: Iterable[str] = ()) -> None:
        self.sessions = 0
        self.received = 0
        self.received_bytes = 0
        self.rejected = 0
        self.tls_ok = 0
        self.tls_failed = 0
        self.logins_ok = 0
        self.logins_failed = 0
        self.trail_consistent = 0
        self.trail_suspicious = 0
        self.trail_unreadable = 0
        self.trail_dropped = 0
        self.sites = _Sites(sites)
        self.possibly_duplicate = 0
        self.quarantined = 0
        self.queue_messages = 0
        self.queue_oldest_seconds = 0.0
        self.in_active = 0
        self.out_active = 0
        self.out_idle = 0
        self.connections_opened = 0
        self.connection_reuse = 0
        self.dns_hit = 0
        self.dns_miss = 0
        self.dns_negative = 0
        self.dns_stale = 0
        self.spool_commit_seconds = Histogram(QUICK)
        self.spool_commit_messages = Histogram(BATCH)
        self.accept_seconds = Histogram(QUICK)
        self.delivery_seconds = Histogram(SLOW)
        self.loop_lag_seconds = Histogram(QUICK)
        self.tasks = 0
        self.throttled = _Reasons()
        self.stress = 0
        self.event_log_dropped = 0
        self.orphans = 0
        self.worker_restarts = 0


class Kind(enum.Enum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One row of the table.

    name: without PREFIX. fields: (label values, attribute of Counts) for each child; for site and reason labels the
    children come as they are counted (that of OTHER sites at once), and `source` names the attribute. mode: how a gauge
    of several processes is one.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    fields: tuple[tuple[tuple[str, ...], str], ...] = ()
    source: str = ""
    mode: str = ""


def _counter(name: str, unit: str, attribute: str, text: str) -> Metric:
    return Metric(name, Kind.COUNTER, unit, text, fields=(((), attribute),))


def _by_site(name: str, attribute: str, text: str) -> Metric:
    return Metric(name, Kind.COUNTER, "recipients", text, ("site",), source=attribute)


def _gauge(name: str, unit: str, attribute: str, mode: str, text: str) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, fields=(((), attribute),), mode=mode)


def _histogram(name: str, unit: str, text: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, unit, text, fields=(((), name),))


METRICS: tuple[Metric, ...] = (
    _counter("sessions_total", "sessions", "sessions", "SMTP sessions accepted"),
    _counter("messages_received_total", "messages", "received", "Messages taken over: safe on disk, 250 sent"),
    _counter("received_bytes_total", "bytes", "received_bytes", "Octets of the messages taken over"),
    _counter("rejections_total", "replies", "rejected", "Commands and messages of clients refused with 4xx or 5xx"),
    Metric(
        "tls_handshakes_total",
        Kind.COUNTER,
        "handshakes",
        "TLS handshakes with clients",
        ("result",),
        ((("ok",), "tls_ok"), (("failed",), "tls_failed")),
    ),
    Metric(
        "logins_total",
        Kind.COUNTER,
        "logins",
        "AUTH of clients",
        ("result",),
        ((("ok",), "logins_ok"), (("failed",), "logins_failed")),
    ),
    Metric(
        "trail_verdicts_total",
        Kind.COUNTER,
        "messages",
        "Received mail whose trail was judged (judge_received), and what was dropped because too much came",
        ("result",),
        tuple(((word,), f"trail_{word}") for word in ("consistent", "suspicious", "unreadable", "dropped")),
    ),
    _by_site("messages_delivered_total", "delivered", "Recipients whose next hop took over, by site"),
    _by_site("messages_deferred_total", "deferred", "Attempts that ended temporarily, per recipient, by site"),
    _by_site("messages_bounced_total", "bounced", "Recipients refused for good, by site"),
    _by_site("messages_expired_total", "expired", "Recipients given up after [retry] expire, by site"),
    _counter(
        "possibly_duplicate_total",
        "recipients",
        "possibly_duplicate",
        "Deliveries whose final reply never came: they are tried again and may arrive twice",
    ),
    _counter("quarantined_total", "messages", "quarantined", "Messages found damaged on disk and set aside"),
    _gauge("queue_messages", "messages", "queue_messages", "livesum", "Messages in the spool not yet ended"),
    _gauge("queue_oldest_seconds", "seconds", "queue_oldest_seconds", "livemax", "Age of the oldest queued message"),
    Metric(
        "connections",
        Kind.GAUGE,
        "connections",
        "Open connections",
        ("direction", "state"),
        ((("in", "active"), "in_active"), (("out", "active"), "out_active"), (("out", "idle"), "out_idle")),
        mode="livesum",
    ),
    _counter("connections_opened_total", "connections", "connections_opened", "Outbound connections opened"),
    _counter("connection_reuse_total", "messages", "connection_reuse", "Messages sent on a connection used before"),
    Metric(
        "dns_cache_total",
        Kind.COUNTER,
        "lookups",
        "Lookups in the DNS cache, by what they found",
        ("result",),
        tuple(((word,), f"dns_{word}") for word in ("hit", "miss", "negative", "stale")),
    ),
    _histogram("spool_commit_seconds", "seconds", "One batch: gather write and sync"),
    _histogram("spool_commit_messages", "messages", "Messages per committed batch"),
    _histogram("accept_seconds", "seconds", "End of data to 250 for a received message"),
    _histogram("delivery_seconds", "seconds", "250 in to 250 out, per delivered recipient"),
    _histogram("loop_lag_seconds", "seconds", "How late the once-a-second tick of a worker ran"),
    _gauge("tasks", "tasks", "tasks", "livesum", "Tasks (greenlets) in the workers: a few, and about one a connection"),
    Metric("throttled_total", Kind.COUNTER, "events", "Work made to wait by a limit", ("reason",), source="throttled"),
    _gauge("stress", "listeners", "stress", "livemax", "Listeners short of places or memory, cutting clients short"),
    _counter("event_log_dropped_total", "lines", "event_log_dropped", "Event lines dropped because the log was full"),
    _gauge("orphans", "recipients", "orphans", "livesum", "Recipients without a next event: always 0"),
    _counter("worker_restarts_total", "workers", "worker_restarts", "Workers replaced after they died or hung"),
    Metric("build_info", Kind.GAUGE, "", "Version of the running program, always 1", ("version", "python"), mode="max"),
)


def open_directory(runtime_dir: Path, *, wipe: bool) -> Path:
    """Name `runtime_dir/metrics` for every process forked from here. wipe: a cold start, counters begin at zero."""
    path = runtime_dir / "metrics"
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        if wipe:
            for old in path.glob("*.db"):
                old.unlink()
    except OSError as error:
        raise MisuseError(f"cannot prepare {path}: {error.strerror}; make server.runtime_dir writable") from None
    os.environ[DIRECTORY] = str(path)
    return path


def forget_gauges(slot: int | str) -> None:
    """The process that was `slot` is gone: its share of the gauges ends, its counters stay. For the master."""
    _mark_dead(slot, os.environ[DIRECTORY])


class Exporter:
    """Writes one process's Counts into its shared values. Built after the fork, once the slot is known.

    goes_on=False: the counts are totals kept elsewhere (the admin child copies the shared page's), not additions.
    """

    __slots__ = ("_children", "_counts", "_goes_on", "_known", "_make")

    def __init__(self, counts: Counts, identity: int | str, *, goes_on: bool = True) -> None:
        directory = os.environ.get(DIRECTORY, "")
        if not os.path.isdir(directory):
            raise Impossible(
                f"{DIRECTORY} must name a directory before a process counts: the master calls metrics.open_directory "
                f"before it forks (it is {directory!r})"
            )
        self._counts = counts
        self._goes_on = goes_on
        self._make = _value_class(lambda: identity)
        self._known: set[tuple[str, tuple[str, ...]]] = set()
        self._children: list[_Child] = []
        for metric in METRICS:
            for labels, attribute in metric.fields:
                if metric.kind is Kind.HISTOGRAM:
                    self._add_histogram(metric, getattr(counts, attribute))
                else:
                    self._add(metric, labels, _attribute(counts, attribute))
        build = METRICS[-1]
        self._add(build, (__version__, platform.python_version()), lambda: 1)
        self.flush()

    def flush(self) -> None:
        """Write what changed since the last time. Never waits; 40 us when nothing changed."""
        counts = self._counts
        for metric in METRICS:
            if metric.source == "throttled":
                for word in counts.throttled:
                    if (metric.name, (word,)) not in self._known:
                        self._add(metric, (word,), _entry(counts.throttled, word))
            elif metric.source:
                for site, row in counts.sites.items():
                    # OTHER is there from the start: rules compare these counters, and none compares with what is not
                    counted = site == OTHER or getattr(row, metric.source)
                    if counted and (metric.name, (site,)) not in self._known:
                        self._add(metric, (site,), _attribute(row, metric.source))
        for child in self._children:
            child.flush()

    def _add(self, metric: Metric, labels: tuple[str, ...], read: Callable[[], float]) -> None:
        family = PREFIX + metric.name.removesuffix("_total")
        value = self._make(
            metric.kind.value, family, PREFIX + metric.name, metric.labels, labels, metric.help, metric.mode
        )
        self._known.add((metric.name, labels))
        self._children.append(_Child(value, read, goes_on=self._goes_on and metric.kind is not Kind.GAUGE))

    def _add_histogram(self, metric: Metric, histogram: Histogram) -> None:
        family = PREFIX + metric.name
        total = self._make("histogram", family, family + "_sum", (), (), metric.help)
        self._children.append(_Child(total, _attribute(histogram, "total"), goes_on=True))
        for index, bound in enumerate((*histogram.bounds, float("inf"))):
            le = _le(bound)
            value = self._make("histogram", family, family + "_bucket", ("le",), (le,), metric.help)
            self._children.append(_Child(value, _entry(histogram.counts, index), goes_on=True))


class _Child:
    """One shared value and where its number comes from. goes_on: add to what an earlier life of the slot left."""

    __slots__ = ("_base", "_last", "_read", "_value")

    def __init__(self, value: Any, read: Callable[[], float], *, goes_on: bool) -> None:
        self._value = value
        self._read = read
        self._base: float = value.get() if goes_on else 0.0
        self._last: float = 0.0 if goes_on else -1.0

    def flush(self) -> None:
        number = self._read()
        if number != self._last:
            self._last = number
            self._value.set(self._base + number)


def _attribute(owner: object, name: str) -> Callable[[], float]:
    return lambda: float(getattr(owner, name))


def _entry(owner: Any, key: object) -> Callable[[], float]:
    return lambda: float(owner[key])
