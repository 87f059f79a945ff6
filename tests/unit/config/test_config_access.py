"""[auth], [[credentials]] and what hangs on them: what is understood, what is refused and why, what is told."""

import pytest

from fastrelay.config import Credentials, parse, site_settings
from fastrelay.errors import ConfigError

ROW = '[[credentials]]\nname = "hub"\nuser = "me"\npassword = "s3cret"\n'
ROUTE = '[[route]]\ndomain = "*"\nnext_hop = ["hub.example:587"]\ncredentials = "hub"\n'


def test_defaults() -> None:
    config = parse("")
    assert config.auth.users == "/etc/fastrelay/users" and config.auth.iterations == 100_000
    assert config.listeners[0].auth == "none" and not config.listeners[0].auth_plaintext
    assert config.credentials == () and config.notes == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[listener]]\nauth = "optional"', "auth: is offered inside TLS alone"),
        ('[[listener]]\nauth = "yes"', 'auth: "yes" is none of "none", "optional", "required"'),
        ("[auth]\niterations = 4095", "auth.iterations: must be >= 4096"),
        ('[auth]\nuser = "x"', 'auth.user: unknown key, did you mean "users"'),
        ('[[credentials]]\nname = "a"\nuser = "u"', "credentials.0..password: give either password or password_file"),
        (ROW + 'password_file = "x"', "credentials.0..password: give either password or password_file"),
        (ROW + 'mechanisms = ["CRAM-MD5"]', 'credentials.0..mechanisms: "CRAM-MD5" is none of "SCRAM-SHA-256", "PLA'),
        (ROW + "mechanisms = []", "credentials.0..mechanisms: "),
        (ROW + ROW, "credentials: two rows have the same name"),
        (ROW + ROUTE.replace('"hub"', '"hubb"'), 'route.0..credentials: no .* named "hubb", did you mean "hub"'),
        (ROW + '[[site]]\nname = "s"\ncredentials = "x"', 'site.0..credentials: no .* named "x"'),
        ('[delivery]\ncredentials = "hub"', "delivery.credentials: unknown key"),
        ('[delivery]\nlogin = "hub"', "delivery.login: unknown key"),
        (ROW + ROUTE + '[delivery]\ntls = "never"', 'route.0..credentials: are sent inside TLS alone'),
    ],
)  # fmt: skip
def test_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse(text)
    assert "s3cret" not in str(caught.value)


def test_a_site_row_hands_its_credentials_to_its_delivery_and_to_no_other() -> None:
    config = parse(ROW + '[[site]]\nname = "s"\ndomain = ["a.example"]\ncredentials = "hub"\n[[site]]\nname = "t"')
    assert site_settings(config, "s").login == "hub"
    assert site_settings(config, "t").login == site_settings(config, "u").login == ""


def test_passwords_that_anyone_may_see_are_told() -> None:
    (note,) = parse('[[listener]]\nauth = "optional"\nauth_plaintext = true').notes
    assert "listener[0].auth_plaintext" in note and "clear text" in note
    (note,) = parse(ROW + ROUTE).notes
    assert 'tls = "verify"' in note
    assert parse(ROW + ROUTE + '[delivery]\ntls = "verify"').notes == ()
    (note,) = parse(ROW + "plaintext = true\n" + ROUTE).notes
    assert "clear text" in note


def test_a_password_does_not_show() -> None:
    assert "s3cret" not in repr(Credentials(name="hub", user="me", password="s3cret"))
    assert "s3cret" not in repr(parse(ROW + ROUTE))
