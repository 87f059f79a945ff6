"""SASL without I/O, both sides: PLAIN (RFC 4616), LOGIN (as every client knows it), SCRAM-SHA-256 (RFC 5802, 7677).

Octets of a message in, a step or octets out; base64 and lines are SMTP's business (smtp/authentication.py and
smtp/client.py). prep.py: names and passwords made comparable. scram.py: keys, verifiers, messages. server.py and
client.py: one exchange each.

Left out: channel binding (SCRAM-SHA-256-PLUS): TLS 1.3 needs tls-exporter (RFC 9266), which Python's ssl does not give.
"""

PLAIN, LOGIN, SCRAM = "PLAIN", "LOGIN", "SCRAM-SHA-256"
MECHANISMS = (SCRAM, PLAIN, LOGIN)  # strongest first: SCRAM never shows the password, PLAIN takes one round trip
OFFERED = (PLAIN, LOGIN, SCRAM)  # the order in an EHLO reply; old clients take the first they know

MAX_LINE = 12_288  # octets of a line of an exchange with CRLF (RFC 4954 4)
MAX_NAME = 255  # octets of a user name; RFC 4616 2 asks for at least 255
MAX_PASSWORD = 1024  # octets; no RFC figure, four times what RFC 4616 2 asks for
