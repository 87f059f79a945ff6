"""The sections of the file as values, one struct per table. A key's type names its unit (quantity.py)."""

from typing import Annotated, Literal

import msgspec

from fastrelay.config.quantity import (
    DAY,
    GIB,
    HOUR,
    KIB,
    MIB,
    MINUTE,
    ByteRate,
    Count,
    Duration,
    Lasting,
    PerTime,
    PerTimeOrNone,
    Positive,
    Rate,
    Share,
    Size,
)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, keyword-only, unknown keys refused."""


class Server(Section, frozen=True):
    """[server]"""

    hostname: str = ""  # "" = the machine's name (filled in by load)
    workers: Annotated[int, msgspec.Meta(ge=0, le=128)] = 0  # 0 = CPUs by affinity and cgroup quota; 128 slots
    user: str = ""  # dropped to after binding; "" = stay
    runtime_dir: str = "/run/fastrelay"
    drain_timeout: Duration = 30.0
    hang_timeout: Lasting = 60.0  # a worker without heartbeat for so long is ended and replaced


class Certificate(Section, frozen=True):
    """[[listener.certificates]]: one more, shown to clients that ask for a name it bears."""

    certificate: str
    key: str = ""


class Listener(Section, frozen=True):
    """[[listener]]"""

    address: str = "127.0.0.1:2525"
    protocol: Literal["smtp"] = "smtp"
    relay_from: tuple[str, ...] = ("127.0.0.0/8", "::1")
    max_connections: Positive = 10000
    max_connections_per_client: Count = 50  # 0 = no limit; clients in relay_from: none unless the key is set
    connection_rate_per_client: PerTimeOrNone = None  # None: no limit, here and below; else one for all clients
    tls_rate_per_client: PerTimeOrNone = None  # sessions begun anew
    message_rate_per_client: PerTimeOrNone = None
    recipient_rate_per_client: PerTimeOrNone = None
    message_rate_per_account: PerTimeOrNone = None  # of who has logged in, at all listeners together
    unlimited_from: tuple[str, ...] = ()  # networks; nothing "per client" or "per account" holds these up
    reserved_connections: Count = 0  # of max_connections, for unlimited_from
    command_timeout: Lasting = 5 * MINUTE  # RFC 5321 4.5.3.2.7
    data_timeout: Lasting = 3 * MINUTE  # between two blocks of content, RFC 5321 4.5.3.2.5
    min_data_rate: ByteRate = 500.0  # octets per second over the whole content
    max_message_size: Size = 50 * MIB
    max_recipients: Annotated[int, msgspec.Meta(ge=100)] = 1000  # RFC 5321 4.5.3.1.8: at least 100
    bare_newlines: Literal["refuse", "normalise"] = "refuse"
    remove_bcc: bool = False  # take Bcc fields out of the header section
    reverse_lookup: Literal["strangers", "all", "never"] = "strangers"  # strangers: clients not in relay_from
    helo_check: Literal["off", "record", "require"] = "off"  # does the name in HELO lead to the client's address?
    tls: Literal["none", "starttls", "required", "implicit"] = "none"
    certificate: str = ""
    key: str = ""  # "" = the certificate's file holds it too
    certificates: tuple[Certificate, ...] = ()
    client_ca: str = ""  # clients are asked for a certificate of these authorities; "" = they are not
    relay_certificates: tuple[str, ...] = ()  # whose may relay: names, sha256 fingerprints, "*" = all of client_ca
    proxy_protocol: bool = False
    proxy_from: tuple[str, ...] = ()  # networks; nobody else gets in where proxy_protocol is true
    xclient_from: tuple[str, ...] = ()  # networks
    auth: Literal["none", "optional", "required"] = "none"  # inside TLS
    auth_plaintext: bool = False  # outside it too
    judge_received: bool = False  # the trail of each accepted message goes into the event log
    aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()  # of [aliases], which hold at every listener
    client_limit_set: bool = False  # true where max_connections_per_client stands in the file


class Auth(Section, frozen=True):
    """[auth]: who may log in at listeners with `auth`."""

    users: str = "/etc/fastrelay/users"
    iterations: Annotated[int, msgspec.Meta(ge=4096, le=5_000_000)] = 100_000
    # RFC 7677 4 asks for 4,096 at least; 100,000 take 60 ms of a CPU, for a guess as for a login by PLAIN or LOGIN:
    # more would protect a stolen file of weak passwords better, and let strangers burn more of our CPU


class Credentials(Section, frozen=True):
    """[[credentials]]: who we are at a smart host, named by a [[route]] or [[site]]."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    user: Annotated[str, msgspec.Meta(min_length=1)]
    password: str = ""
    password_file: str = ""
    mechanisms: Annotated[tuple[Literal["SCRAM-SHA-256", "PLAIN", "LOGIN"], ...], msgspec.Meta(min_length=1)] = (
        "SCRAM-SHA-256",
        "PLAIN",
        "LOGIN",
    )
    plaintext: bool = False

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r}, user={self.user!r}, password=***)"


class Spool(Section, frozen=True):
    """[spool]"""

    path: str = "/var/spool/fastrelay"
    durability: Literal["fsync", "os", "memory"] = "fsync"
    min_free: Share = 0.05
    inline_limit: Size = 1 * MIB
    segment_size: Annotated[int, msgspec.Meta(extra={"unit": "size"}, ge=64 * KIB)] = 64 * MIB
    completion_sync: Duration = 1.0


class Limits(Section, frozen=True):
    """[limits]"""

    memory: Size = 1 * GIB  # bodies in memory per worker, in reception and on their way out
    max_queue_messages: Positive = 5_000_000


class Retry(Section, frozen=True):
    """[retry]"""

    first: Lasting = 5 * MINUTE
    factor: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    max: Lasting = 4 * HOUR
    jitter: Share = 0.1
    expire: Lasting = 5 * DAY


class Bounce(Section, frozen=True):
    """[bounce]"""

    send: bool = True
    return_: Literal["headers", "full", "nothing"] = msgspec.field(default="headers", name="return")
    delay_notice: Duration = 4 * HOUR  # 0 = never


class Dns(Section, frozen=True):
    """[dns]"""

    nameservers: tuple[str, ...] = ()  # () = /etc/resolv.conf; "127.0.0.1:5353" allowed
    timeout: Lasting = 5.0  # a question, all servers and repeats together
    cache_size: Positive = 65536
    negative_ttl: Duration = 5 * MINUTE  # ceiling; the zone's SOA may say less
    min_ttl: Duration = 5.0
    max_ttl: Duration = 1 * DAY
    stale: Duration = 1 * DAY  # how long past its TTL an answer serves while servers fail


class Delivery(Section, frozen=True):
    """[delivery], and what a [[site]] row changes of it."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    connections: Positive = 10  # per site, machine-wide
    connect_rate: PerTime = Rate(100, 60)
    messages_per_connection: Positive = 100
    connection_lifetime: Duration = 5 * MINUTE
    idle_timeout: Duration = 60.0
    recipients_per_transaction: Positive = 100  # RFC 5321 4.5.3.1.8: every server takes 100
    connect_timeout: Lasting = 30.0
    reply_timeout: Duration = 0.0  # ceiling on every wait for the peer; 0 = RFC 5321 4.5.3.2, phase by phase
    allow_private: bool = False
    ip: Literal["both", "4", "6"] = "both"
    source_address: tuple[str, ...] = ()
    hello: str = ""  # "" = server.hostname
    tls: Literal["never", "opportunistic", "require", "verify"] = "opportunistic"
    without_8bitmime: Literal["convert", "return", "send"] = "convert"  # 8-bit content for a host without 8BITMIME
    tls_ca: str = ""  # PEM file of the authorities certificates are judged by; "" = the system's
    tls_names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("host",)  # also "domain", names, ".names"
    login: str = ""  # name of the credentials of the [[site]] row: no key, and none for all sites


class Site(Section, frozen=True):
    """[[site]]: matched by MX suffix or recipient domain; `delivery` is the merged whole. credentials: a name."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    mx_suffix: tuple[str, ...] = ()
    domain: tuple[str, ...] = ()
    credentials: str = ""
    delivery: Delivery = Delivery()


class StaticRoute(Section, frozen=True):
    """[[route]]: domain "*" is a smart host for everything, ".example" a domain and all below it."""

    domain: str
    next_hop: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    credentials: str = ""  # a name; "" = those of the [[site]], if any


class Admin(Section, frozen=True):
    """[admin]"""

    address: str = "127.0.0.1:8025"  # "" = no TCP port; the socket in runtime_dir is always there
    token_file: str = ""  # its first line opens the API over TCP ("Authorization: Bearer ..."); "" = not served there


class Log(Section, frozen=True):
    """[log]"""

    events: str = "stdout"  # "stdout" | "none" | a file
    on_full: Literal["drop", "wait"] = "drop"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. `source` is the file or "defaults"; `notes` are lines a person should read at start."""

    server: Server = Server()
    listeners: tuple[Listener, ...] = (Listener(),)
    auth: Auth = Auth()
    credentials: tuple[Credentials, ...] = ()
    spool: Spool = Spool()
    limits: Limits = Limits()
    retry: Retry = Retry()
    bounce: Bounce = Bounce()
    dns: Dns = Dns()
    delivery: Delivery = Delivery()
    sites: tuple[Site, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    admin: Admin = Admin()
    log: Log = Log()
    source: str = "defaults"
    notes: tuple[str, ...] = ()


def authorities(config: Config) -> frozenset[str]:
    """The files of certificate authorities in force; "" = the system's."""
    return frozenset([config.delivery.tls_ca, *[row.delivery.tls_ca for row in config.sites]])


def site_settings(config: Config, site: str) -> Delivery:
    """The delivery settings in force for a site by name: its [[site]] row over [delivery]."""
    for row in config.sites:
        if row.name == site:
            return row.delivery
    return config.delivery
