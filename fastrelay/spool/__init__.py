"""Room 2, the strongbox: a message is safe here before its sender reads 250, and leaves when its last recipient ended.

store.py is the face, format.py the proof; the way of a message through the others:

    draft       bodies.py, budget.py, room.py    content on its way in: memory or a file, within what there is
    commit      entrance.py -> committer.py      batches (trip.py), one trip to the disk each, from a thread of the
                (journal_thread.py) -> journal.py -> landing.py   journal's, in frames (frames.py, format.py)
                or memory.py                     where a 250 promises nothing: in memory alone until an orderly stop
    known       register.py, segment.py          what is open, where its newest copy lies, in some 550 octets of memory
    recorded    records.py                       how its recipients stand: in memory at once, soon on disk
    read        reading.py                       never a byte that is not the one committed
    freed       freeing.py, need.py, forward.py  a segment is unlinked after what is needed of it was written forward
    found again backlog.py -> recovery.py        after a start or an adoption (slots.py): the tail first, then the rest
                survey.py, scan.py, index.py, replay.py
    damaged     quarantine.py                    kept aside, told, shown; never sent

disk.py alone touches files; pace.py says in which thread.
"""
