"""Options that several commands share, in one spelling."""

import click

CONFIG_FILE = click.option(
    "-c",
    "--config",
    "file",
    metavar="FILE",
    help="The configuration.  [default: /etc/fastrelay/fastrelay.toml, else built-in values]",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts: JSON on standard output.")
