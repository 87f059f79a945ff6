"""Load and its counterpart: a generator of mail and a sink that takes, judges and counts it.

Used by the commands `bench`, `send` and `sink`, by the demo and by the benchmarks; nothing of the relay itself imports
this folder.
"""
