"""The load generator: carries out a Plan in one process or several, against one server.

A session that cannot connect waits a tenth of a second before the next try, so a dead target is not hammered. A message
is offered once: what is refused or fails is counted, not repeated.
"""

from collections.abc import Callable
from dataclasses import replace

from fastrelay.errors import PeerError
from fastrelay.load.crew import STOP, Crew, Wire
from fastrelay.load.dialogue import Dialogue, Sent
from fastrelay.load.message import Maker, fresh_run
from fastrelay.load.plan import Plan, Result
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.stream import wheel

_REST = 0.1  # seconds after a failed connection
_REPORT = 0.2  # seconds between two words of progress
_END = b".\r\n"


class Generator:
    """One process's share of a run. `run` returns when the plan is carried out or `stop` was called."""

    def __init__(self, plan: Plan) -> None:
        self.result = Result()
        self._plan = plan
        self._maker = Maker(plan.size, plan.sender, run=plan.run or fresh_run())
        self._addresses = plan.addresses()
        self._next = plan.first
        self._last = None if plan.messages is None else plan.first + plan.messages
        self._until = clock.NEVER
        ending = _END if self._maker.body.endswith(b"\r\n") or not self._maker.body else b"\r\n" + _END
        self._tail = self._maker.body + ending
        self._open = 0
        self._all_done = tasks.Event()

    def run(self) -> Result:
        """May wait."""
        self.result.started = clock.now()
        if self._plan.seconds is not None:
            self._until = self.result.started + self._plan.seconds
        self._open = self._plan.sessions
        ticker = tasks.Ticker(clock.TICK, lambda: wheel.turn(clock.now()))
        for _ in range(self._plan.sessions):
            tasks.spawn(self._session)
        self._all_done.wait()
        ticker.close()
        self.result.ended = clock.now()
        return self.result

    def stop(self) -> None:
        """Offer nothing new; sessions end with the message they are at."""
        self._until = 0.0

    def _session(self) -> None:
        dialogue: Dialogue | None = None
        plan, result = self._plan, self.result
        try:
            while (self._last is None or self._next < self._last) and clock.now() < self._until:
                number = self._next
                self._next += 1
                try:
                    if dialogue is None:
                        dialogue = self._connect()
                    self._offer(dialogue, number)
                    if not (plan.reuse and dialogue.open):
                        dialogue.quit()
                        dialogue = None
                except PeerError as error:
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

    def _connect(self) -> Dialogue:
        plan = self._plan
        dialogue = Dialogue(plan.host, plan.port, hello=plan.hello, pipelining=plan.pipelining)
        self.result.sessions += 1
        self.result.connect.add(dialogue.connected)
        return dialogue

    def _offer(self, dialogue: Dialogue, number: int) -> None:
        addresses = next(self._addresses)
        wire = (self._maker.head(number, clock.now()), self._tail)
        sent = dialogue.transact(self._plan.sender, addresses, wire, size=self._maker.size)
        if sent.taken:
            self._accepted(number, addresses, sent)
        else:
            self.result.refused += 1
            self.result.error(str(sent.replies[0]))

    def _accepted(self, number: int, addresses: list[str], sent: Sent) -> None:
        result = self.result
        result.accepted += 1
        result.octets += self._maker.size
        result.accept.add(sent.waited)
        for address, reply in zip(addresses, sent.replies, strict=True):
            if reply.code >= 300:
                result.refused_recipients += 1
                continue
            result.recipients += 1
            if self._plan.keep_pairs:
                result.pairs.append(f"{self._maker.ident(number)} {address}")


def run(
    plan: Plan,
    *,
    processes: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> Result:
    """Carry out `plan` in child processes; `progress(messages done)` is called some times a second.

    Ctrl-C stops it early; the result then holds what was done.
    """
    plans = replace(plan, run=plan.run or fresh_run()).split(processes)
    results: list[Result] = []
    done = [0] * len(plans)
    with Crew(len(plans), lambda number, wire: _work(plans[number], wire)) as crew:
        try:
            while len(results) < len(plans):
                for number, message in crew.hear():
                    if isinstance(message, int):
                        done[number] = message
                        progress(sum(done))
                    else:
                        results.append(Result.from_wire(message))
        except KeyboardInterrupt:
            crew.tell(STOP)
            while len(results) < len(plans):
                results += [Result.from_wire(m) for _, m in crew.hear() if not isinstance(m, int)]
    merged = results[0]
    for other in results[1:]:
        merged.merge(other)
    progress(merged.done)
    return merged


def _work(plan: Plan, wire: Wire) -> None:
    generator = Generator(plan)
    wire.listen(lambda word: generator.stop())
    reporter = tasks.Ticker(_REPORT, lambda: wire.say(generator.result.done))
    result = generator.run()
    reporter.close()
    wire.say(result.to_wire())
