"""Limits that large mailbox providers have told senders of, for a sink that behaves like one (`--profile`).

Facts as published, not a promise of what a provider does today: most limits move with a sender's reputation and are
told to nobody. Where a provider names no number for something there is no limit here.
"""

from fastrelay.load.limits import Limits

PROFILES: dict[str, Limits] = {
    # One domain a transaction, and the words for it and for too many recipients: "Gmail SMTP errors and codes",
    # support.google.com/a/answer/3726730. 100 recipients: "SMTP relay service error messages",
    # support.google.com/a/answer/6140680; the number RFC 5321 4.5.3.1.8 asks every server to take.
    "gmail-like": Limits(
        recipients=100,
        one_domain=True,
        crowded=b"452 4.5.3 Your message has too many recipients\r\n",
        foreign=b"451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.\r\n",
    ),
    # 500 simultaneous connections: Outlook.com "Policies, practices and guidelines" for senders
    # (sendersupport.olc.protection.outlook.com/pm/policies.aspx); code 4.7.652 of the refusal: Microsoft's reply as
    # quoted on postfix-users, "has exceeded the maximum number of connections".
    "outlook-like": Limits(
        per_client=500,
        busy=b"421 4.7.652 The mail server has exceeded the maximum number of connections.\r\n",
    ),
    # 20 messages a connection, which is then closed without an error code: Yahoo Mail's recommendations to senders
    # (Yahoo Customer Care, 2011, published at robomail.blogspot.com/2011/03).
    "yahoo-like": Limits(messages=20, enough=b""),
    # 25 connections an address, 100 recipients a message: Comcast Postmaster (postmaster.comcast.net). "Too many
    # sessions opened": words of its refusal.
    "comcast-like": Limits(
        per_client=25,
        recipients=100,
        busy=b"421 4.1.0 Too many sessions opened\r\n",
    ),
    # 3 connections from a host: Momentum reference, Scope_Max_Outbound_Connections, on orange.fr and wanadoo.fr;
    # OFR004_104 "Too many connections, slow down": Orange's published error codes.
    "orange-like": Limits(
        per_client=3,
        busy=b"421 4.7.0 Too many connections, slow down. OFR004_104\r\n",
    ),
}
