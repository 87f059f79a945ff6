"""config/aliases.py: [aliases] are expanded when the file is read; what cannot end is refused in one line."""

import pytest

from fastrelay import config
from fastrelay.config.aliases import MAX_DEPTH, MAX_EXPANSION
from fastrelay.errors import ConfigError

HEAD = '[server]\nhostname = "relay.example"\n[aliases]\n'


def aliases(text: str) -> dict[str, tuple[str, ...]]:
    (listener,) = config.parse(HEAD + text).listeners
    return dict(listener.aliases)


def test_names_are_addresses_and_nested_ones_are_expanded_once() -> None:
    assert aliases(
        'Staff = ["anna@example.com", "bert@Example.org", "ops"]\n'
        'ops = ["OPS@elsewhere.example", "anna@EXAMPLE.com"]\n'
        '"sales@Shop.example" = ["staff@relay.example", "carla@example.com"]\n'
    ) == {
        "staff@relay.example": ("anna@example.com", "bert@Example.org", "OPS@elsewhere.example"),
        "ops@relay.example": ("OPS@elsewhere.example", "anna@EXAMPLE.com"),
        "sales@shop.example": (
            *("anna@example.com", "bert@Example.org", "OPS@elsewhere.example"),
            "carla@example.com",
        ),
    }


def test_every_listener_knows_them_and_a_changed_one_is_another_listener() -> None:
    text = (
        '[[listener]]\naddress = "127.0.0.1:1"\n[[listener]]\naddress = "127.0.0.1:2"\n[aliases]\na = ["b@c.example"]\n'
    )
    one, two = config.parse(text).listeners
    assert one.aliases == two.aliases != ()
    assert config.parse(text.replace("b@c", "d@c")).listeners[0] != one
    assert config.parse("").listeners[0].aliases == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a = ["a"]', "aliases.a@relay.example: leads back to itself: a@relay.example -> a@relay.example"),
        (
            'x = ["a"]\na = ["b", "z@y.example"]\nb = ["C@relay.example"]\nc = ["A"]',
            "leads back to itself: a@relay.example -> b@relay.example -> c@relay.example -> a@relay.example",
        ),
        ('a = ["b"]', "aliases.a: 'b' is neither an address nor another alias"),
        ("a = []", 'aliases.a: write the recipients as a list: ["anna@example.com"]'),
        ('a = "b@c.example"', "aliases.a: write the recipients as a list"),
        ("a = [1]", "aliases.a: write the recipients as a list"),
        ('a = ["b@c.example"]\nA = ["d@c.example"]', "aliases.A: is there twice"),
        ('"a b" = ["b@c.example"]', "aliases.a b: 'a b' is no address"),
        ('a = ["b\\\\r\\\\nX: y@c.example"]', "is no address"),
        ('a = ["b@c_/.example"]', "is no host name"),
        ('a = ["\u00fc@c.example"]', "is no address"),
        ("a = [" + ", ".join(f'"u{n}@c.example"' for n in range(MAX_EXPANSION + 1)) + "]", "stands for more than 1000"),
        (
            "\n".join(f'a{n} = ["a{n + 1}"]' for n in range(MAX_DEPTH + 1)) + f'\na{MAX_DEPTH + 1} = ["x@y.example"]',
            "aliases within aliases more than 20 deep",
        ),
    ],
)
def test_what_is_wrong_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        aliases(text)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_it_must_be_and_is_known() -> None:
    with pytest.raises(ConfigError, match="aliases: must be a table"):
        config.parse("aliases = 1")
    with pytest.raises(ConfigError, match='did you mean "aliases"'):
        config.parse("[alias]")


def test_aliases_that_double_at_each_step_cost_no_more_than_they_are() -> None:
    rows = [f'a{n} = ["a{n + 1}", "b{n + 1}"]\nb{n} = ["a{n + 1}", "b{n + 1}"]' for n in range(MAX_DEPTH - 2)]
    rows.append(f'a{MAX_DEPTH - 2} = ["x@y.example"]\nb{MAX_DEPTH - 2} = ["z@y.example"]')
    assert aliases("\n".join(rows))["a0@relay.example"] == ("x@y.example", "z@y.example")
