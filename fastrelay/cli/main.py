"""The program `fastrelay`: subcommands, brought in when they are called, and one way to end for every error.

A command lives in the module of its name, so `fastrelay status` never loads an event loop or a resolver and starts in
under 150 ms. The table below repeats their short help for the same reason; tests compare it, and look at what is
loaded.

Whatever goes wrong is one line on stderr that says what to do next, and an exit code of exits.py. Only a bug of ours
shows a traceback.
"""

import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import click

from fastrelay import __version__
from fastrelay.cli import exits
from fastrelay.errors import ConfigError, MachineShort, MisuseError, PeerError

COMMANDS = {
    "serve": "Run the relay in the foreground.",
    "check": "Validate the configuration.",
    "status": "Say whether a running relay is healthy, and what it does.",
    "reload": "Read the configuration again, without a gap.",
    "upgrade": "Let a new program take over, without a gap.",
    "stop": "Stop a running relay and wait until it is gone.",
    "queue": "Look at the queue and change it.",
    "user": "Say who may log in.",
    "suspend": "Stop mail, also such as comes later; without a name: list what is suspended.",
    "resume": "Let go what was suspended; its mail is due at once.",
    "explain": "Say why mail to a domain, or one message, is where it is.",
    "top": "Show rates, workers, sites and commits, live; q or Ctrl-C ends it.",
    "trace": "Show the SMTP dialogue as it happens, in and out.",
    "resolve": "Draw the way from a domain to its hosts.",
    "received": "Judge the Received chain of a message, hop by hop.",
    "send": "Hand one message to a relay.",
    "demo": "Relay mail through a small internet on this machine.",
    "bench": "Put load on a server and measure.",
    "sink": "Take mail, count it, throw it away.",
}


class Commands(click.Group):
    """Subcommands by name: module and function bear it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it, None for a name that is not in the table."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"fastrelay.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """With the name that was probably meant: click looks for it among what is imported."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command '{args[0]}'{near(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: a list must not import everything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_CLICK_BROKEN_PIPE = 1  # what click exits with where the reader has gone while a command ran; none of ours does so
_NO_WORDS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # older click shows the page by itself


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fastrelay", message="%(prog)s %(version)s")
def program() -> None:
    """A high-volume outbound SMTP relay: 250 only once the message is safe on disk, and delivered from there.

    Try it without any set-up:  fastrelay demo
    """


def run(words: Sequence[str] | None = None) -> int:
    """Carry out a command line (sys.argv when None). The exit code."""
    try:
        code = program.main(words, prog_name="fastrelay", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else exits.OK
    except _NO_WORDS as error:  # the help page as it is
        error.show()
        return exits.USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "fastrelay"
        why = error.format_message().rstrip(".")
        if isinstance(error, click.NoSuchOption):  # each click has words of its own for what was probably meant
            why = f"no such option '{error.option_name}'{near(error.option_name, error.possibilities or ())}"
        return _told(where, f"{why}; see {where} --help", exits.USAGE)
    except click.ClickException as error:
        return _told("fastrelay", error.format_message(), exits.USAGE)
    except ConfigError as error:
        return _told("fastrelay", str(error), exits.CONFIG)
    except MisuseError as error:
        return _told("fastrelay", str(error), exits.USAGE)
    except MachineShort as error:
        return _told("fastrelay", str(error), exits.TEMPORARY)
    except PeerError as error:
        return _told("fastrelay", str(error), exits.UNAVAILABLE)
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except SystemExit as ended:
        if ended.code == _CLICK_BROKEN_PIPE:
            return exits.OK
        raise
    except BrokenPipeError:  # the reader has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK


def near(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: what was probably meant."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean '{found[0]}'?" if found else ""


def _told(where: str, text: str, code: int) -> int:
    line = " ".join(text.split())
    print(f"{where}: {line[:1].lower() + line[1:] if line[1:2].islower() else line}", file=sys.stderr)
    return code


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
