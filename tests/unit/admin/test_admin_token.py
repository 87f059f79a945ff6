"""admin/token.py: who has the line of the file may ask, nobody else."""

from pathlib import Path

import pytest

from fastrelay.admin.http import HttpError, parse_head
from fastrelay.admin.token import Token

SECRET = b"0123456789abcdef0123"


def refused(token: Token, authorization: bytes) -> int:
    with pytest.raises(HttpError) as error:
        token.check(authorization)
    assert SECRET.decode() not in error.value.text
    assert error.value.field == ("WWW-Authenticate: Bearer" if error.value.status == 401 else "")
    return error.value.status


def test_only_the_token_opens(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(SECRET + b"\nnotes\n")
    token = Token(str(file))
    token.check(b"Bearer " + SECRET)
    token.check(b"bearer  " + SECRET)
    for wrong in (b"", b"Bearer", b"Bearer ", SECRET, b"Basic " + SECRET, b"Bearer " + SECRET[:-1], b"Bearer notes"):
        assert refused(token, wrong) == 401
    file.write_bytes(b"another-secret-of-some-length\n")
    assert refused(token, b"Bearer " + SECRET) == 401
    token.check(b"Bearer another-secret-of-some-length")


def test_a_file_that_is_no_token_opens_nothing(tmp_path: Path) -> None:
    assert refused(Token(str(tmp_path / "none")), b"Bearer " + SECRET) == 503
    file = tmp_path / "token"
    for octets in (b"", b"\n" + SECRET, b"short\n"):
        file.write_bytes(octets)
        assert refused(Token(str(file)), b"Bearer " + octets.strip()) == 503
    assert not Token("").wanted


def test_the_field_is_read_from_the_head() -> None:
    head = b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc"
    assert parse_head(head).authorization == b"Bearer abc"
