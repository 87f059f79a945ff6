"""The ground: the only folder that imports gevent. Streams, listeners, TLS, tasks, clock.

Nothing is monkey-patched: the hot path speaks to the event loop's watchers through these few names, and a plain
`threading.Thread` stays a native thread.
"""
