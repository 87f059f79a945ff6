"""Request heads as values: what is understood, and what is refused rather than guessed."""

import pytest

from fastrelay.admin.http import (
    MAX_BODY,
    MAX_FIELDS,
    REASONS,
    HttpError,
    Request,
    Response,
    json_response,
    parse_head,
    response_octets,
)


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, "Host: x", *fields]).encode("latin-1")


def test_a_request_as_a_value() -> None:
    octets = head("GET /api/v1/queue?domain=a.example&sender=&limit=10 HTTP/1.1", "Content-Length: 12", "X-Y:  z ")
    wanted = {"domain": "a.example", "sender": "", "limit": "10"}
    assert parse_head(octets) == Request("GET", "/api/v1/queue", wanted, 12, True)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%20b?x=%C3%A4+b", "/a b", {"x": "ä b"}),
        ("/q?a=1&a=2", "/q", {"a": "2"}),
        ("http://elsewhere/metrics", "/metrics", {}),
        ("/#fragment", "/", {}),
        ("*", "*", {}),
    ],
)
def test_targets_are_decoded(target: str, path: str, query: dict[str, str]) -> None:
    request = parse_head(head(f"GET {target} HTTP/1.1"))
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    ("version", "fields", "keeps"),
    [
        ("HTTP/1.1", [], True),
        ("HTTP/1.1", ["Connection: close"], False),
        ("HTTP/1.1", ["Connection: TE, Close"], False),
        ("HTTP/1.1", ["Connection: keep-alive"], True),
        ("HTTP/1.0", [], False),
        ("HTTP/1.0", ["Connection: keep-alive"], False),
    ],
)
def test_how_long_a_connection_lives(version: str, fields: list[str], keeps: bool) -> None:
    assert parse_head(head(f"GET / {version}", *fields)).keep_alive is keeps


def test_version_1_0_needs_no_host() -> None:
    assert parse_head(b"GET / HTTP/1.0").path == "/"


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"G:T / HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x", 400),
        (b"GET /?a=%ff HTTP/1.1\r\nHost: x", 400),
        (b"GET //[ HTTP/1.1\r\nHost: x", 400),
        (b"EHLO example.org SMTP", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.1", 400),  # no Host
        (head("GET / HTTP/1.1", "Host: y"), 400),
        (head("GET / HTTP/1.1", " folded"), 400),
        (head("GET / HTTP/1.1", "no colon"), 400),
        (head("GET / HTTP/1.1", ": nameless"), 400),
        (head("GET / HTTP/1.1", "Content-Length : 3"), 400),
        (head("GET / HTTP/1.1", "A: b\nTransfer-Encoding: chunked"), 400),
        (head("GET / HTTP/1.1", "A: b\rc"), 400),
        (head("GET / HTTP/1.1", "A: b\0c"), 400),
        (head("POST / HTTP/1.1", "Content-Length: -1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: +1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 1, 1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: \xb2"), 400),  # a digit to str, none to RFC 9110
        (head("POST / HTTP/1.1", "Content-Length: 1", "Content-Length: 1"), 400),
        (head("POST / HTTP/1.1", "Content-Length: 99999999999999999999"), 400),
        (head("POST / HTTP/1.1", f"Content-Length: {MAX_BODY + 1}"), 413),
        (head("POST / HTTP/1.1", "Transfer-Encoding: chunked"), 501),
        (head("GET / HTTP/1.1", *(f"X{n}: y" for n in range(MAX_FIELDS))), 431),
        (head("GET /?" + "&".join(f"a{n}=1" for n in range(MAX_FIELDS + 1)) + " HTTP/1.1"), 400),
    ],
)
def test_what_is_not_http_is_refused(octets: bytes, status: int) -> None:
    with pytest.raises(HttpError) as refused:
        parse_head(octets)
    assert refused.value.status == status
    assert status in REASONS and refused.value.text


def test_the_longest_body_is_still_one() -> None:
    assert parse_head(head("POST / HTTP/1.1", f"Content-Length: {MAX_BODY}")).length == MAX_BODY


def test_an_answer_on_the_wire() -> None:
    first, body = response_octets(json_response({"b": 1, "a": [None, 2.5]}), keep_alive=True)
    assert body == b'{"a":[null,2.5],"b":1}\n'
    lines = first.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK" and lines[-2:] == [b"", b""]
    assert b"Content-Length: 23" in lines and b"Content-Type: application/json" in lines
    assert b"Connection: keep-alive" in lines


def test_head_gets_the_length_and_nothing_else() -> None:
    (only,) = response_octets(Response(503, b"not now"), keep_alive=False, head_only=True)
    assert only.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and b"Content-Length: 7\r\n" in only
    assert b"Connection: close\r\n" in only
