from base64 import b64decode

import pytest

from fastrelay.errors import MisuseError, PeerError
from fastrelay.load.access import Credentials, Login, parse_credentials
from fastrelay.mail.reply import reply

ANNA = Credentials("anna", "p:ss")


def test_plain_in_one_round_trip() -> None:
    login = Login(ANNA, ("LOGIN", "PLAIN"))
    assert b64decode(login.begin.removeprefix(b"AUTH PLAIN ").strip()) == b"\0anna\0p:ss"
    assert login.answer(reply(235, "2.7.0", "ok")) is None


def test_login_step_by_step() -> None:
    login = Login(ANNA, ("CRAM-MD5", "LOGIN"))
    assert login.begin == b"AUTH LOGIN\r\n"
    said = [login.answer(reply(334, "", "VXNlcm5hbWU6")), login.answer(reply(334, "", "UGFzc3dvcmQ6"))]
    assert [b64decode(words or b"") for words in said] == [b"anna", b"p:ss"]
    assert login.answer(reply(235, "2.7.0", "ok")) is None


@pytest.mark.parametrize("offered", [(), ("GSSAPI",)])
def test_nothing_we_know_is_offered(offered: tuple[str, ...]) -> None:
    with pytest.raises(PeerError, match="not offered"):
        Login(ANNA, offered)


@pytest.mark.parametrize("code", [535, 454, 334, 250])
def test_a_no_and_a_reply_out_of_place(code: int) -> None:
    with pytest.raises(PeerError, match=f"AUTH was answered with {code}"):
        Login(ANNA, ("PLAIN",)).answer(reply(code, "", "no"))


def test_login_is_not_over_before_the_password() -> None:
    login = Login(ANNA, ("LOGIN",))
    with pytest.raises(PeerError):
        login.answer(reply(235, "", "too early"))


def test_words_of_the_command_line() -> None:
    assert parse_credentials("anna:p:ss") == ANNA and "p:ss" not in repr(ANNA)
    for wrong in ("anna", ":x", ""):
        with pytest.raises(MisuseError):
            parse_credentials(wrong)
