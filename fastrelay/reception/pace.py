"""How long a sender of content may take. Pure.

Two bounds together: no block later than `block` seconds after the one before (RFC 5321 4.5.3.2.5), and the whole never
slower than `rate` octets a second, with one `block` of grace. The second is what ends a client that drips an octet a
minute for ever (Postfix smtpd_min_data_rate).
"""


def content_deadline(now: float, began: float, octets: int, *, block: float, rate: float) -> float:
    """The monotonic instant by which the next block must have come, `octets` having come since `began`."""
    by_block = now + block
    if rate <= 0:
        return by_block
    return min(by_block, began + block + octets / rate)
