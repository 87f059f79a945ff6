"""settlement/word.py against the wordings of real servers."""

import pytest

from fastrelay.settlement.word import GREYLIST, LONGEST, Word, asked

WAITS = [
    ("postgrey", "Greylisted, see http://postgrey.schweikert.ch/help/example.com.html", GREYLIST),
    ("postgrey with a time", "<a@b.example>: Recipient address rejected: Greylisted for 300 seconds", 300),
    ("SQLgrey", "<a@b.example>: Recipient address rejected: Greylisted for 5 minutes", 300),
    ("policyd", "Recipient address rejected: Greylisting in effect, please come back later", GREYLIST),
    ("milter-greylist", "Greylisting in action, please come back in 00:05:00", 300),
    ("milter-greylist, long", "Greylisting in action, please come back in 01:00:30", 3630),
    ("Exim with greylistd", "192.0.2.1 is not yet authorized to deliver mail from <a@b>.", GREYLIST),
    ("Exim by hand", "greylisted - please try again in 10 minutes", 600),
    ("rspamd", "Try again later", 0),
    ("OpenBSD spamd", "Temporary failure, please try again later.", 0),
    ("Gmail, busy user", "is receiving mail too quickly. Please resend your message at a later time.", 0),
    ("Gmail, rate", "unusual rate of unsolicited mail originating from your IP address.", 0),
    ("Yahoo, greylisted", "[GL01] Message from (192.0.2.1) temporarily deferred - 4.16.50.", GREYLIST),
    ("Yahoo, volume", "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume", 0),
    ("Outlook, reputation", "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.", 0),
    ("Mimecast", "Internal resource temporarily unavailable - https://community.mimecast.com", GREYLIST),
    ("greylisted, with a time", "Message was not accepted: greylisted, try again in 5 minutes", 300),
    ("plain", "try again in 300 seconds", 300),
    ("plain, abbreviated", "4.7.1 Please retry in 300s", 300),
    ("plain, after", "Rate exceeded; retry after 5 minutes", 300),
    ("plain, hours", "You must wait at least 2 hours", 7200),
    ("plain, one hour", "come back in 1 hour", 3600),
    ("HTTP's", "throttled, Retry-After: 120", 120),
    ("a quota is no wait", "Rate limit exceeded: 100 messages in 60 seconds, try again later", 0),
    ("a quota behind", "Try again later. You sent more than 100 messages per 1 hour", 0),
    ("a code is no wait", "Try again later (10) 5 sessions", 0),
    ("senseless", "try again in 999999 hours", LONGEST),
    ("nothing", "", 0),
]  # fmt: skip

CROWDED = [
    ("Postfix anvil", "mx.example Error: too many connections from 192.0.2.1"),
    ("Exim", "Too many concurrent SMTP connections; please try again later."),
    ("Exim, by host", "Too many concurrent SMTP connections from this IP address; please try again later."),
    ("sendmail", "Too many open connections."),
    ("sendmail, rate", "Connection rate limit exceeded."),
    ("IronPort", "#4.4.5 Too many connections from your host."),
    ("Exchange", "The maximum number of concurrent server connections has exceeded a limit"),
    ("Office 365", "Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending"),
    ("Outlook.com RP-003", "RP-003 The mail server IP has exceeded the connection limit allowed."),
    ("Gmail", "Too many concurrent connections from 192.0.2.1"),
    ("QQ", "Connection frequency limited"),
    ("Comcast", "Too many sessions opened"),
    ("several", "too many connections; try again later"),
]  # fmt: skip

QUIET = [
    "too many recipients",
    "Too many messages from this connection",
    "Error: too much mail from 192.0.2.1",
    "Service not available, closing transmission channel",
    "Timeout waiting for connection",
    "mailbox full",
]


@pytest.mark.parametrize(("who", "text", "seconds"), WAITS, ids=[row[0] for row in WAITS])
def test_waits(who: str, text: str, seconds: float) -> None:
    assert asked(text) == Word(seconds)


@pytest.mark.parametrize(("who", "text"), CROWDED, ids=[row[0] for row in CROWDED])
def test_too_many_connections(who: str, text: str) -> None:
    assert asked(text).crowded


@pytest.mark.parametrize("text", QUIET)
def test_what_asks_for_nothing(text: str) -> None:
    assert asked(text) == Word()


def test_a_text_made_to_be_slow_is_not() -> None:
    """What is looked at is bounded, and every repetition ends at a word that must stand there."""
    for text in (
        "again " * 5000,
        "again in " * 5000,
        "too many " * 5000,
        "retry" + " in" * 5000,
        "again " + "(" * 9999,
    ):
        assert asked(text) == Word()
