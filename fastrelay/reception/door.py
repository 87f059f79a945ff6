"""The front door: the listening sockets of one listener in one worker, and the sessions behind them.

Every connection is counted where it is accepted, takes its place in the ledger (machine-wide: per client and in all;
by the clock too where the listener has rates, allowance.py) and becomes a session in a task of its own; over a limit it
hears 421 and is closed before it can say anything. Where
the listener stands behind a proxy, the PROXY header (proxy.py) comes before all that: limits, rights and the log see
the client it names.

Balance: sockets are shared with the other workers, and long sessions do not spread by themselves. `balance(change)`
hears of each session that came (+1) or went (-1) and answers whether this worker should take more; after a no the door
rests and asks (0) every REST seconds. Stress: `tick` looks at how full the listener is, on the whole machine, and at
the memory; stress.py says what follows. Closing: `drain` says 421 to the idle, lets transactions end, then cuts.
"""

import enum
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastrelay.errors import PeerError, PeerTimeout
from fastrelay.mail.envelope import Envelope, Recipient
from fastrelay.mail.route import LimitKey
from fastrelay.metrics import Counts
from fastrelay.reception.allowance import Rates
from fastrelay.reception.caller import Callers
from fastrelay.reception.desk import Certificates, Desk, EventLog, Intake, Ledger, Stream
from fastrelay.reception.logins import Logins
from fastrelay.reception.policy import Limit, Policy
from fastrelay.reception.proxy import PROXY_SECONDS, BadIntroduction, Introduction
from fastrelay.reception.session import Session
from fastrelay.reception.stress import CONNECTIONS, MEMORY, under_stress
from fastrelay.runtime import clock, tasks
from fastrelay.runtime.crowd import Crowd
from fastrelay.runtime.listener import Listener

PATIENCE = 2.0  # seconds a new connection waits for the ledger's lock or a rate before it is turned away
CALM = 2.5  # seconds without a missing descriptor until it is over: the listener tries again after one
REST = 0.05  # seconds between two questions while others are to accept
_LAST_WORDS = 2.0  # seconds after the drain's end in which cut sessions say their 421


class _Stand(enum.Enum):
    SHUT = "shut"  # not opened yet, or paused
    OPEN = "open"
    CLOSING = "closing"


def _always(change: int) -> bool:
    return True


def _none() -> float:
    return 0.0


def _nothing() -> None:
    """Nothing can be spared."""


class Tap(Protocol):
    """Lets an operator listen (control/traces.py): while that is wanted, the stream to use instead."""

    @property
    def wanted(self) -> bool: ...
    def inbound(self, stream: Any, ident: str, /) -> Any: ...


class Door:
    """`sessions` is the number of connections here now. memory() is the share in use of what bodies may take.
    look_up(address) is the client's verified name or "" and may wait for DNS; without it nobody has a name.
    logins: who may log in, where the policy offers that. judge(ident, prefix, content) hears of each accepted message
    and never waits. give_up() is called when no descriptor is left: close what can be spared. Never waits.
    expanded(ident, envelope, names, wall) is told of the names in a message just committed that stood for others.
    check_helo(name, address) -> "pass" | "fail" | "temperror": is that client what it calls itself? May wait."""

    def __init__(
        self,
        policy: Policy,
        sockets: Sequence[socket.socket],
        intake: Intake,
        ledger: Ledger,
        log: EventLog,
        counts: Counts,
        *,
        tls: Certificates | None = None,
        balance: Callable[[int], bool] = _always,
        memory: Callable[[], float] = _none,
        look_up: Callable[[str], str] | None = None,
        logins: Logins | None = None,
        judge: Callable[[bytes, bytes, object], None] | None = None,
        give_up: Callable[[], object] = _nothing,
        tap: Tap | None = None,
        expanded: Callable[[bytes, Envelope, Sequence[Recipient], float], object] | None = None,
        check_helo: Callable[[str, str], str] | None = None,
    ) -> None:
        self.tap = tap
        self._give_up = give_up
        self._short_at = 0.0  # when a descriptor was last missing; 0.0: none is
        callers = Callers(look_up) if look_up is not None else None
        claims = Callers(check_helo) if check_helo is not None and policy.helo_check != "off" else None
        self._desk = Desk(policy, intake, log, counts, tls, callers, logins, judge, expanded, claims, ledger.rates)
        self._ledger = ledger
        self._balance = balance
        self._memory = memory
        self._listeners = [
            Listener(sock, self._serve, spawn=self._admit, on_short=self._descriptors_short) for sock in sockets
        ]
        self._crowd = Crowd()
        self._here: set[Session] = set()
        self._unknown: set[Stream] = set()  # those whose proxy has not said who they are
        self._empty = tasks.Event()
        self._question: tasks.Ticker | None = None  # asked while resting
        self._stand = _Stand.SHUT
        self._prefix = os.urandom(4).hex()
        self._serial = 0
        self._stressed = False
        self.sessions = 0

    # -- open and shut --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Accept from now on, as balance allows."""
        self._stand = _Stand.OPEN
        self._weigh(0)

    def pause(self) -> None:
        """Accept nothing until `open`; sessions go on."""
        self._stand = _Stand.SHUT
        self._stop_listening()

    def retire(self) -> None:
        """Accept nothing any more, the sockets are closed; sessions go on under the rules they began with."""
        self.pause()
        for listener in self._listeners:
            listener.close()

    def drain(self, seconds: float) -> None:
        """May wait, `seconds` and a little: no new connection, 421 to who is idle, then to who has not finished."""
        self._stand = _Stand.CLOSING
        self._stop_listening()
        for listener in self._listeners:
            listener.close()
        for stream in tuple(self._unknown):
            stream.perish()
        for session in tuple(self._here):
            session.leave()
        if self._wait_empty(seconds):
            return
        self.cut()
        if self._wait_empty(_LAST_WORDS):
            return
        for session in tuple(self._here):
            if session.task is not None:
                tasks.kill(session.task)
        self._wait_empty(_LAST_WORDS)

    def cut(self) -> None:
        """End a drain's patience: 421 to everybody now; who has not gone in a moment is ended by the drain."""
        for session in tuple(self._here):
            session.cut()
        self._empty.set()

    def statistics(self) -> dict[str, int]:
        """Sessions, and whether connections are accepted."""
        return {
            "sessions": self.sessions,
            "accepting": any(one.accepting for one in self._listeners),
            "stress": self._stressed,
        }

    def _wait_empty(self, seconds: float) -> bool:
        if self.sessions:
            self._empty.clear()
            self._empty.wait(seconds)
        return not self.sessions

    # -- stress ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Once a second: is it stress now, are there new certificates, is somebody held up? Never waits; 2 us while
        nothing changes."""
        desk = self._desk
        desk.bulletin.tick(clock.now())
        if desk.tls is not None and self._stand is _Stand.OPEN:
            desk.tls.look(clock.now())
        if self._short_at and clock.now() - self._short_at > CALM:
            self._short_at = 0.0
            desk.log.say("info", f"listener {desk.policy.name}: connections are accepted again")
        key, limit = desk.policy.total
        taken, most = self._ledger.total(key), limit.count or 1
        memory = self._memory()
        stressed = under_stress(self._stressed, taken / most, memory)
        if stressed is self._stressed:
            return
        self._stressed = stressed
        desk.counts.stress += 1 if stressed else -1
        desk.temper = desk.policy.strained if stressed else desk.policy.calm
        for session in tuple(self._here):
            session.retemper()
        figures = f"{taken} of {most} connections, {memory:.0%} of the memory for bodies in use"
        if stressed:
            desk.log.say(
                "warning",
                f"listener {desk.policy.name} under stress: {figures}; until below {CONNECTIONS.low:.0%} and "
                f"{MEMORY.low:.0%} clients have {desk.temper.command_seconds:g} s for a command and one error",
            )
        else:
            desk.log.say("info", f"listener {desk.policy.name} no more under stress: {figures}")

    # -- balance --------------------------------------------------------------------------------------------------

    def _weigh(self, change: int) -> None:
        """Tell the house what changed and do as it says."""
        welcome = self._balance(change)
        if self._stand is not _Stand.OPEN:
            return
        if welcome:
            if self._question is not None:
                self._question.close()
                self._question = None
            for listener in self._listeners:
                listener.start()
        elif self._question is None:
            for listener in self._listeners:
                listener.pause()
            self._question = tasks.Ticker(REST, self._ask)

    def _ask(self) -> None:
        self._weigh(0)

    def _stop_listening(self) -> None:
        if self._question is not None:
            self._question.close()
            self._question = None
        for listener in self._listeners:
            listener.pause()

    def _descriptors_short(self, code: int) -> None:
        """Again and again while it lasts; told once."""
        if not self._short_at:
            self._desk.log.say(
                "error",
                f"listener {self._desk.policy.name}: {os.strerror(code).lower()}: connections wait until some have "
                f"ended; raise LimitNOFILE or lower max_connections",
            )
        self._short_at = clock.now()
        self._give_up()

    # -- a connection ---------------------------------------------------------------------------------------------

    def _admit(self, serve: Callable[[Stream], object], stream: Stream) -> None:
        """On the loop, at each accept: counted before the next one, so that the balance is never a step behind."""
        self.sessions += 1
        self._desk.counts.in_active += 1
        self._weigh(1)
        self._crowd.spawn(serve, stream)

    def _serve(self, stream: Stream) -> None:
        desk = self._desk
        try:
            if desk.policy.proxied and not self._introduced(stream):
                return
            wanted = desk.policy.limits(stream.peer[0])
            answer = self._take(wanted)
            if not answer:
                self._turn_away(stream, getattr(answer, "key", wanted[-1][0]))
                return
            try:
                if desk.rates is None or self._may_begin(desk.rates, stream):
                    self._converse(stream)
            finally:
                self._ledger.give([key for key, _ in wanted])
        finally:
            stream.close()
            self.sessions -= 1
            desk.counts.in_active -= 1
            self._weigh(-1)
            if not self.sessions:
                self._empty.set()

    def _converse(self, stream: Stream) -> None:
        """The session, from the greeting to the end."""
        desk = self._desk
        desk.counts.sessions += 1
        self._serial += 1
        ident = f"{self._prefix}-{self._serial:x}"
        tap = self.tap
        session = Session(desk, stream if tap is None or not tap.wanted else tap.inbound(stream, ident), ident)
        self._here.add(session)
        try:
            if self._stand is _Stand.CLOSING:
                session.leave()
            session.run()
        finally:
            self._here.discard(session)

    def _introduced(self, stream: Stream) -> bool:
        """The proxy says who the client is; that is the stream's peer from here on. False: told in the log, and there
        is nothing to say to the peer. May wait, in one place of the listener's total."""
        desk = self._desk
        policy, proxy = desk.policy, stream.peer[0]
        if not policy.may_introduce(proxy):
            self._note_stranger(stream, f"PROXY protocol: {proxy} is not in proxy_from")
            return False
        places = (policy.total,)
        if not self._take(places):
            self._turn_away(stream, policy.total[0])
            return False
        self._unknown.add(stream)
        header = Introduction()
        began = False
        try:
            stream.expire_in(PROXY_SECONDS)
            while not header.done:
                octets = stream.peek()
                if not octets:
                    if began:
                        raise BadIntroduction("the header breaks off")
                    return False  # a connection that says nothing: a health check
                began = True
                stream.skip(header.feed(octets))
        except BadIntroduction as error:
            self._note_stranger(stream, f"PROXY protocol: {error}")
            return False
        except PeerTimeout:
            if self._stand is not _Stand.CLOSING:
                self._note_stranger(stream, f"PROXY protocol: no header within {PROXY_SECONDS:g} s")
            return False
        except PeerError:
            return False
        finally:
            self._unknown.discard(stream)
            self._ledger.give([key for key, _ in places])
        if header.client is not None:
            stream.peer = header.client
        return True

    def _note_stranger(self, stream: Stream, why: str) -> None:
        self._desk.counts.rejected += 1
        self._desk.log.write("Rejection", reason=why, peer_address={"name": "", "addr": stream.peer[0]})

    def _take(self, wanted: Sequence[tuple[LimitKey, Limit]]) -> object:
        """The ledger's answer. One that names a moment to ask again (its lock was held by a worker that lost its
        processor, say) is no limit reached: it is asked again, for PATIENCE seconds. May wait."""
        now = clock.now()
        latest = now + PATIENCE
        while not (answer := self._ledger.take(wanted, now)):
            again = getattr(answer, "retry_at", None)
            if again is None or again > latest:
                return answer
            tasks.sleep(again - now)
            now = clock.now()
        return answer

    def _may_begin(self, rates: Rates, stream: Stream) -> bool:
        """One more connection of this client, by the clock; else it has heard 421. A peer that may say XCLIENT begins
        for many: each of them is counted when it is named."""
        policy, client = self._desk.policy, stream.peer[0]
        if policy.trusts is not None and policy.trusts(client):
            return True
        refusal = rates.connection(client)
        if refusal is None:
            return True
        if rates.held_up(client):  # an event for each of a flood would be a second flood
            self._note_stranger(stream, str(refusal))
        if not policy.implicit_tls:
            stream.write_nowait(refusal.to_wire())
        return False

    def _turn_away(self, stream: Stream, key: LimitKey) -> None:
        """421 and closed: cheap, and said before the client has said anything."""
        desk = self._desk
        if key.kind == "client":
            desk.counts.throttled["client"] += 1
            desk.bulletin.refused(key.names[0], "max_connections_per_client")
        else:
            desk.counts.throttled["connections"] += 1
        if not desk.policy.implicit_tls:
            stream.write_nowait(desk.policy.at_the_limit(key).to_wire())
