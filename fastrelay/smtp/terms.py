"""The terms of a server: its name, what it offers, its limits. One value per listener, shared by all its sessions.

What is said in every session is put into octets here, once.
"""

from fastrelay.mail.reply import Reply, reply
from fastrelay.smtp import sasl
from fastrelay.smtp.extensions import BASIC, Extension, keywords, vocabulary

MAX_ERRORS = 20  # errors since the last message taken, then 421: Postfix smtpd_hard_error_limit
SLOW_ERRORS = 10  # then each costs the client a second: Postfix smtpd_soft_error_limit
MAX_JUNK = 100  # commands that lead to no mail (NOOP, RSET, EHLO, VRFY, HELP): Postfix smtpd_junk_command_limit


class Terms:
    """hostname: how the server calls itself. max_size: octets of content, also announced. max_recipients: accepted per
    message, at least 100, also announced (RFC 5321 4.5.3.1.8). mend: bare CR and LF are replaced instead of refused.
    remove_bcc: bcc.py. aliases: EXPN is offered; it and VRFY ask the owner. tls: what is offered in plaintext ("none",
    "starttls"), or demanded ("required"); "implicit" needs no offer. auth: may a client log in ("optional"), must it
    ("required"); only inside TLS unless auth_plaintext. guarded: something has to come before MAIL.
    """

    __slots__ = (
        "aliases",
        "auth",
        "auth_plaintext",
        "ehlo",
        "ehlo_tls",
        "greeting",
        "guarded",
        "helo",
        "help",
        "help_tls",
        "hostname",
        "max_recipients",
        "max_size",
        "mend",
        "needs_auth",
        "needs_tls",
        "offered",
        "offered_tls",
        "remove_bcc",
        "too_large",
        "too_many_errors",
    )

    def __init__(
        self,
        hostname: str,
        *,
        max_size: int = 50 * 1024 * 1024,
        max_recipients: int = 1000,
        mend: bool = False,
        remove_bcc: bool = False,
        aliases: bool = False,
        tls: str = "none",
        auth: str = "none",
        auth_plaintext: bool = False,
        extensions: frozenset[Extension] = BASIC,
    ) -> None:
        self.hostname = hostname
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.mend = mend
        self.remove_bcc = remove_bcc
        self.aliases = aliases
        self.needs_tls = tls == "required"
        self.needs_auth = auth == "required"
        self.guarded = self.needs_tls or self.needs_auth
        self.auth: tuple[str, ...] = sasl.OFFERED if auth != "none" else ()
        self.auth_plaintext = auth_plaintext
        plain = extensions - {Extension.STARTTLS, Extension.AUTH}
        if aliases:
            plain |= {Extension.EXPN}
        self.offered_tls = plain | {Extension.AUTH} if self.auth else plain
        self.offered = self.offered_tls if auth_plaintext else plain
        if tls in ("starttls", "required"):
            self.offered |= {Extension.STARTTLS}
        self.greeting = reply(220, "", f"{hostname} ESMTP ready").to_wire()
        self.helo = reply(250, "", hostname).to_wire()
        self.ehlo = reply(250, "", hostname, *keywords(self.offered, max_size, max_recipients)).to_wire()
        self.ehlo_tls = reply(250, "", hostname, *keywords(self.offered_tls, max_size, max_recipients)).to_wire()
        self.help = reply(214, "2.0.0", f"Commands: {vocabulary(self.offered)}").to_wire()
        self.help_tls = reply(214, "2.0.0", f"Commands: {vocabulary(self.offered_tls)}").to_wire()
        self.too_large: Reply = reply(552, "5.3.4", f"Message larger than {max_size} octets")
        self.too_many_errors: Reply = reply(421, "4.7.0", f"{hostname} Too many errors, closing")

    def whole(self, name: str) -> str:
        """An address as it is, a bare name as one at this server."""
        return name if "@" in name else f"{name}@{self.hostname}"
