"""The load generator: carries out a Plan in one process or several, against one server.

A session that cannot connect waits a tenth of a second before the next try, so a dead target is not hammered. A message
is offered once: what is refused or fails is counted, not repeated.
"""

import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from fastrelay.errors import MachineShort, PeerClosed, PeerError
from fastrelay.load.access import Security
from fastrelay.load.crew import STOP, Crew, Wire
from fastrelay.load.dialogue import Dialogue, Sent
from fastrelay.load.message import UNMEASURED, Maker, fresh_run
from fastrelay.load.mix import Mix
from fastrelay.load.pace import Turn, Turns
from fastrelay.load.plan import Plan
from fastrelay.load.result import Result
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.stream import ticking
from fastrelay.runtime.tls import client_context

_REST = 0.1  # seconds after a failed connection
_REPORT = 0.2  # seconds between two words of progress


class Generator:
    """One process's share of a run. `run` returns when the plan is carried out or `stop` was called."""

    def __init__(self, plan: Plan) -> None:
        self.result = Result()
        self._plan = plan
        self._maker = Maker(plan.sender, run=plan.run or fresh_run())
        self._mix = Mix(plan.domains, plan.seed, plan.first)
        self._chance = Random(plan.seed + 1)
        self._context: ssl.SSLContext | None = None
        if plan.access.security is not Security.NONE:
            self._context = client_context(verify=False)
        self._most = plan.messages_per_session or sys.maxsize
        self._turns: Turns
        self._idle: deque[tasks.Parking] = deque()  # sessions whose turn has not come
        self._alarm: tasks.Alarm | None = None
        self._warm: Result | None = None
        self._measured_number = plan.first
        self._measured_at = clock.NEVER
        self._cpu = 0.0
        self._open = 0
        self._all_done = tasks.Event()

    def run(self) -> Result:
        """May wait."""
        plan, result = self._plan, self.result
        result.begun = started = clock.now()
        self._turns = Turns(plan, started)
        if plan.warmup:
            self._warm = Result()
            if plan.messages is not None:
                self._measured_number = plan.first + int(plan.messages * plan.warmup)
            else:
                self._measured_number = sys.maxsize
                self._measured_at = started + (plan.seconds or 0.0) * plan.warmup
        else:
            self._measure(started)
        self._open = plan.sessions
        ticker = ticking()
        for _ in range(plan.sessions):
            tasks.spawn(self._session)
        self._all_done.wait()
        ticker.close()
        result.started = result.started or started
        result.ended = clock.now()
        result.cpu = time.process_time() - self._cpu
        result.busiest = result.cpu / max(result.ended - result.started, 1e-9)
        result.missed = self._turns.missed()
        if self._warm is not None:
            result.follow(self._warm)
        return result

    @property
    def done(self) -> int:
        """Messages with an end so far."""
        return self.result.done + (self._warm.done if self._warm is not None else 0)

    def stop(self) -> None:
        """Offer nothing new; sessions end with the message they are at."""
        self.result.stopped = True
        self._turns.stop()
        self._hand_out()

    # -- whose turn it is -----------------------------------------------------------------------------------------

    def _turn(self) -> Turn | None:
        """The next message for a session that has nothing to do; None when there will be none. May wait."""
        turn = self._turns.take(clock.now())
        if turn is not None or self._turns.over(clock.now()):
            return turn
        place = tasks.Parking()
        self._idle.append(place)
        if self._alarm is None:
            self._wait_due()
        given: Turn | None = place.wait()
        return given

    def _wait_due(self) -> None:
        self._alarm = tasks.Alarm(self._turns.due - clock.now(), self._hand_out)

    def _hand_out(self) -> None:
        """What is due to those who wait for it, the longest waiting first; an end to all when nothing will be."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        idle, turns, now = self._idle, self._turns, clock.now()
        while idle:
            turn = turns.take(now)
            if turn is None and not turns.over(now):
                self._wait_due()
                return
            idle.popleft().wake(turn)

    def _measure(self, now: float) -> None:
        self.result.started = now
        self._cpu = time.process_time()
        self._measured_number, self._measured_at = -1, 0.0

    def _result_of(self, number: int, now: float) -> Result:
        """Where message `number`, begun `now`, is counted."""
        if self._warm is None or self._measured_number < 0:
            return self.result
        if number < self._measured_number and now < self._measured_at:
            return self._warm
        self._measure(now)
        return self.result

    # -- a session ------------------------------------------------------------------------------------------------

    def _session(self) -> None:
        dialogue: Dialogue | None = None
        left = 0
        visit, gapped = self._plan.connect_only, self._plan.rate is not None
        try:
            while (turn := self._turn()) is not None:
                number, due = turn
                begun = clock.now()
                result = self._result_of(number, begun)
                if gapped:
                    result.late.add(begun - due)
                else:
                    due = begun
                try:
                    if dialogue is None:
                        dialogue = self._connect(result, due)
                        left = self._most
                    if visit:
                        if not dialogue.quit():
                            raise PeerClosed("no answer to QUIT")
                        dialogue = None
                        result.visited += 1
                        result.whole.add(clock.now() - due)
                        continue
                    self._offer(dialogue, number, due, result)
                    left -= 1
                    if not (left and dialogue.open):
                        dialogue.quit()
                        dialogue = None
                except (PeerError, MachineShort) as error:
                    result.failed += 1
                    result.error(str(error))
                    if dialogue is None:
                        tasks.sleep(_REST)
                    else:
                        dialogue.close()
                        dialogue = None
            if dialogue is not None:
                dialogue.quit()
        finally:
            self._open -= 1
            if self._open == 0:
                self._all_done.set()

    def _connect(self, result: Result, due: float) -> Dialogue:
        plan = self._plan
        dialogue = Dialogue(
            plan.host,
            plan.port,
            hello=plan.hello,
            pipelining=plan.pipelining,
            access=plan.access,
            context=self._context,
        )
        result.sessions += 1
        result.connect.add(dialogue.connected - due)
        return dialogue

    def _offer(self, dialogue: Dialogue, number: int, due: float, result: Result) -> None:
        plan = self._plan
        addresses = self._mix.draw(plan.recipients)
        size = plan.sizes.draw(self._chance)
        if size < self._maker.fewest:
            size = self._maker.fewest
        offered = due if result is self.result else UNMEASURED
        sent = dialogue.transact(plan.sender, addresses, self._maker.wire(number, offered, size), size=size)
        if not sent.taken:
            result.refused += 1
            result.error(str(sent.replies[0]))
            return
        result.accepted += 1
        result.octets += size
        result.accept.add(sent.waited)
        result.whole.add(clock.now() - due)
        if plan.keep_pairs or len(addresses) > 1:
            self._recipients(number, addresses, sent, result)
        else:
            result.recipients += 1

    def _recipients(self, number: int, addresses: list[str], sent: Sent, result: Result) -> None:
        ident = self._maker.ident(number)
        for address, reply in zip(addresses, sent.replies, strict=True):
            if reply.code >= 300:
                result.refused_recipients += 1
                result.error(str(reply))
                continue
            result.recipients += 1
            if self._plan.keep_pairs:
                result.pairs.append(f"{ident} {address}")


def run(
    plan: Plan,
    *,
    processes: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> Result:
    """Carry out `plan` in child processes; `progress(messages done)` is called some times a second.

    Ctrl-C stops it early; the result then holds what was done, and says so.
    """
    plans = replace(plan, run=plan.run or fresh_run()).split(processes)
    results: list[Result] = []
    done = [0] * len(plans)

    def heard(number: int, message: Any) -> None:
        if isinstance(message, int):
            done[number] = message
            progress(sum(done))
        else:
            results.append(Result.from_wire(message))

    with Crew(len(plans), lambda number, wire: _work(plans[number], wire)) as crew:
        try:
            while len(results) < len(plans):
                for number, message in crew.hear():
                    heard(number, message)
        except KeyboardInterrupt:
            crew.tell(STOP)
            while len(results) < len(plans):
                for number, message in crew.hear():
                    heard(number, message)
    merged = results[0]
    for other in results[1:]:
        merged.merge(other)
    progress(merged.done)
    return merged


def _work(plan: Plan, wire: Wire) -> None:
    generator = Generator(plan)
    wire.listen(lambda word: generator.stop())
    reporter = tasks.Ticker(_REPORT, lambda: wire.say(generator.done))
    result = generator.run()
    reporter.close()
    wire.say(result.to_wire())
