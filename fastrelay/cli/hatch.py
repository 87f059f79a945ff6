"""Asking the master itself, over runtime_dir/master.sock (process/hatch.py)."""

import os
import socket

import click
import msgspec

from fastrelay.cli.api import NotRunning
from fastrelay.config import Config
from fastrelay.errors import MachineShort, MisuseError
from fastrelay.process.hatch import Answer, path_of


def ask(config: Config, word: str, seconds: float) -> int:
    """Hand in a command and print what came of it, to stderr where it was refused. The exit code."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(seconds)
        try:
            sock.connect(os.fspath(path_of(config)))
            sock.sendall(f"{word}\n".encode())
            octets = bytearray()
            while piece := sock.recv(65536):
                octets += piece
        except PermissionError:
            raise MisuseError(f"not allowed to use {path_of(config)}: be root, or whoever started the relay") from None
        except TimeoutError:
            raise MachineShort(f"no answer for {seconds:g} s; its log says what became of it") from None
        except OSError as error:
            raise NotRunning(
                f"no relay runs in {config.server.runtime_dir} ({error.strerror}); name its configuration with -c"
            ) from None
    if not octets:
        raise MachineShort("the relay hung up; its log says why")
    answer = msgspec.json.decode(octets, type=Answer)
    for line in answer.lines:
        click.echo(line if not answer.code else f"fastrelay {word}: {line}", err=bool(answer.code))
    return answer.code
