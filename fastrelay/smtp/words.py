"""What the server machine always says in the same words. Octets where it is said often, Reply where it is an error."""

from fastrelay.mail.reply import reply
from fastrelay.smtp.data import MAX_TEXT_LINE

MAIL_OK = b"250 2.1.0 Sender ok\r\n"
RCPT_OK = b"250 2.1.5 Recipient ok\r\n"
GO_ON = b"354 End data with <CR><LF>.<CR><LF>\r\n"
TAKEN = b"250 2.0.0 Ok: queued as %s\r\n"
CHUNK_OK = b"250 2.0.0 %d octets received\r\n"
RESET_OK = b"250 2.0.0 Reset\r\n"
NOOP_OK = b"250 2.0.0 Ok\r\n"
BYE = b"221 2.0.0 Bye\r\n"
TLS_GO = b"220 2.0.0 Ready to start TLS\r\n"
VRFY = b"252 2.0.0 Send some mail, it will be tried\r\n"  # never 250 for syntax alone (RFC 5321 7.3)

OVERLONG_LINE = reply(500, "5.5.2", "Line too long")
BAD_OCTETS = reply(500, "5.5.2", "A command is printable ASCII, ended by CRLF")  # or UTF-8, for RFC 6531
UNKNOWN = reply(500, "5.5.1", "Command not recognised")
NOT_HERE = reply(502, "5.5.1", "Command not implemented")
NEEDS_SMTPUTF8 = reply(553, "5.6.7", "Addresses beyond ASCII need SMTPUTF8")  # RFC 6531 3.5
NO_ARGUMENT = reply(501, "5.5.4", "No argument is due here")
ARGUMENT_DUE = reply(501, "5.5.4", "An argument is due here")
OUT_OF_STEP = reply(554, "5.5.0", "Commands sent ahead of a reply that had to come first")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients, send the rest in another transaction")
NO_ALIAS = reply(550, "5.1.1", "No alias of that name")
NEEDS_TLS = reply(530, "5.7.0", "STARTTLS first")
TLS_ALREADY = reply(503, "5.5.1", "TLS is in use already")
NO_TLS = reply(502, "5.5.1", "TLS is not offered")
EHLO_FIRST = reply(503, "5.5.1", "EHLO first")
NEEDS_AUTH = reply(530, "5.7.0", "Authentication required")
AUTH_OK = b"235 2.7.0 Authentication succeeded\r\n"
AUTH_NO = reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_NO_MORE = reply(421, "4.7.0", "Too many failed logins, closing")
AUTH_NEEDS_TLS = reply(538, "5.7.11", "STARTTLS first, AUTH is offered inside TLS")
AUTH_TWICE = reply(503, "5.5.1", "Already authenticated")
AUTH_SYNTAX = reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
AUTH_UNKNOWN = reply(504, "5.5.4", "Mechanism not known here")
AUTH_BASE64 = reply(501, "5.5.2", "Not base64")
AUTH_LONG = reply(500, "5.5.6", "Line too long for an authentication exchange")
AUTH_CANCELLED = reply(501, "5.7.0", "Authentication cancelled")
BARE = reply(550, "5.6.0", "Bare CR or LF in the message; lines end in CRLF")
LONG_TEXT = reply(500, "5.6.0", f"A text line has more than {MAX_TEXT_LINE} octets")
ENDLESS = reply(421, "4.3.0", "The refused message does not end, closing")
