"""`python -m fastrelay`: the program, where its script is not on the path."""

from fastrelay.cli.main import main

main()
