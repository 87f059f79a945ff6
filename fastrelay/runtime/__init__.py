"""The ground: the only folder that imports gevent. Streams, listeners, TLS, tasks, clock.

Nothing is monkey-patched: the hot path speaks to the event loop's watchers through these few names, and a plain
`threading.Thread` stays a native thread.

gevent imports its loop, its thread pool and pprint only when a process makes its hub. They are imported here instead:
in the master, before the fork, where the pages are shared and the interpreter's files can still be read (a worker that
became `server.user` may not be allowed to). No hub is made by it.
"""

from gevent import config

_at_hand = (config.loop, config.threadpool, config.format_context)
