"""Which program carries out which kind of scenario. A kind is a module with `run(stage) -> Round`, NEEDS and FLOOR."""

from types import ModuleType

from bench.kinds import behind, calls, deferring, domains, encrypted, flow, idle, neighbours, restart, steady

KINDS: dict[str, ModuleType] = {
    "flow": flow,
    "calls": calls,
    "deferring": deferring,
    "domains": domains,
    "encrypted": encrypted,
    "neighbours": neighbours,
    "restart": restart,
    "behind": behind,
    "idle": idle,
    "steady": steady,
}
