"""The trail of a message: its Received chain read and judged, hop by hop, with reasons.

    fields.received_fields(octets)   -> bodies, newest first; Unreadable is the only error of this room
    judge.judge(bodies, known=, lookup=, now=) -> Trail: verdict and findings of each hop, the score

    words -> moments, parse -> Hop     tokens of a field, its date, its clauses in the many hands that write them
    networks, names, idents, known     what an address, a host name, a queue id tells; which hosts are ours
    joints, claims, clocks, places     the checks; finding.py has their weights in one table
    mailbox                            the head of each message in a file, an mbox, a pipe

No sockets, no clock, no files: DNS is a Lookup handed in, `now` an argument. Bounded: at most 120 fields of 4,096
characters, every pattern linear in them. Nothing a message holds raises anything but Unreadable.

A score, not a reject: genuine chains are messy. bench/trail.py measures both sides; its figures are in bench/README.md.
"""
