"""Host names by what they tell: whose they are, whether the whole internet knows them, which are one house.

organisation("mx1.mail.example.co.uk") is "example.co.uk". There is no public suffix list here: 15,000 lines that age,
for a comparison that only has to tell neighbours from strangers. One of the generic words below before a country
counts as part of the suffix, which is right for all but a few registries.
"""

from functools import lru_cache
from typing import Final


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_GENERIC: Final = _words(
    "ac asn co com edu gob gov gouv go gv ind ltd me mil ne net nhs nom or org plc sch id oz info tm web biz res firm",
    "nic in",
)
_INTERNAL: Final = _words(
    "local localdomain localhost lan internal intern intra intranet home corp private priv invalid test arpa",
    "localnet domain dom node host router cluster svc wlan box loc workgroup",
)
_HOUSES: Final = {  # organisations whose servers hand to one another under different names
    "google": "google.com gmail.com googlemail.com 1e100.net googlegroups.com psmtp.com postini.com",
    "microsoft": "outlook.com hotmail.com live.com msn.com microsoft.com exchangelabs.com office365.us frontbridge.com"
    " bigfish.com office365.com microsoftonline.com phx.gbl onmicrosoft.com",
    "yahoo": "yahoo.com yahoo.net yahoodns.net aol.com aol.net rocketmail.com ymail.com sbcglobal.net verizon.net"
    " yahoo.co.jp yahoo.co.in yahoo.co.uk aim.com inktomi.com egroups.com yahoogroups.com",
    "apple": "apple.com icloud.com me.com mac.com",
    "amazon": "amazonses.com amazonaws.com amazon.com",
    "sendgrid": "sendgrid.net sendgrid.com sendgrid.me",
    "mailgun": "mailgun.net mailgun.org mailgun.us mailgun.com mailgun.info",
    "fastmail": "fastmail.com fastmail.fm messagingengine.com",
    "redhat": "redhat.com fedoraproject.org",
    "sourceforge": "sourceforge.net sf.net geeknet.com",
    "gmane": "gmane.org gmane.io",
    "mailchimp": "mailchimp.com mcsv.net mcdlv.net rsgsv.net mandrillapp.com",
    "symantec": "messagelabs.com messagelabs.net symanteccloud.com",
    "1and1": "kundenserver.de perfora.net 1and1.com schlund.de ui-dns.com 1und1.de gmx.net gmx.de web.de gmx.com"
    " mail.com",
    "t-online": "t-online.de telekom.de t-dialin.net t-ipconnect.de dtag.de",
    "comcast": "comcast.net attbi.com comcastbusiness.net",
    "att": "att.net bellsouth.net pbi.net ameritech.net swbell.net prodigy.net",
    "earthlink": "earthlink.net mindspring.com mspring.net",
    "ovh": "ovh.net ovh.com",
    "proofpoint": "pphosted.com ppe-hosted.com",
    "mimecast": "mimecast.com mimecast.org",
}  # fmt: skip
_HOUSE_OF: Final = {org: house for house, orgs in _HOUSES.items() for org in orgs.split()}


@lru_cache(1024)  # asked for the same names at every joint
def organisation(name: str) -> str:
    """The registered domain of a host name; "" for names without one (unqualified, internal, literals)."""
    labels = name.split(".")
    if len(labels) < 2 or name.startswith("[") or is_internal(name):
        return ""
    keep = 2
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _GENERIC:
        keep = 3
    return ".".join(labels[-keep:])


def house(name: str) -> str:
    """The organisation, or the house it is known to belong to."""
    org = organisation(name)
    return _HOUSE_OF.get(org, org)


def is_internal(name: str) -> bool:
    """A name that only its own network knows: without a dot, or below a top-level domain that is none."""
    last = name.rpartition(".")[2]
    return "." not in name or last in _INTERNAL or last.isdigit()


def first_label(name: str) -> str:
    """The host's own part of the name."""
    return name.partition(".")[0]


def alike(one: str, other: str) -> bool:
    """The hosts bear the same own name in different domains, or their domains the same name below different top-level
    domains, and one that tells something: not "mail" or "mx1"."""
    return _tells(first_label(one), first_label(other)) or _tells(_middle(one), _middle(other))


def _tells(mine: str, other: str) -> bool:
    return len(mine) > 3 and mine == other and mine.rstrip("0123456789-") not in _COMMON


def _middle(name: str) -> str:
    """The label that the registered domain is known by; of an internal name the one before the last."""
    org = organisation(name)
    if org:
        return org.partition(".")[0]
    labels = name.split(".")
    return labels[-2] if len(labels) > 2 and not labels[-1].isdigit() else ""


_COMMON: Final = _words(
    "mail smtp mailhost mailserver relay server gateway localhost mailgate mailer www webmail host exchange mailout",
    "outbound inbound corp home office internal example hosting dynamic static",
)
