"""The event log: one JSON line per message event, and the few plain lines a person reads on stderr.

`write("Delivery", id=..., recipient=..., response=response(reply, "DATA"))` never waits and never raises: a native
thread (runtime/line_writer.py) carries the lines out of a buffer of BUFFER octets. A line has at most MAX_LINE octets:
reply text and other long strings are cut, and `truncated` says so. `log.on_full` decides what a full log costs: "drop"
loses lines, counts them and writes one EventLogDropped line for them; "wait" makes `short` true while the buffer is
over half full, and reception then answers 452 at MAIL. Delivery never waits for the log.

What a line may hold: valid UTF-8 JSON without any control character, C1 and bidirectional controls included (they move
a terminal's cursor or its reading order); no secret: the argument of AUTH, and fields named like one, become "***".

Field names are those of KumoMTA's log record: `type` (Reception, Delivery, TransientFailure, Bounce, Expiration,
Rejection, AdminBounce; ours: the other Admin..., SiteSuspended, SiteCrowded, TrailVerdict, EventLogDropped), `id`,
`sender`, `recipient`, `site`, `size`, `response` {code, enhanced_code, content, command}, `peer_address` {name, addr},
`event_time`, `created_time` (seconds since the epoch, sub-second), `num_attempts`, `session_id`, `source_address`,
`tls_protocol_version`, `tls_cipher`, `delays` [before queue: from 354 to the final dot; in queue: from the dot on;
connect, transmit] in seconds. Ours beside them: `tls_verified`, and where it is false `tls_doubt`, why; `converted`:
"7bit" where 8-bit content went out as such; `login`: the [[credentials]] row of a next hop that wants one.

ConfigError when the file cannot be opened.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from fastrelay.config import Log
from fastrelay.errors import ConfigError
from fastrelay.mail.reply import Reply
from fastrelay.metrics import Counts
from fastrelay.runtime import clock
from fastrelay.runtime.line_writer import LineWriter

MAX_LINE = 4000  # octets with the newline, under PIPE_BUF (4,096), so a line is never torn on a pipe
BUFFER = 16 * 1024 * 1024  # half a minute of 1,000 messages a second at 500 octets a line
NOTES = 256 * 1024  # octets of stderr lines held at most
_CONTENT = 1024  # characters of reply text; an honest reply has under 200
_CUTS = (512, 128, 32, 8)  # characters left of every string, tried in turn until a line fits
_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_SECRET_KEYS = frozenset({"password", "passwd", "secret", "token", "credentials", "authorization", "private_key"})
_HIDDEN = "***"

_AUTH = re.compile(  # a mechanism we know with any argument; any other word with what can only be base64
    rb"\b(AUTH\s+(?:(?:PLAIN|LOGIN|EXTERNAL|NTLM|GSSAPI|XOAUTH2|OAUTHBEARER|(?:CRAM|DIGEST|SCRAM)-[\w-]+)\s+"
    rb"|[\w-]+\s+(?=[\w+/=]{16})))[^\s\"\\]+",
    re.IGNORECASE,
)
_INVISIBLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def response(reply: Reply, command: str = "") -> dict[str, object]:
    """A reply as the `response` field; `command` is what it answered."""
    return {
        "code": reply.code,
        "enhanced_code": reply.enhanced,
        "content": reply.text[:_CONTENT],
        "command": command[:_CONTENT],
    }


_encode = msgspec.json.Encoder(enc_hook=str).encode


def line_of(kind: str, fields: dict[str, Any], at: float) -> bytes:
    """The line, newline included. Pure but for `fields`, whose `id` may be the 16 octets of an ident."""
    ident = fields.get("id")
    if type(ident) is bytes:
        fields["id"] = ident.hex()
    if not _SECRET_KEYS.isdisjoint(fields):
        for key in _SECRET_KEYS:
            if key in fields:
                fields[key] = _HIDDEN
    record: dict[str, Any] = {"type": kind, "event_time": round(at, 6), **fields}
    try:
        line = _encode(record)
    except UnicodeEncodeError:
        record = _cut(record, MAX_LINE)
        line = _encode(record)
    if len(line) >= MAX_LINE:
        line = _shortened(record)
    if b"AUTH" in line or b"uth" in line:
        line = _AUTH.sub(rb"\1***", line)
    if b"\x7f" in line or not line.isascii():
        line = _INVISIBLE.sub(lambda m: f"\\u{ord(m[0]):04x}", line.decode()).encode()
        if len(line) >= MAX_LINE:
            line = _shortened(record, ascii_only=True)
    return line + b"\n"


def _shortened(record: dict[str, Any], *, ascii_only: bool = False) -> bytes:
    for limit in _CUTS:
        short = _cut(record, limit, ascii_only)
        short["truncated"] = True
        line = _encode(short)
        if len(line) < MAX_LINE:
            return line
    kept = {key: record[key] for key in ("type", "event_time", "id") if key in record}
    return _encode({**_cut(kept, _CUTS[-1] * 4, True), "truncated": True})


def _cut(value: Any, limit: int, ascii_only: bool = False) -> Any:
    if isinstance(value, str):
        return value[:limit].encode("ascii" if ascii_only else "utf-8", "replace").decode()
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()[:limit]
    if isinstance(value, dict):
        return {_cut(key, limit, ascii_only): _cut(item, limit, ascii_only) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(item, limit, ascii_only) for item in value[:limit]]
    return value


class EventLog:
    """One per process. Before `start` lines are written on the spot; after it by a native thread.

    counts: where dropped lines are counted. name: who speaks in stderr lines ("slot 3", "master").
    """

    __slots__ = ("_counts", "_events", "_fd", "_level", "_notes", "_path", "_waits", "_wall", "name")

    def __init__(
        self, log: Log, *, counts: Counts | None = None, name: str = "", wall: Callable[[], float] | None = None
    ) -> None:
        self.name = name
        self._counts = counts
        self._wall = wall or clock.wall
        self._level = _LEVELS[log.level]
        self._waits = log.on_full == "wait"
        self._path = _path_of(log)
        self._fd = open_events(log)
        self._events = LineWriter(self._fd, BUFFER, self._dropped_line, self._failed, self._recovered)
        self._notes = LineWriter(2, NOTES, lambda count: b"(%d lines lost)\n" % count)

    def start(self) -> None:
        """From now on nothing waits for the log. In a worker, after the fork."""
        self._events.start()
        self._notes.start()

    def write(self, kind: str, /, **fields: Any) -> None:
        """One event. Never waits, never raises for what the fields hold."""
        if self._fd < 0:
            return
        if not self._events.put(line_of(kind, fields, self._wall())) and self._counts is not None:
            self._counts.event_log_dropped += 1

    def say(self, level: str, text: str) -> None:
        """A line for a person, on stderr, when `level` (debug, info, warning, error) is at least `log.level`."""
        if _LEVELS[level] < self._level:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall()))
        who = f" {self.name}:" if self.name else ""
        words = _UNPRINTABLE.sub("?", text)[:_CONTENT].encode("utf-8", "replace").decode()
        self._notes.put(f"{at} {level}{who} {words}\n".encode()[:MAX_LINE])

    @property
    def short(self) -> bool:
        """True while new mail must wait for the log (`on_full = "wait"`): MAIL gets 452. Mail under way goes on."""
        return self._waits and self._events.held > BUFFER // 2

    def reopen(self) -> None:
        """After a rotation: the same name, a new file. The old one stays in use if the new one cannot be opened."""
        if not self._path:
            return
        try:
            fresh = _open(self._path)
        except ConfigError as error:
            self.say("error", f"{error}; the file open so far is kept")
            return
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)

    def renew(self, log: Log, fd: int) -> None:
        """A reload: as `log` says from now on. fd: what `open_events(log)` gave; ours now."""
        path, old = self._path, self._fd
        self._level = _LEVELS[log.level]
        self._waits = log.on_full == "wait"
        self._path = _path_of(log)
        if path and path == self._path and old >= 0:
            os.close(fd)  # the same file, open already
            return
        self._fd = fd
        self._events.redirect(fd, _closed if path else _kept)

    def flush(self) -> None:
        """Hand what has gathered to the thread now."""
        self._events.flush()
        self._notes.flush()

    def close(self, seconds: float = 5.0) -> None:
        """Write what is left, for at most `seconds`; then let go of the file."""
        out = self._events.close(seconds)
        self._notes.close(1.0)
        if self._path and out and self._fd >= 0:
            with contextlib.suppress(OSError):  # everything was written; the kernel's complaint changes nothing
                os.close(self._fd)
        self._fd = -1

    def statistics(self) -> dict[str, int]:
        """Octets waiting and lines lost."""
        return {"held": self._events.held, "lost": self._events.lost}

    def _dropped_line(self, count: int) -> bytes:
        return line_of("EventLogDropped", {"count": count, "source": self.name}, self._wall())

    def _failed(self, error: OSError) -> None:
        self._tell(f"{error.strerror}; trying again")

    def _recovered(self) -> None:
        self._tell("lines are written again")

    def _tell(self, what: str) -> None:
        """In the writer's thread, which must not touch the notes'."""
        with contextlib.suppress(OSError):  # stderr is gone too
            os.write(2, f"error {self.name}: event log {self._path or 'stdout'}: {what}\n".encode())


def open_events(log: Log) -> int:
    """A descriptor for the lines `log` asks for, 1 for stdout, -1 for none. ConfigError: the file cannot be opened."""
    path = _path_of(log)
    if path:
        return _open(path)
    return 1 if log.events == "stdout" else -1


def _path_of(log: Log) -> str:
    return "" if log.events in ("stdout", "none") else log.events


def _kept(fd: int) -> None:
    """stdout stays open: it is everybody's."""


def _closed(fd: int) -> None:
    with contextlib.suppress(OSError):  # its last lines are written; the kernel's complaint changes nothing
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(
            f"log.events: cannot open {path}: {error.strerror}; the configured user must be able to write there"
        ) from None
