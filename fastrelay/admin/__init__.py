"""The admin child: /metrics, /healthz and /readyz over TCP; the queue's API on a socket in runtime_dir.

A process of its own, so that a scrape or an operator's question never takes a turn from mail, and mail at full load
never keeps an operator waiting. It holds no mail: whatever it knows it reads from the shared page and the metrics'
files, or asks of each worker (fanout.py) and merges (merge.py).
"""

from fastrelay.admin.child import run_admin

__all__ = ["run_admin"]
