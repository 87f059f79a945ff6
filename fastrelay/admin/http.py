"""HTTP/1.1 as far as scrapers, probes, curl and our own command line need it: octets to values and back. No I/O.

Refused rather than guessed (RFC 9112): folded or malformed header lines, more than one Host or Content-Length, no Host,
any Transfer-Encoding, heads over MAX_HEAD, bodies over MAX_BODY. HttpError carries the status to answer with; after it
the connection is closed, so nothing a peer smuggles behind a bad head is ever read as a request.
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

MAX_HEAD = 16 * 1024  # octets of request line and headers
MAX_BODY = 1024 * 1024  # octets; the longest request we know is a selector of 200
MAX_FIELDS = 100

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
CRLF = "\r\n"
_CODES = {400: 64, 401: 64, 403: 64, 404: 65, 405: 64, 413: 64, 431: 64, 501: 64, 503: 75, 505: 64}  # -> sysexits
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

_encode = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode


class HttpError(Exception):
    """The request cannot be served: answer `status` with `text`. field: one of the answer's head, as RFC 9110 wants it
    of a 401 (11.6.1) and a 405 (10.2.1)."""

    def __init__(self, status: int, text: str, field: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.field = field

    @property
    def response(self) -> "Response":
        """What is answered; code: of sysexits.h, as everywhere in the API; 70 is a bug of ours."""
        answer = json_response({"error": self.text, "code": _CODES.get(self.status, 70)}, self.status)
        return answer._replace(field=self.field)


class Request(NamedTuple):
    """One request head. path is decoded; query keeps the last of repeated keys; length: octets of body that follow.
    authorization: the field of that name."""

    method: str
    path: str
    query: dict[str, str]
    length: int
    keep_alive: bool
    authorization: bytes = b""


class Response(NamedTuple):
    """One answer. field: one more of its head, "" for none."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    field: str = ""


def json_response(value: object, status: int = 200) -> Response:
    """An answer in JSON, one line, keys in order."""
    return Response(status, _encode(value) + b"\n", "application/json")


def parse_head(head: bytes) -> Request:
    """The request whose head is `head`, without the empty line at its end. HttpError else."""
    first, *lines = head.split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or not parts[0] or not parts[0].isalpha() or not all(0x21 <= c < 0x7F for c in parts[1]):
        raise HttpError(400, "not an HTTP request line")
    if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise HttpError(505 if parts[2].startswith(b"HTTP/") else 400, "HTTP/1.1 is spoken here")
    fields = _fields(lines)
    if b"transfer-encoding" in fields:
        raise HttpError(501, "send a Content-Length")
    length = fields.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 10:
        raise HttpError(400, "bad Content-Length")
    if int(length) > MAX_BODY:
        raise HttpError(413, f"at most {MAX_BODY} octets")
    try:
        target = urlsplit(parts[1].decode("ascii"))
        query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
        path = unquote(target.path, errors="strict")
    except ValueError:
        raise HttpError(400, "bad request target") from None
    if b"host" not in fields and parts[2] == b"HTTP/1.1":
        raise HttpError(400, "no Host field")
    options = [option.strip() for option in fields.get(b"connection", b"").lower().split(b",")]
    keep_alive = parts[2] == b"HTTP/1.1" and b"close" not in options
    return Request(parts[0].decode("ascii"), path, query, int(length), keep_alive, fields.get(b"authorization", b""))


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > MAX_FIELDS:
        raise HttpError(431, f"at most {MAX_FIELDS} header fields")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN.issuperset(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise HttpError(400, "malformed header field")
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding", b"host") and name in fields:
            raise HttpError(400, "repeated header field")
        fields[name] = value.strip(b" \t")
    return fields


def response_octets(response: Response, *, keep_alive: bool, head_only: bool = False) -> list[bytes]:
    """What goes on the wire for an answer."""
    head = (
        f"HTTP/1.1 {response.status} {REASONS[response.status]}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"{response.field}{CRLF if response.field else ''}"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return [head.encode("ascii")] if head_only or not response.body else [head.encode("ascii"), response.body]
