"""fastrelay: a high-volume outbound SMTP relay. The walk of a message is the map of this package.

door -> session            reception/   a client connects; its commands are understood (smtp/) and judged
     -> intake             intake.py    the one way in: is there room, then commit, then schedule
     -> spool.commit       spool/       written and synced; only now the client reads 250
     -> scheduler          schedule/    waits by recipient domain and time; when due, enters the lane of its site
     -> router             routing/     which hosts: MX, CNAME, A/AAAA from DNS, or a static route
     -> lane -> pool lease delivery/    limits, connections, TLS; one transaction per (site, recipient domain)
     -> client session     delivery/    MAIL, RCPT, DATA; one outcome per recipient
     -> settle             settlement/  done | retry timer | bounce (which enters by the same intake)

Results come back as values up one call; only settle sends a message back into the house. process/ is the house
itself (master, workers, ledger), runtime/ the ground (event loop, streams), mail/ the words everyone uses.
Importing this package has no effects.
"""

__version__ = "0.1.0"
