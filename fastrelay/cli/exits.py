"""Exit codes, those of sysexits.h: a script can tell what to do next without reading the words."""

from typing import Final

OK: Final = 0
SUSPICIOUS: Final = 1  # `received` read everything and found something, as grep and diff tell it
USAGE: Final = 64  # asked for what cannot be: read the help
DATA: Final = 65  # what was named or handed over is not there, or was refused for good
UNAVAILABLE: Final = 69  # no relay, no server, or not everything worked
TEMPORARY: Final = 75  # not now: the same command may work later
CONFIG: Final = 78  # the configuration is wrong
INTERRUPTED: Final = 130  # by Ctrl-C, as a shell tells it
