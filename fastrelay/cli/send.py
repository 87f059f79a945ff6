"""`fastrelay send`: hand one message to a relay."""

import socket
import sys
import time
from typing import BinaryIO

import click
import msgspec

from fastrelay.cli import exits
from fastrelay.cli.address import ADDRESS
from fastrelay.cli.options import AS_JSON
from fastrelay.cli.way_in import AUTH, TLS, access_of
from fastrelay.errors import PeerClosed, PeerError, PeerTimeout
from fastrelay.load.dialogue import Refused
from fastrelay.load.submission import Submission, fresh_token, prepare, submit
from fastrelay.mail.reply import Reply


@click.command()
@click.option("--from", "sender", required=True, metavar="ADDRESS", help='Envelope sender; "" for the null sender.')
@click.option("--to", "recipients", required=True, multiple=True, metavar="ADDRESS", help="Recipient; repeatable.")
@click.option("--server", type=ADDRESS, default="127.0.0.1:2525", show_default=True, help="The relay.")
@TLS
@AUTH
@click.option("--as-is", is_flag=True, help="Add no missing header fields (Date, From, Message-ID, To).")
@AS_JSON
@click.argument("file", type=click.File("rb"), default="-")
def send(
    sender: str,
    recipients: tuple[str, ...],
    server: tuple[str, int],
    tls: str,
    auth: str | None,
    as_is: bool,
    as_json: bool,
    file: BinaryIO,
) -> None:
    """Hand one message to a relay.

    The message is FILE, or standard input, and the answer is printed. Line ends become CRLF; text without header fields
    is taken for the body. Exit code 0: taken for every recipient; 65: refused for good; 75: refused for now; 69: no
    server, it went away, or TLS or AUTH failed.

    Example:  fastrelay send --from me@example.com --to you@example.org letter.txt
    """
    text = file.read()
    if as_is:
        content = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    else:
        host = socket.gethostname() or "localhost"
        content = prepare(text, sender, recipients, wall=time.time(), host=host, token=fresh_token())
    try:
        replies = submit(*server, Submission(sender, recipients, content), access_of(tls, auth))
    except Refused as error:
        replies = dict.fromkeys(recipients, error.reply)
    except PeerError as error:
        hint = "; is the relay running?" if isinstance(error, PeerClosed | PeerTimeout) else ""
        where, why = f"{server[0]} port {server[1]}", str(error)
        print(f"fastrelay send: {why if where in why else f'{where}: {why}'}{hint}", file=sys.stderr)
        sys.exit(exits.UNAVAILABLE)
    _show(replies, as_json)
    refused = [reply.code for reply in replies.values() if reply.code >= 300]
    if refused:
        sys.exit(exits.DATA if max(refused) >= 500 else exits.TEMPORARY)


def _show(replies: dict[str, Reply], as_json: bool) -> None:
    if as_json:
        wire = {
            address: {"code": reply.code, "enhanced_code": reply.enhanced, "content": reply.text}
            for address, reply in replies.items()
        }
        print(msgspec.json.encode(wire).decode())
        return
    for address, reply in replies.items():
        print(f"{address}: {reply}", file=sys.stderr if reply.code >= 300 else sys.stdout)
