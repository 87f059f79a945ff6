"""One client at the door: reads, lets the machine decide what is SMTP, decides the rest, writes.

    read -> machine -> policy -> intake.accept -> [on stable storage] -> 250

One write per reply group. Who the client is (identity.py) is looked up from the accept on and waited for before 354.
The 250 to a message is said after `intake.accept` has returned, never before; between the last dot and it nothing is
asked of DNS or of the content but the count of its Received fields (gathering.py holds what has come). What a session
leaves in the event log is record.py's.

Deadlines: a command within `command_timeout` of the reply before it, however it is cut into pieces; content as
pace.py says. A client that errs is slowed (one second per group from the tenth error on) and cut by the machine. Under
stress (stress.py) all of that is shorter, also for those who wait already.
Ends: QUIT, a peer that is gone (a message without its dot is forgotten), 421 for silence, for too many errors and when
the house closes. Whatever ends the session, its stream is closed and its draft forgotten. Where we end it and the
client may still be sending, the stream lingers, for the last reply to be read; QUIT does not pay for that, a house
that closes does not wait for it.
"""

from typing import Any

from fastrelay.errors import MachineShort, PeerClosed, PeerError, PeerTimeout, TlsFailed
from fastrelay.mail.envelope import Envelope
from fastrelay.mail.reply import Reply, reply
from fastrelay.reception.allowance import Rates
from fastrelay.reception.desk import Certificates, Desk, Draft, Stream
from fastrelay.reception.gathering import Gathering
from fastrelay.reception.identity import Identity
from fastrelay.reception.logins import NOT_NOW
from fastrelay.reception.pace import content_deadline
from fastrelay.reception.policy import FALSE_HELO, HELO_UNKNOWN
from fastrelay.reception.record import Record
from fastrelay.reception.trace import protocol, received_head
from fastrelay.runtime import clock, tasks
from fastrelay.smtp.events import (
    AuthClaim,
    AuthLookup,
    Content,
    Dropped,
    Expand,
    Hello,
    Mail,
    Rcpt,
    Refused,
    Spoiled,
    StartTls,
    XClient,
)
from fastrelay.smtp.extensions import Extension
from fastrelay.smtp.phases import SERVER_CLOSING_SECONDS, SERVER_TLS_SECONDS, State
from fastrelay.smtp.sasl.scram import Verifier
from fastrelay.smtp.server import Server
from fastrelay.smtp.terms import SLOW_ERRORS
from fastrelay.smtp.words import AUTH_NO, NO_TLS, TOO_MANY_RECIPIENTS

LINGER = 1024 * 1024  # octets read and thrown away behind a last reply: what a client has under way that writes before
# it reads (send and receive buffers of Linux start at 16 and 128 KiB); 1 MiB costs us 0.3 ms

_CHUNKS, _CONTENT, _CHUNK, _CLOSED = State.CHUNKS, State.CONTENT, State.CHUNK, State.CLOSED
_BETWEEN = (State.START, State.READY, State.AUTH)
_FREE_TO_GO = (State.START, State.READY, State.AUTH, State.CLOSED)  # CLOSED: the session only lingers
_KEEPS_ITS_TIME = (State.CONTENT, State.CHUNK, State.ASTRAY, State.CLOSED)
_LOG_SHORT = reply(452, "4.3.1", "Not now, try again later")


class Session:
    """`run` is the whole of it, in a task of its own. ident: names the session in the event log."""

    __slots__ = (
        "_allowance",
        "_began",
        "_desk",
        "_failed_logins",
        "_gathering",
        "_head",
        "_identity",
        "_leaving",
        "_machine",
        "_octets",
        "_patience",
        "_record",
        "_shaking",
        "_stream",
        "_waiting",
        "task",
    )

    def __init__(self, desk: Desk, stream: Stream, ident: str) -> None:
        self._desk = desk
        self._stream = stream
        self._identity = Identity(desk, stream.peer[0])
        self._gathering = Gathering(desk.intake)
        self._allowance = desk.rates.allowance(stream.peer[0]) if desk.rates is not None else None
        policy = desk.policy
        trusted = policy.trusts is not None and policy.trusts(stream.peer[0])
        terms = policy.trusted_terms if trusted else policy.terms
        self._machine = Server(terms, tls=policy.implicit_tls and desk.tls is not None)
        self._machine.max_errors = desk.temper.max_errors
        if policy.aliases:
            self._entitle()
        self._record = Record(desk, self._machine, self._identity, stream, ident)
        self._head = b""  # of the Received field, the same for all messages until the next EHLO
        self._began = 0.0  # monotonic, of the content on its way; 0.0: no read was for it alone
        self._octets = 0  # of it, as read
        self._patience = SLOW_ERRORS  # errors of the client that cost it nothing more
        self._failed_logins = 0
        self._leaving = False
        self._waiting = False  # for the client to say something
        self._shaking = False  # hands, in TLS
        self.task: tasks.Task | None = None

    # -- from outside ---------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Say 421 and go: now when no transaction is open, else at its end."""
        self._leaving = True
        if self._shaking or (self._waiting and self._machine.state in _FREE_TO_GO):
            self._stream.perish()

    def cut(self) -> None:
        """Say 421 and go, even in a transaction. A message whose dot has come is still finished."""
        self._leaving = True
        if self._waiting or self._shaking:
            self._stream.perish()

    def retemper(self) -> None:
        """The house treats its clients otherwise from now on: so also one that it already waits for."""
        temper = self._desk.temper
        machine = self._machine
        machine.max_errors = temper.max_errors
        if self._waiting and machine.state not in _KEEPS_ITS_TIME:
            self._stream.expire_in(temper.command_seconds)

    # -- the dialogue ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the client until either side ends it."""
        self.task = tasks.current()
        try:
            self._open()
            self._converse()
        except PeerTimeout:
            self._say_goodbye()
        except TlsFailed as error:
            self._record.ended(str(error))
        except PeerError:
            return  # the client is gone; a message without its dot never was one
        finally:
            self._gathering.forget()
            self._stream.close()

    def _open(self) -> None:
        certificates = self._desk.tls
        if self._machine.tls and certificates is not None:
            self._shake_hands(certificates, first=True)
            self._entitle()
        self._machine.greet()

    def _shake_hands(self, certificates: Certificates, *, first: bool) -> None:
        """TLS from here on. TlsFailed, also where it takes too long. first: nothing was said before; who leaves without
        an octet (a health check) has failed at nothing: PeerClosed."""
        desk, stream = self._desk, self._stream
        seconds = min(SERVER_TLS_SECONDS, desk.temper.command_seconds)
        stream.expire_in(seconds)
        self._shaking = True
        try:
            if first:
                if not stream.peek():
                    raise PeerClosed("left before the TLS handshake")
                if self._allowance is not None and self._allowance.handshake() is not None:
                    raise TlsFailed("too many new TLS sessions")
            stream.start_tls(certificates.context, server_side=True)
        except PeerTimeout:
            if self._leaving:  # in plaintext there is nothing to say any more
                raise PeerClosed("the house closes in the TLS handshake") from None
            desk.counts.tls_failed += 1
            raise TlsFailed(f"TLS handshake failed: not done within {seconds:g} s") from None
        except TlsFailed:
            desk.counts.tls_failed += 1
            raise
        finally:
            self._shaking = False
        desk.counts.tls_ok += 1
        if self._allowance is not None and stream.tls is not None and stream.tls.session_reused:
            self._allowance.resumed()
        self._identity.meet(stream.tls)

    def _converse(self) -> None:
        machine, stream, desk = self._machine, self._stream, self._desk
        while True:
            event = machine.next_event()
            if event is not None:
                kind = type(event)
                if kind is Content:
                    self._content(event)  # type: ignore[arg-type]
                elif kind is Rcpt:
                    self._rcpt(event)  # type: ignore[arg-type]
                elif kind is Mail:
                    self._mail(event)  # type: ignore[arg-type]
                elif kind is Hello:
                    self._head = b""
                    if desk.claims is not None:
                        self._identity.claim(machine.helo)
                    self._gathering.forget()
                else:
                    self._rare(event)
                continue
            if self._leaving and machine.state in _BETWEEN:
                machine.hang_up(self._closing(), "closing")
            output = machine.take_output()
            if output:
                if machine.state is _CONTENT and not self._identity.known:
                    self._identity.hear()  # 354 is about to be said
                if machine.errors > self._patience:
                    self._patience = machine.errors
                    if desk.temper.tarpit_seconds:
                        tasks.sleep(desk.temper.tarpit_seconds)
                stream.expire_in(
                    desk.temper.command_seconds if machine.state is not _CLOSED else SERVER_CLOSING_SECONDS
                )
                stream.write(output)
            state = machine.state
            if state is _CLOSED:
                ordinary = machine.over == "quit"
                if not ordinary:
                    self._record.ended(machine.over)
                if output and (machine.surplus or not ordinary):
                    self._linger()
                return
            if state >= _CONTENT:
                octets = self._read_content(first=state is _CONTENT and bool(output))
            else:
                if state is not _CHUNKS:
                    self._began = 0.0
                self._waiting = True
                octets = stream.read_waiting_first() if output else stream.read()
                self._waiting = False
            if not octets:
                return
            machine.feed(octets)

    def _read_content(self, *, first: bool) -> bytes:
        """The next block of DATA or BDAT. `first`: 354 has just been said, so nothing can be there yet."""
        policy, stream, now = self._desk.policy, self._stream, clock.now()
        if not self._began:
            self._began = now
            self._octets = 0
            stream.expire_at(now + policy.block_seconds)
        else:
            came = max(self._octets, self._machine.size)  # what came with the commands is not in `_octets`
            stream.expire_at(content_deadline(now, self._began, came, block=policy.block_seconds, rate=policy.min_rate))
        self._waiting = True
        octets = stream.read_waiting_first() if first else stream.read()
        self._waiting = False
        self._octets += len(octets)
        return octets

    # -- decisions ------------------------------------------------------------------------------------------------

    def _entitle(self) -> None:
        """What is offered follows what the client may do: aliases are told to those alone that may send to them, and
        EXPN is listed for nobody else (RFC 5321 4.2.4)."""
        policy, machine = self._desk.policy, self._machine
        if policy.aliases:
            may = self._identity.relays and (bool(machine.user) or not machine.terms.needs_auth)
            machine.terms = policy.terms_for(trusted=Extension.XCLIENT in machine.terms.offered, entitled=may)

    def _mail(self, event: Mail) -> None:
        desk = self._desk
        self._began = 0.0
        if self._identity.relays:  # nobody else gets as far as a message, so nobody else costs a look at the disk
            if desk.log.short:
                desk.counts.throttled["log"] += 1
                self._refuse(_LOG_SHORT, "MAIL", blame=False, sender=event.sender)
                return
            try:
                desk.intake.check_room(event.size)
            except MachineShort as short:
                self._refuse(self._shortage(short), "MAIL", blame=False, sender=event.sender)
                return
        elif desk.claims is not None and desk.policy.helo_check == "require":
            self._identity.hear()
            if self._identity.checked != "pass":
                answer = HELO_UNKNOWN if self._identity.checked == "temperror" else FALSE_HELO
                self._refuse(answer, "MAIL", sender=event.sender)
                return
        if self._allowance is not None:
            over = self._allowance.message(self._machine.user)
            if over is not None:
                self._refuse(over, "MAIL", sender=event.sender)
                return
        self._machine.mail_ok()

    def _rcpt(self, event: Rcpt) -> None:
        verdict = self._desk.policy.recipient(event.address, self._identity.relays)
        if isinstance(verdict, Reply):
            self._refuse(verdict, "RCPT", recipient=event.address)
            return
        names = self._desk.policy.alias(verdict) if self._desk.policy.aliases else ()
        if names and not self._machine.has_room(names):
            self._refuse(TOO_MANY_RECIPIENTS, "RCPT", blame=False, recipient=event.address)
            return
        if self._allowance is not None:
            over = self._allowance.recipients(len(names) or 1)
            if over is not None:  # no error of the client: what it has named already goes on
                self._refuse(over, "RCPT", blame=False, recipient=event.address)
                return
        if names:
            self._machine.rcpt_expanded(verdict, names)
        else:
            self._machine.rcpt_ok(verdict)

    def _rare(self, event: object) -> None:
        if isinstance(event, Spoiled):
            self._gathering.forget()
            self._record.refused(event.reply, event.command, sender=event.sender)
        elif isinstance(event, Dropped):
            self._gathering.forget()
        elif isinstance(event, Refused):
            self._record.refused(event.reply, event.command)
        elif isinstance(event, Expand):
            self._machine.expansion(self._desk.policy.alias(event.name))
        elif isinstance(event, StartTls):
            self._start_tls()
        elif isinstance(event, AuthLookup | AuthClaim):
            self._log_in(event)
        elif isinstance(event, XClient):
            self._head = b""
            self._identity.become(event)
            if self._desk.rates is not None:
                self._begin_again(self._desk.rates)
            self._entitle()

    def _begin_again(self, rates: Rates) -> None:
        """The client is another from here on: what it begins counts as its own, this connection first."""
        client = self._identity.address
        self._allowance = rates.allowance(client)
        over = rates.connection(client)
        if over is not None:
            rates.held_up(client)
            self._machine.hang_up(over, over.text)

    def _log_in(self, event: AuthLookup | AuthClaim) -> None:
        """May wait: for the derivation, and behind a failure. Nothing of a password is ever written anywhere."""
        machine, desk, logins = self._machine, self._desk, self._desk.logins
        assert logins is not None
        if isinstance(event, AuthLookup):
            answer = logins.verifier(event.user, self._identity.address)
            if isinstance(answer, Verifier):
                machine.auth_verifier(answer)
            else:
                self._refuse(answer, "AUTH")
            return
        verdict = logins.judge(event, self._identity.address)
        if isinstance(verdict, Reply):
            desk.counts.throttled["auth"] += 1
            self._refuse(verdict, "AUTH", blame=verdict is NOT_NOW)
        elif verdict:
            desk.counts.logins_ok += 1
            machine.auth_ok()
            self._identity.logged_in()
            self._entitle()
            self._head = b""
        else:
            desk.counts.logins_failed += 1
            fields = {"user": event.user} if logins.knows(event.user) else {}
            self._record.refused(AUTH_NO, "AUTH", mechanism=event.mechanism, **fields)
            self._failed_logins += 1
            machine.auth_no(last=logins.pause(self._failed_logins))

    def _start_tls(self) -> None:
        machine, stream, certificates = self._machine, self._stream, self._desk.tls
        if certificates is None:
            machine.refuse(NO_TLS)
            return
        over = self._allowance.handshake() if self._allowance is not None else None
        if over is not None:
            self._refuse(over, "STARTTLS")
            return
        machine.tls_ok()
        stream.expire_in(self._desk.temper.command_seconds)
        stream.write(machine.take_output())
        if machine.user:  # what was said in plaintext is void
            self._identity.logged_out()
        self._shake_hands(certificates, first=False)
        machine.tls_started()
        self._entitle()

    # -- content --------------------------------------------------------------------------------------------------

    def _content(self, event: Content) -> None:
        mail = self._machine.mail
        try:
            whole = self._gathering.take(event.octets, mail.size if mail is not None else 0, last=event.last)
        except MachineShort as short:
            self._not_taken(self._shortage(short), event.last, blame=False)
            return
        if isinstance(whole, Reply):
            self._not_taken(whole, event.last, blame=True)
        elif whole is not None:
            self._accept(whole)

    def _not_taken(self, answer: Reply, last: bool, *, blame: bool) -> None:
        self._gathering.forget()
        if last:
            self._refuse(answer, self._content_word(), blame=blame)
        else:
            self._record.refused(answer, self._content_word())
            self._machine.spoil(answer)

    def _content_word(self) -> str:
        return "BDAT" if self._machine.state is _CHUNK else "DATA"

    def _accept(self, content: bytes | Draft) -> None:
        """The message is complete: into the house with it; 250 when it is safe."""
        desk, machine, identity = self._desk, self._machine, self._identity
        mail = machine.mail
        assert mail is not None
        recipients = tuple(machine.recipients.values())
        began = clock.now()
        wall = clock.wall()
        ident = desk.intake.fresh_ident()
        text = ident.hex()
        head = self._head
        if not head or mail.smtputf8:
            identity.hear()  # where nothing said 354: the message came by BDAT
            head = received_head(
                machine.helo,
                identity.address,
                desk.policy.terms.hostname,
                protocol(extended=machine.extended, tls=machine.tls, user=machine.user, smtputf8=mail.smtputf8),
                verified=identity.verified,
                checked=identity.checked,
            )
            if not mail.smtputf8:
                self._head = head
        prefix = b"%b%b%b" % (head, text.encode("ascii"), desk.dates.at(wall))
        envelope = Envelope(
            mail.sender,
            recipients,
            wall,
            client=identity.address,
            helo=machine.helo,
            user=machine.user,
            body=mail.body,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
            session=self._record.ident,
            arriving=began - self._began if self._began else 0.0,
        )
        self._gathering.handed_over()
        try:
            desk.intake.accept(envelope, prefix, content, ident=ident)
        except MachineShort as short:
            if not isinstance(content, bytes):
                content.discard()
            self._refuse(self._shortage(short), self._content_word(), blame=False)
            return
        if machine.expanded is not None and desk.expanded is not None:
            desk.expanded(ident, envelope, machine.expanded, wall)
        self._patience = SLOW_ERRORS
        size = machine.size
        machine.taken(text)
        counts = desk.counts
        counts.received += 1
        counts.received_bytes += size
        counts.accept_seconds.observe(clock.now() - began)
        fields = machine.changes
        desk.log.write(
            "Reception",
            id=text,
            sender=mail.sender,
            recipient=recipients[0].address if len(recipients) == 1 else [one.address for one in recipients],
            size=size,
            created_time=wall,
            **self._record.who(),
            **fields,
        )
        if desk.judge is not None:
            desk.judge(ident, prefix, content)

    # -- words ----------------------------------------------------------------------------------------------------

    def _refuse(self, answer: Reply, command: str, *, blame: bool = True, **fields: Any) -> None:
        self._record.refused(answer, command, **fields)
        self._machine.refuse(answer, blame=blame)

    def _shortage(self, short: MachineShort) -> Reply:
        self._desk.counts.throttled["room"] += 1
        return reply(short.code, short.enhanced, short.text)

    def _closing(self) -> Reply:
        return reply(421, "4.3.2", f"{self._desk.policy.terms.hostname} Closing, come back later")

    def _say_goodbye(self) -> None:
        """The wait was too long, or the house closes."""
        machine = self._machine
        answer = self._closing()
        if not self._leaving:
            answer = reply(421, "4.4.2", f"{self._desk.policy.terms.hostname} Nothing came in time, closing")
        why = "closing" if self._leaving else "timeout"
        if machine.mail is not None:  # who only idled is told, not recorded
            self._record.ended(why)
        machine.hang_up(answer, why)
        stream = self._stream
        stream.write_nowait(machine.take_output())
        if not stream.is_quiet():
            self._linger()

    def _linger(self) -> None:
        """The last word is said: let it be read by a client that still sends."""
        self._waiting = True
        self._stream.linger(LINGER, 0.0 if self._leaving else self._desk.temper.linger_seconds)
        self._waiting = False
