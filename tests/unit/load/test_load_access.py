"""What a load session says it is: the words of the command line. The exchanges have tests of their own (smtp/sasl/)."""

import pytest

from fastrelay.errors import MisuseError
from fastrelay.load.access import parse_credentials


def test_words_of_the_command_line() -> None:
    anna = parse_credentials("anna:p:ss")
    assert (anna.user, anna.password()) == ("anna", b"p:ss") and "p:ss" not in repr(anna)
    for wrong in ("anna", ":x", "", "anna:", "an\0na:x", "anna:p\nss"):
        with pytest.raises(MisuseError) as caught:
            parse_credentials(wrong)
        assert "p\nss" not in str(caught.value) and len(str(caught.value)) < 80
