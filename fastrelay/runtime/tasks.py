"""Tasks (greenlets), waiting and waking, and the bell by which a native thread reaches the event loop.

Naming law: `wait_*` and `sleep` switch to other tasks; everything else does not. A task that ends with an error never
ends silently: the error goes to `on_crash` (worker.py points it at the event log) and to stderr.
"""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import gevent
import greenlet
from gevent import get_hub

from fastrelay.errors import PeerTimeout

Task: TypeAlias = greenlet.greenlet
TaskExit = greenlet.GreenletExit
_switch_to = greenlet.greenlet.switch  # to the hub, without the hook Hub.switch looks for (stream.py)


def _print_crash(name: str, error: BaseException) -> None:
    sys.stderr.write(f"task {name} ended with an error, please report it:\n")
    traceback.print_exception(error)


on_crash: Callable[[str, BaseException], None] = _print_crash


_begun = [0, 0]  # how many have begun, and ended


def running() -> int:
    """How many tasks have begun and not ended."""
    return _begun[0] - _begun[1]


def _body(function: Callable[..., object], args: tuple[object, ...]) -> None:
    _begun[0] += 1
    try:
        function(*args)
    except TaskExit:
        pass
    except BaseException as error:
        on_crash(getattr(function, "__qualname__", repr(function)), error)
    finally:
        _begun[1] += 1


def spawn(function: Callable[..., object], *args: object) -> Task:
    """Start a task on the next turn of the loop. A raw greenlet: no result, no links (measured 1.5 us; Greenlet: 5)."""
    return cast(Task, gevent.spawn_raw(_body, function, args))


def kill(task: Task) -> None:
    """End `task` at its present wait with TaskExit, on the next turn. No effect on one that has ended."""
    if not task.dead:
        get_hub().loop.run_callback(_throw, task)


def _throw(task: Task) -> None:
    if not task.dead:
        task.throw(TaskExit)


def current() -> Task:
    """The running task."""
    return cast(Task, greenlet.getcurrent())


def soon(function: Callable[..., object], *args: object) -> None:
    """Call `function` on the loop in this or the next turn. It must not wait."""
    get_hub().loop.run_callback(function, *args)


def later(function: Callable[..., object], *args: object) -> None:
    """Call `function` on the loop after sockets and timers have had a turn: for work done in slices.

    `soon` will not do for that: the loop runs up to 50 callbacks before it polls (measured: slices of 5 ms that ask for
    the next one by `soon` keep every socket waiting 250 ms, by `later` 10 ms).
    """
    get_hub().loop.timer(0.0).start(function, *args, update=True)


def sleep(seconds: float) -> None:
    """Let others run for `seconds` (0: one turn)."""
    gevent.sleep(seconds)


def run_loop_once() -> None:
    """Give every other ready task one turn."""
    gevent.sleep(0)


class Parking:
    """One place for one task to wait for one value. Reusable; wake before wait is remembered once. What `wake` handed
    over is never lost to a timeout in the same turn of the loop."""

    __slots__ = ("_error", "_full", "_task", "_value")

    def __init__(self) -> None:
        self._task: Task | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._full = False

    @property
    def taken(self) -> bool:
        """A task waits here."""
        return self._task is not None

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for `wake` or `fail`. PeerTimeout after `timeout` seconds."""
        if not self._full:
            self._task = greenlet.getcurrent()
            hub = get_hub()
            timer = None
            if timeout is not None:
                timer = hub.loop.timer(max(timeout, 0.0))
                timer.start(self._late, update=True)
            try:
                _switch_to(hub)
            finally:
                self._task = None
                if timer is not None:
                    timer.stop()
                    timer.close()
        self._full = False
        value, error = self._value, self._error
        self._value = self._error = None
        if error is not None:
            raise error
        return value

    def wake(self, value: Any = None) -> None:
        """Hand `value` to the waiter; it runs on the next turn. A second wake before the waiter ran replaces the value,
        one behind a `fail` or a timeout the error."""
        self._value = value
        self._error = None
        self._fill()

    def fail(self, error: BaseException) -> None:
        """Let the waiter raise `error`."""
        self._error = error
        self._fill()

    def _late(self) -> None:
        if not self._full:
            self.fail(PeerTimeout("nothing came in time"))

    def _fill(self) -> None:
        if self._full:
            return
        self._full = True
        if self._task is not None:
            get_hub().loop.run_callback(self._resume, self._task)

    def _resume(self, task: Task) -> None:
        still_waiting = self._task is task  # it may have been woken otherwise since
        if still_waiting:
            task.switch()


class Event:
    """A flag many tasks may wait for. Set once or cleared again; waking order is arrival order."""

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: deque[Parking] = deque()

    def is_set(self) -> bool:
        """True after `set`, until `clear`."""
        return self._set

    def set(self) -> None:
        """Wake everyone who waits, and let later waiters through."""
        self._set = True
        while self._waiters:
            self._waiters.popleft().wake()

    def clear(self) -> None:
        """Make later waiters wait again."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """True when set, False when `timeout` seconds passed first."""
        if self._set:
            return True
        place = Parking()
        self._waiters.append(place)
        try:
            place.wait(timeout)
        except PeerTimeout:
            if place in self._waiters:
                self._waiters.remove(place)
            return self._set
        return True


class Permits:
    """At most `count` holders at once; others wait in arrival order. A context manager."""

    __slots__ = ("_free", "_waiters")

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[Parking] = deque()

    def __enter__(self) -> "Permits":
        if self._free > 0:
            self._free -= 1
            return self
        place = Parking()
        self._waiters.append(place)
        try:
            place.wait()
        except BaseException:
            if place in self._waiters:
                self._waiters.remove(place)
            else:
                self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._waiters:
            self._waiters.popleft().wake()
        else:
            self._free += 1


class Bell:
    """Rung from any thread, heard on the loop: `function()` runs there once for any number of rings in between."""

    __slots__ = ("_watcher",)

    def __init__(self, function: Callable[[], object]) -> None:
        self._watcher = get_hub().loop.async_()
        self._watcher.start(function)

    def ring(self) -> None:
        """Safe from any native thread (libev's ev_async_send)."""
        self._watcher.send()

    def close(self) -> None:
        """Ring no more."""
        self._watcher.stop()
        self._watcher.close()


class Ticker:
    """Calls `function()` on the loop every `seconds` until closed. It must not wait; errors go to `on_crash`."""

    __slots__ = ("_function", "_timer")

    def __init__(self, seconds: float, function: Callable[[], object]) -> None:
        self._function = function
        self._timer = get_hub().loop.timer(seconds, repeat=seconds)
        self._timer.start(self._tick, update=True)

    def _tick(self) -> None:
        try:
            self._function()
        except Exception as error:
            on_crash(getattr(self._function, "__qualname__", "ticker"), error)

    def close(self) -> None:
        """Stop."""
        self._timer.stop()
        self._timer.close()


class Alarm:
    """Calls `function()` on the loop once, `seconds` from now, unless closed first."""

    __slots__ = ("_timer",)

    def __init__(self, seconds: float, function: Callable[..., object], *args: object) -> None:
        self._timer = get_hub().loop.timer(max(seconds, 0.0))
        self._timer.start(function, *args, update=True)

    def close(self) -> None:
        """Not any more."""
        self._timer.stop()
        self._timer.close()


class DescriptorWatch:
    """Calls `function()` on the loop whenever `fd` is readable (level-triggered), until closed."""

    __slots__ = ("_watcher",)

    def __init__(self, fd: int, function: Callable[[], object]) -> None:
        self._watcher = get_hub().loop.io(fd, 1)
        self._watcher.start(function)

    def close(self) -> None:
        """Stop watching; the descriptor stays the caller's."""
        self._watcher.stop()
        self._watcher.close()


def in_thread_to_end(function: Callable[..., Any], *args: object) -> Any:
    """Run a blocking call (a look into the spool, a derivation) in the pool of native threads and wait for it. It may
    work on what the caller owns (a descriptor, a file): it has ended when this returns or raises.

    A kill that arrives meanwhile is put off until the task waits next. (An error is carried over as a value: the pool
    would print it, and it is the caller's to judge.)
    """
    result = get_hub().threadpool.spawn(_outcome, function, args)
    killed = False
    while True:
        try:
            result.wait()
            break
        except TaskExit:
            killed = True
    if killed:
        kill(current())
    value, error = result.get()
    if error is not None:
        raise error
    return value


def _outcome(function: Callable[..., Any], args: tuple[object, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def start_native_thread(name: str, function: Callable[..., object], *args: object) -> threading.Thread:
    """A daemon thread of the operating system, for journal and log writers."""
    thread = threading.Thread(target=function, args=args, name=name, daemon=True)
    thread.start()
    return thread
