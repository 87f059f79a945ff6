"""The name servers we may ask: where they are, how they have been, and whom to ask for how long. Pure.

The order given is the order asked, as in resolv.conf. A server that let two questions in a row go unanswered is down:
asked last, for 5 s at first and up to a minute, so that a dead first server costs one question in many, not each. An
answer, whatever it says, makes it well again. With every server down all are still asked: their state is a guess, the
question is real.
"""

from ipaddress import ip_address

from fastrelay.errors import ConfigError

PORT = 53
MAX_SERVERS = 3  # of resolv.conf (MAXNS); a configured list may be longer, a question sees at most four tries
MAX_TRIES = 4
DOWN_AFTER = 2  # unanswered in a row: one loss is the network's
FIRST_DOWN, LONGEST_DOWN = 5.0, 60.0  # seconds
RESEND = 1.0  # seconds after which a question to the same server is sent again: a lost datagram


class Server:
    """One name server. failures: unanswered questions in a row; down_until: monotonic seconds."""

    __slots__ = ("address", "down_until", "failures", "port")

    def __init__(self, address: str, port: int = PORT) -> None:
        self.address = address
        self.port = port
        self.failures = 0
        self.down_until = 0.0

    def answered(self) -> None:
        """Something came back from it in time."""
        self.failures = 0
        self.down_until = 0.0

    def missed(self, now: float) -> None:
        """It was silent, or unreachable."""
        self.failures += 1
        if self.failures >= DOWN_AFTER:
            self.down_until = now + min(FIRST_DOWN * 2 ** min(self.failures - DOWN_AFTER, 8), LONGEST_DOWN)

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def parse(text: str, key: str = "dns.nameservers") -> Server:
    """One entry: "192.0.2.1", "192.0.2.1:5353", "2001:db8::1" or "[2001:db8::1]:5353". ConfigError else."""
    host, port = text, PORT
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        digits = rest[1:] if rest.startswith(":") else "" if rest or not bracket else str(PORT)
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
    else:
        digits = str(PORT)
    try:
        port = int(digits)
        ip_address(host)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise ConfigError(f'{key}: {text!r} is no address of a name server: write "192.0.2.1" or "[2001:db8::1]:5353"')
    return Server(host, port)


def from_resolv_conf(text: str) -> tuple[Server, ...]:
    """The `nameserver` lines; this machine's own when there is none (resolv.conf(5)). Search lists are never used."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                ip_address(words[1])
            except ValueError:
                continue  # the file is the system's: a line we cannot use is passed over, as libc does
            found.append(Server(words[1]))
    return tuple(found[:MAX_SERVERS]) or (Server("127.0.0.1"),)


def plan(servers: tuple[Server, ...], now: float, seconds: float) -> list[tuple[Server, float]]:
    """Whom to ask, in order, and how many seconds each may take; together `seconds`. Never empty."""
    well = [server for server in servers if server.down_until <= now]
    ill = sorted((server for server in servers if server.down_until > now), key=lambda server: server.down_until)
    tries = (well * 2 + ill if well else ill * 2)[:MAX_TRIES]
    share = seconds / len(tries)
    merged: list[tuple[Server, float]] = []
    for server in tries:
        if merged and merged[-1][0] is server:
            merged[-1] = (server, merged[-1][1] + share)
        else:
            merged.append((server, share))
    return merged
